//! The measuring loop: every contender in turn, round after round, so that what disturbs the machine disturbs all
//! alike.

pub(crate) mod alloc;
pub(crate) mod insert_full;
pub(crate) mod maps;
pub(crate) mod report;

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::contenders::{Contender, Stack};
use crate::measure::alloc::Heap;
use crate::paths::Path;
use crate::upstream::Requests;

/// Calls before the clock starts in each round, to bring back what the other contenders drove out of the caches.
const WARM_UP: usize = 64;
/// Calls that allocations are counted over.
const COUNTED: usize = 1_000;
/// How often two threads wait for each other, so that none runs on its own while the other is not scheduled.
const IN_STEP: usize = 5_000;

/// How one contender did on one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) path: Path,
    pub(crate) who: &'static str,
    /// Nanoseconds over bare, the fastest round of each; or bytes.
    pub(crate) value: f64,
    /// The same from the median rounds.
    pub(crate) median: f64,
    /// Heap allocations a call, those of bare taken off.
    pub(crate) allocs: f64,
}

/// What the inner service takes alone, and everybody over it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) path: Path,
    pub(crate) bare: f64,
    pub(crate) rows: Vec<Row>,
}

/// Measures a path. The first contender is the bare service.
pub(crate) fn measure(path: Path, contenders: &[Contender], rounds: usize) -> Measured {
    match path {
        Path::BytesPerKey => bytes_per_key(contenders),
        _ => nanoseconds(path, contenders, rounds),
    }
}

/// One contender, built and prefilled.
struct Runner {
    stack: Box<dyn Stack>,
    requests: Requests,
    path: Path,
}

impl Runner {
    fn new(path: Path, contender: &Contender, requests: Requests) -> Self {
        let mut runner = Self { stack: (contender.build)(), requests, path };
        let _ = runner.stack.drive(&mut runner.requests, path.prefill());
        runner
    }

    /// Drives, and makes sure that the path is the one we mean: all answered, or on the open path none.
    fn drive(&mut self, calls: usize) {
        let answered = self.stack.drive(&mut self.requests, calls);
        self.check(answered, calls);
    }

    fn check(&self, answered: usize, calls: usize) {
        let expected = if self.path == Path::Open { 0 } else { calls };
        assert_eq!(answered, expected, "answered calls on the path {}", self.path.name());
    }

    fn allocations(&mut self) -> f64 {
        let before = Heap::now();
        self.drive(COUNTED);
        Heap::now().since(before).allocations as f64 / COUNTED as f64
    }

    /// Nanoseconds a call in one round.
    fn round(&mut self) -> f64 {
        self.drive(WARM_UP);
        if self.path.threads() == 2 {
            return self.round_on_two_threads();
        }
        let calls = self.path.calls();
        let start = Instant::now();
        let answered = self.stack.drive(&mut self.requests, calls);
        let elapsed = start.elapsed();
        self.check(answered, calls);
        elapsed.as_nanos() as f64 / calls as f64
    }

    /// Nanoseconds a call and thread, both threads calling through clones of the same service at the same time.
    fn round_on_two_threads(&self) -> f64 {
        let calls = self.path.calls();
        let together = Together::default();
        let run = |mut stack: Box<dyn Stack>, mut requests: Requests| {
            together.wait();
            let start = Instant::now();
            let mut answered = 0;
            for _ in 0..calls / IN_STEP {
                answered += stack.drive(&mut requests, IN_STEP);
                together.wait();
            }
            (answered, start.elapsed().as_nanos() as f64 / calls as f64)
        };
        thread::scope(|scope| {
            let threads = [(); 2].map(|()| {
                let (stack, requests) = (self.stack.another(), self.requests.clone());
                let run = &run;
                scope.spawn(move || run(stack, requests))
            });
            let each = threads.map(|thread| thread.join().expect("a thread that only calls"));
            for (answered, _) in each {
                self.check(answered, calls);
            }
            (each[0].1 + each[1].1) / 2.0
        })
    }
}

/// Two threads that wait for each other, spinning, so that both go on within nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Together {
    arrivals: AtomicUsize,
}

impl Together {
    /// Waits until both threads have arrived, again and again.
    pub(crate) fn wait(&self) {
        let both = (self.arrivals.fetch_add(1, Ordering::AcqRel) / 2 + 1) * 2;
        for spins in 0_u32.. {
            if self.arrivals.load(Ordering::Acquire) >= both {
                return;
            }
            // Far longer than both should be apart: the other thread must have lost its core, and may need this one.
            if spins > 10_000 { thread::yield_now() } else { hint::spin_loop() }
        }
    }
}

fn nanoseconds(path: Path, contenders: &[Contender], rounds: usize) -> Measured {
    let requests = Requests::of(path);
    let build = |contender| Runner::new(path, contender, requests.clone());
    let mut runners: Vec<_> = contenders.iter().map(build).collect();
    let allocations: Vec<_> = runners.iter_mut().map(Runner::allocations).collect();

    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds * path.rounds() {
        for turn in 0..contenders.len() {
            // No contender always follows the same one.
            let turn = (turn + round) % contenders.len();
            if path.is_fresh_each_round() {
                runners[turn] = build(&contenders[turn]);
            }
            times[turn].push(runners[turn].round());
        }
    }

    let summaries: Vec<_> = times.into_iter().map(least_and_median).collect();
    let (bare, bare_median) = summaries[0];
    let rows = contenders.iter().zip(summaries).zip(&allocations).skip(1);
    let rows = rows.map(|((contender, (least, median)), allocs)| Row {
        path,
        who: contender.who,
        value: least - bare,
        median: median - bare_median,
        allocs: allocs - allocations[0],
    });
    Measured { path, bare, rows: rows.collect() }
}

pub(crate) fn least_and_median(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}

/// What stays on the heap when many hosts have been called once each. Nothing here depends on the clock: one round.
fn bytes_per_key(contenders: &[Contender]) -> Measured {
    let path = Path::BytesPerKey;
    let keys = path.calls();
    let kept = contenders.iter().map(|contender| {
        let mut runner = Runner { stack: (contender.build)(), requests: Requests::Fresh { next: 0 }, path };
        let before = Heap::now();
        runner.drive(keys);
        let heap = Heap::now().since(before);
        (heap.live as f64 / keys as f64, heap.allocations as f64 / keys as f64)
    });
    let kept: Vec<_> = kept.collect();
    let (bare, bare_allocations) = kept[0];
    let rows = contenders.iter().zip(kept).skip(1).map(|(contender, (bytes, allocations))| Row {
        path,
        who: contender.who,
        value: bytes - bare,
        median: bytes - bare,
        allocs: allocations - bare_allocations,
    });
    Measured { path, bare, rows: rows.collect() }
}
