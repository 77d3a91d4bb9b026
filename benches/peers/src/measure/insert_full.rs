//! `--insert-full`: what a call with a new key costs while all partitions are in use.

use std::time::{Duration, Instant};

use tower::Layer;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Window, partition};

use crate::contenders::{Contender, Stack};
use crate::upstream::{Inner, Requests};

/// Calls to known hosts after each rest, to bring back the caches.
const WARM_UP: usize = 64;
const PARTITIONS: [usize; 2] = [65_536, 500_000];
const CALLS: usize = 1_000_000;
/// The least of these counts for each call, so that what the machine does meanwhile does not.
const REPEATS: usize = 5;
const REPEATS_IN_BRIEF: usize = 3;
/// A registry that found all partitions in use rests for a second: every repeat begins with a look at all of them.
const REST: Duration = Duration::from_millis(1_100);

/// Prints a table of nanoseconds a call, the making of its request included.
pub(crate) fn measure(brief: bool) {
    let repeats = if brief { REPEATS_IN_BRIEF } else { REPEATS };
    println!(
        "insert_full: a new host while all partitions are in use, {CALLS} of them, the least of {repeats} repeats each;"
    );
    println!("and the hosts that fill the registry before, once");
    println!(
        "{:>12}{:>12}{:>10}{:>10}{:>16}{:>10}",
        "partitions", "worst, ns", "p99.9", "median", "filling: worst", "p99.9"
    );
    for partitions in PARTITIONS {
        let layer = CircuitBreakerLayer::new_for_http()
            .window(Window::time(Duration::from_secs(3_600)))
            .partition_by(partition::host())
            .max_partitions(partitions);
        let breakers = layer.handle();
        let mut stack = (Contender::new("", move || layer.clone().layer(Inner::Healthy)).build)();
        let filling = times(&mut *stack, 0, partitions);
        assert_eq!(breakers.len(), partitions);
        let mut least = vec![u64::MAX; CALLS];
        for _ in 0..repeats {
            std::thread::sleep(REST);
            times(&mut *stack, 0, WARM_UP);
            let calls = times(&mut *stack, partitions, CALLS);
            least.iter_mut().zip(calls).for_each(|(least, nanos)| *least = nanos.min(*least));
        }
        assert_eq!((breakers.len(), breakers.overflowed()), (partitions, (repeats * CALLS) as u64));
        let [worst, high, median] = quantiles(least);
        let [filling_worst, filling_high, _] = quantiles(filling);
        println!("{partitions:>12}{worst:>12}{high:>10}{median:>10}{filling_worst:>16}{filling_high:>10}");
    }
}

/// Nanoseconds of each call, each to a host of its own.
fn times(stack: &mut dyn Stack, first: usize, calls: usize) -> Vec<u64> {
    let mut requests = Requests::Fresh { next: first };
    let time = |_| {
        let start = Instant::now();
        stack.drive(&mut requests, 1);
        start.elapsed().as_nanos() as u64
    };
    (0..calls).map(time).collect()
}

/// The worst, p99.9 and the median.
fn quantiles(mut nanos: Vec<u64>) -> [u64; 3] {
    nanos.sort_unstable();
    let last = nanos.len() - 1;
    [nanos[last], nanos[last - nanos.len() / 1_000], nanos[last / 2]]
}
