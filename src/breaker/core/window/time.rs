use std::ops::Range;

use super::bucket::{Bucket, LAP, LAP_MASK};
use super::counts::{Counts, Outcome};
use crate::sync::{AtomicU64, Ordering, seq_cst_in_loom};

/// The outcomes of the last B ticks, one bucket a tick.
///
/// A bucket holds the lap in which it was begun, so that the sum knows which buckets to leave out. Laps are few bits,
/// so they count not time itself but *steps*: a gap of any length is at most B of them, which is enough to empty every
/// bucket, and so no jump of the clock can make an old bucket look like a new one.
///
/// A mark beside the time shows whether the window holds a failed or slow call, so that a success among successes only
/// counts itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeWindow<'a> {
    newest: &'a AtomicU64,
    /// Calls and failures of each bucket; then, if slow calls are watched, calls and slow calls of each.
    buckets: &'a [AtomicU64],
    len: u32,
}

/// The newest tick that something was recorded at, and where: tick 43, mark 1, lap 10, index 10. A step goes to the next
/// bucket, after the last one to the first of the next lap; laps go round.
#[derive(Clone, Copy)]
struct Newest {
    tick: u64,
    /// Set when a failure or a slow call has been counted, and gone when the window has moved on past the last of them.
    marked: bool,
    lap: u32,
    index: u32,
}

pub(super) const MAX_BUCKETS: u32 = 1 << INDEX;
const INDEX: u32 = 10;
const INDEX_MASK: u32 = (1 << INDEX) - 1;
const MARK: u64 = 1 << (LAP + INDEX);
const TICK_SHIFT: u32 = LAP + INDEX + 1;
/// Ticks end here, 278 years ahead with the shortest buckets; the window then stands still.
const TICK_MAX: u64 = u64::MAX >> TICK_SHIFT;

impl<'a> TimeWindow<'a> {
    /// How many words it needs, and what the first one begins with; the others begin with 0.
    pub(super) fn words(buckets: u32, watch_slow: bool) -> (usize, u64) {
        let all = if watch_slow { 2 * buckets } else { buckets };
        // Everything is of lap 0, so time begins at the last step of it.
        let newest = Newest { tick: 0, marked: false, lap: 0, index: buckets - 1 };
        (1 + all as usize, newest.bits())
    }

    #[inline(always)]
    pub(super) fn new(words: &'a [AtomicU64], buckets: u32, watch_slow: bool) -> Self {
        let (all, _) = Self::words(buckets, watch_slow);
        let [newest, words @ ..] = &words[..all] else { unreachable!("there are more than none") };
        Self { newest, buckets: words, len: buckets }
    }

    /// Adds an outcome and returns the counts only if they include a failed or slow call.
    #[inline(always)]
    pub(super) fn record(self, tick: u64, outcome: Outcome, live: impl Fn() -> bool) -> Option<Counts> {
        let index = self.advance(tick.min(TICK_MAX), &live)?.index;
        self.count(index, outcome.failed, &live)?;
        if self.watches_slow() {
            self.count(self.len + index, outcome.slow, &live)?;
        }
        // Read again: a recorder that has moved on meanwhile may have looked here too early. All of this is in one
        // order (`SeqCst`), so that of several recorders the last to count sees what all of them have counted: a
        // failure is marked after it was counted and before its own sum, so a success that does not see the mark was
        // counted before that sum.
        seq_cst_in_loom();
        let speaks_against = outcome.failed || (outcome.slow && self.watches_slow());
        let newest = if speaks_against { self.mark(live)? } else { self.newest(Ordering::SeqCst) };
        if newest.marked { self.suspicious(newest) } else { None }
    }

    pub(super) fn counts(self, tick: u64) -> Counts {
        self.sum(self.newest(Ordering::Acquire), tick.min(TICK_MAX))
    }

    pub(super) fn reset(self, tick: u64) {
        // Late recorders may each still take one step that they had begun; then all find their generation ended.
        loop {
            let seen = self.newest.load(Ordering::Acquire);
            let newest = Newest::from_bits(seen);
            let tick = newest.tick.max(tick.min(TICK_MAX));
            let after = Newest { tick, marked: false, ..newest.plus(self.len, self.len) };
            for step in (1..=self.len).map(|steps| newest.plus(steps, self.len)) {
                for index in self.indices(step) {
                    self.buckets[index].swap(Bucket::empty(step.lap).0, Ordering::AcqRel);
                }
            }
            if self.newest.compare_exchange(seen, after.bits(), Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }

    fn newest(self, ordering: Ordering) -> Newest {
        Newest::from_bits(self.newest.load(ordering))
    }

    fn watches_slow(self) -> bool {
        self.buckets.len() > self.len as usize
    }

    fn indices(self, step: Newest) -> impl Iterator<Item = usize> + use<> {
        (step.index as usize..self.buckets.len()).step_by(self.len as usize)
    }

    /// Moves on to this tick unless another recorder is further: time only goes forward, also between threads.
    #[inline(always)]
    fn advance(self, tick: u64, live: impl Fn() -> bool) -> Option<Newest> {
        let newest = self.newest(Ordering::Acquire);
        if tick <= newest.tick { Some(newest) } else { self.move_on(tick, live) }
    }

    /// Every bucket on the way is emptied before the move is published.
    #[cold]
    fn move_on(self, tick: u64, live: impl Fn() -> bool) -> Option<Newest> {
        loop {
            let seen = self.newest.load(Ordering::Acquire);
            let newest = Newest::from_bits(seen);
            if tick <= newest.tick {
                return Some(newest);
            }
            if !live() {
                return None;
            }
            let steps = u32::try_from(tick - newest.tick).map_or(self.len, |steps| steps.min(self.len));
            // Laps are compared the shorter way round: a recorder that slept for too long for that must not empty the
            // bucket.
            let unmoved = || live() && self.newest.load(Ordering::Acquire) == seen;
            let emptied = (1..=steps)
                .map(|steps| newest.plus(steps, self.len))
                .all(|step| self.indices(step).all(|index| self.empty(index, step.lap, unmoved)));
            let moved = Newest { tick, ..newest.plus(steps, self.len) };
            let after = Newest { marked: newest.marked && self.suspicious(moved).is_some(), ..moved };
            if emptied && self.newest.compare_exchange(seen, after.bits(), Ordering::SeqCst, Ordering::Acquire).is_ok()
            {
                // A failure that was counted after this looked may have found the mark still there.
                seq_cst_in_loom();
                let missed = newest.marked && !after.marked && self.suspicious(after).is_some();
                return if missed { self.mark(live) } else { Some(after) };
            }
        }
    }

    #[cold]
    fn mark(self, live: impl Fn() -> bool) -> Option<Newest> {
        let mut seen = self.newest.load(Ordering::SeqCst);
        while seen & MARK == 0 {
            if !live() {
                return None;
            }
            match self.newest.compare_exchange_weak(seen, seen | MARK, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => seen |= MARK,
                Err(now) => seen = now,
            }
        }
        seq_cst_in_loom();
        Some(Newest::from_bits(seen))
    }

    /// Begins a new lap in this bucket unless that is done. Returns false if the generation has ended.
    fn empty(self, index: usize, lap: u32, may: impl Fn() -> bool) -> bool {
        let bucket = &self.buckets[index];
        let mut seen = bucket.load(Ordering::Acquire);
        while Bucket(seen).is_before(lap) {
            if !may() {
                return false;
            }
            match bucket.compare_exchange_weak(seen, Bucket::empty(lap).0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        true
    }

    /// Counts in whatever lap the bucket is: one that is ahead only means that time has gone on meanwhile.
    #[inline(always)]
    fn count(self, index: u32, hit: bool, live: impl Fn() -> bool) -> Option<()> {
        let bucket = &self.buckets[index as usize];
        let mut seen = bucket.load(Ordering::Acquire);
        loop {
            if !live() {
                return None;
            }
            match bucket.compare_exchange_weak(seen, Bucket(seen).plus(hit).0, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => return Some(()),
                Err(now) => seen = now,
            }
        }
    }

    /// The counts of the window only if they include a failed or slow call.
    #[inline(never)]
    fn suspicious(self, newest: Newest) -> Option<Counts> {
        self.sum(newest, newest.tick).if_suspicious()
    }

    /// All buckets that lie in the window which ends at this tick.
    fn sum(self, newest: Newest, tick: u64) -> Counts {
        let gone = tick.saturating_sub(newest.tick);
        let left = u64::from(self.len).saturating_sub(gone) as u32;
        let Newest { lap, index, .. } = newest;
        // From the newest down to the first bucket, then on from the last one, which is of the lap before.
        let recent = left.min(index + 1);
        let earlier = left - recent;
        let mut counts = Counts::default();
        self.add(&mut counts, index + 1 - recent..index + 1, lap);
        self.add(&mut counts, self.len - earlier..self.len, lap.wrapping_sub(1) & LAP_MASK);
        counts
    }

    /// Adds the buckets that are of this lap, the last one first.
    fn add(self, counts: &mut Counts, range: Range<u32>, lap: u32) {
        let (from, to) = (range.start as usize, range.end as usize);
        for (bucket, index) in self.buckets[from..to].iter().zip(from..to).rev() {
            let bucket = Bucket(bucket.load(Ordering::SeqCst));
            if bucket.lap() == lap {
                counts.calls += bucket.calls();
                counts.failures += bucket.hits();
                if self.watches_slow() {
                    counts.slow += self.slow_calls(index, bucket);
                }
            }
        }
    }

    /// The slow calls, in proportion to the calls, should one of both words have been halved and the other not yet.
    fn slow_calls(self, index: usize, bucket: Bucket) -> u64 {
        let slow = Bucket(self.buckets[self.len as usize + index].load(Ordering::SeqCst));
        if slow.lap() == bucket.lap() { slow.hits().min(bucket.calls()) } else { 0 }
    }
}

impl Newest {
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        Self {
            tick: bits >> TICK_SHIFT,
            marked: bits & MARK != 0,
            lap: (bits >> INDEX) as u32 & LAP_MASK,
            index: bits as u32 & INDEX_MASK,
        }
    }

    fn bits(self) -> u64 {
        let mark = if self.marked { MARK } else { 0 };
        self.tick << TICK_SHIFT | mark | u64::from(self.lap) << INDEX | u64::from(self.index)
    }

    /// As many steps later, at most once around a window of `len` buckets.
    fn plus(self, steps: u32, len: u32) -> Self {
        let index = self.index + steps;
        if index < len {
            return Self { index, ..self };
        }
        Self { index: index - len, lap: self.lap.wrapping_add(1) & LAP_MASK, ..self }
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OK: Outcome = Outcome { failed: false, slow: false };
    const FAILED: Outcome = Outcome { failed: true, slow: false };

    fn words(buckets: u32, watch_slow: bool) -> Vec<AtomicU64> {
        let (len, first) = TimeWindow::words(buckets, watch_slow);
        (0..len).map(|index| AtomicU64::new(if index == 0 { first } else { 0 })).collect()
    }

    fn counts(calls: u64, failures: u64) -> Counts {
        Counts { calls, failures, slow: 0 }
    }

    /// Records, and returns the counts of the window in any case.
    fn record(window: TimeWindow<'_>, tick: u64, outcome: Outcome) -> Counts {
        let seen = window.record(tick, outcome, || true);
        let counts = window.counts(window.newest(Ordering::SeqCst).tick);
        assert_eq!(seen, counts.if_suspicious());
        counts
    }

    #[test]
    fn no_jump_of_the_clock_brings_old_counts_back() {
        // Whatever bits a lap has: after exactly that many laps an old bucket would look new.
        for laps in (1..=40).map(|bits| 1_u64 << bits) {
            for buckets in [1, 3, 10] {
                let words = words(buckets, false);
                let window = TimeWindow::new(&words, buckets, false);
                window.record(0, FAILED, || true);
                let tick = laps * u64::from(buckets);
                assert_eq!(window.counts(tick), counts(0, 0), "{laps} laps");
                assert_eq!(record(window, tick, OK), counts(1, 0), "{laps} laps");
            }
        }
    }

    #[test]
    fn a_bucket_that_is_always_skipped_does_not_come_back() {
        let words = words(4, false);
        let window = TimeWindow::new(&words, 4, false);
        window.record(3, FAILED, || true);
        // Every lap but never again the fourth bucket, for longer than laps have numbers.
        for lap in 1..40_000_u64 {
            for tick in 0..3 {
                let expected = if lap == 1 { u64::from(tick < 3) } else { 0 };
                let seen = record(window, lap * 4 + tick, OK);
                assert_eq!(seen.failures, expected, "lap {lap}, tick {tick}");
            }
        }
    }

    #[test]
    fn a_mark_comes_and_goes_in_every_lap() {
        for buckets in [1, 2, 3, MAX_BUCKETS] {
            let words = words(buckets, true);
            let window = TimeWindow::new(&words, buckets, true);
            let mut tick = 0;
            // For longer than laps have numbers.
            for _ in 0..1_100 {
                window.record(tick, FAILED, || true);
                let last = tick + u64::from(buckets) - 1;
                assert_eq!(record(window, last, OK).failures, 1, "{buckets} buckets, tick {last}");
                tick = last + 1;
                assert_eq!(record(window, tick, OK).failures, 0, "{buckets} buckets, tick {tick}");
                assert!(!window.newest(Ordering::SeqCst).marked, "{buckets} buckets, tick {tick}");
            }
        }
    }

    #[test]
    fn after_the_last_tick_the_window_stands_still() {
        let words = words(3, false);
        let window = TimeWindow::new(&words, 3, false);
        window.record(TICK_MAX - 2, FAILED, || true);
        assert_eq!(record(window, u64::MAX, OK), counts(2, 1));
        assert_eq!(record(window, TICK_MAX + 1, FAILED), counts(3, 2));
        assert_eq!(record(window, u64::MAX, OK), counts(4, 2));
        assert_eq!(window.counts(u64::MAX), counts(4, 2));
        window.reset(u64::MAX);
        assert_eq!(record(window, u64::MAX, OK), counts(1, 0));
    }

    #[test]
    fn what_comes_too_late_changes_nothing() {
        let words = words(3, true);
        let window = TimeWindow::new(&words, 3, true);
        window.record(1, FAILED, || true);
        assert_eq!(window.record(1, FAILED, || false), None);
        assert_eq!(window.record(9, FAILED, || false), None);
        assert_eq!(window.counts(1), counts(1, 1));
        window.reset(1);
        assert_eq!(window.counts(1), counts(0, 0));
        assert_eq!(record(window, 1, OK), counts(1, 0));
        // Its generation ends after it has counted, and before it marks.
        let live = std::cell::Cell::new(true);
        let asked = std::cell::Cell::new(0);
        let seen = window.record(1, FAILED, || {
            asked.set(asked.get() + 1);
            if asked.get() == 3 {
                live.set(false);
                window.reset(1);
            }
            live.get()
        });
        assert_eq!((asked.get(), seen), (3, None), "asked for both words and for the mark");
        assert_eq!(record(window, 1, OK), counts(1, 0));
        assert!(!window.newest(Ordering::SeqCst).marked);
    }

    /// Runs others at one of the points where a recorder may be interrupted, and returns what it then sees.
    fn interrupted(window: TimeWindow<'_>, tick: u64, at: u32, others: impl Fn()) -> Option<Counts> {
        let asked = std::cell::Cell::new(0);
        window.record(tick, FAILED, || {
            asked.set(asked.get() + 1);
            if asked.get() == at {
                others();
            }
            true
        })
    }

    #[test]
    fn of_two_recorders_in_neighbouring_buckets_the_last_sees_both() {
        let words = words(10, false);
        let window = TimeWindow::new(&words, 10, false);
        // In between, the other moves on to the next bucket and sees nothing of the first.
        let first = interrupted(window, 0, 1, || assert_eq!(window.record(1, FAILED, || true), Some(counts(1, 1))));
        assert_eq!(first, Some(counts(2, 2)));
    }

    #[test]
    fn a_recorder_that_slept_for_ages_spoils_no_bucket() {
        for at in 1..=5 {
            let words = words(2, false);
            let window = TimeWindow::new(&words, 2, false);
            // More laps than half of the numbers they have.
            let end = 2 * 9_000;
            let others = || {
                for tick in 2..=end {
                    window.record(tick, OK, || true);
                }
            };
            interrupted(window, 2, at, others);
            for tick in end + 2..end + 10 {
                let before = window.counts(tick).calls;
                assert_eq!(record(window, tick, OK).calls, before + 1, "asked {at}, tick {tick}");
            }
        }
    }

    /// A recorder, and those that run while it is interrupted at one of its points.
    #[derive(Clone, Debug)]
    struct Run {
        tick: u64,
        outcome: Outcome,
        at: u32,
        others: Vec<Run>,
    }

    fn runs() -> impl Strategy<Value = Vec<Run>> {
        let outcome = prop_oneof![3 => Just((false, false)), 2 => Just((true, false)), 1 => Just((false, true))];
        let run = (0..9_u64, outcome, 1..9_u32).prop_map(|(tick, (failed, slow), at)| Run {
            tick,
            outcome: Outcome { failed, slow },
            at,
            others: Vec::new(),
        });
        let nested = run.clone().prop_recursive(3, 12, 4, move |others| {
            (run.clone(), prop::collection::vec(others, 0..4)).prop_map(|(run, others)| Run { others, ..run })
        });
        prop::collection::vec(nested, 1..6)
    }

    /// What the recorders saw, in the order in which they ended.
    fn run_all(window: TimeWindow<'_>, runs: &[Run], seen: &std::cell::RefCell<Vec<Option<Counts>>>) {
        for run in runs {
            let asked = std::cell::Cell::new(0);
            let counts = window.record(run.tick, run.outcome, || {
                asked.set(asked.get() + 1);
                if asked.get() == run.at {
                    run_all(window, &run.others, seen);
                }
                true
            });
            seen.borrow_mut().push(counts);
        }
    }

    #[test]
    fn threads_lose_nothing() {
        let words = words(1_000, true);
        let window = TimeWindow::new(&words, 1_000, true);
        std::thread::scope(|scope| {
            for worker in 0..4_u64 {
                let window = &window;
                scope.spawn(move || {
                    for call in 0..1_000 {
                        let outcome = Outcome { failed: (call + worker) % 2 == 0, slow: call % 4 == 0 };
                        window.record(call / 2, outcome, || true);
                    }
                });
            }
        });
        assert_eq!(window.counts(499), Counts { calls: 4_000, failures: 2_000, slow: 1_000 });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn of_recorders_that_interrupt_each_other_the_last_sees_what_speaks_against(
            buckets in prop::sample::select(vec![1, 2, 3, 10, MAX_BUCKETS]),
            watch_slow: bool,
            runs in runs(),
        ) {
            let words = words(buckets, watch_slow);
            let window = TimeWindow::new(&words, buckets, watch_slow);
            let seen = std::cell::RefCell::default();
            run_all(window, &runs, &seen);
            let newest = window.newest(Ordering::SeqCst);
            let held = window.suspicious(newest);
            prop_assert!(held.is_none() || newest.marked, "{:?} without a mark", held);
            prop_assert_eq!(seen.borrow().last().copied().flatten(), held);
        }
    }

    proptest! {
        #[test]
        fn holds_exactly_the_last_ticks(
            buckets in 1_u32..12,
            watch_slow: bool,
            outcomes in prop::collection::vec((0..30_u64, any::<bool>(), any::<bool>(), 0..40_u8), 0..400),
        ) {
            let words = words(buckets, watch_slow);
            let window = TimeWindow::new(&words, buckets, watch_slow);
            let mut model = Vec::new();
            let mut tick = 0;
            for (jump, failed, slow, reset) in outcomes {
                // Mostly within a bucket or to the next; now and then far.
                tick += match jump { 0..15 => 0, 15..22 => 1, far => (far - 21).pow(5) };
                if reset == 0 {
                    window.reset(tick);
                    model.clear();
                }
                let expected = |model: &[(u64, bool, bool)]| {
                    let live = || model.iter().filter(|outcome| outcome.0 + u64::from(buckets) > tick);
                    Counts {
                        calls: live().count() as u64,
                        failures: live().filter(|outcome| outcome.1).count() as u64,
                        slow: live().filter(|outcome| watch_slow && outcome.2).count() as u64,
                    }
                };
                prop_assert_eq!(window.counts(tick), expected(&model));
                model.push((tick, failed, slow));
                let seen = window.record(tick, Outcome { failed, slow }, || true);
                prop_assert_eq!(seen, expected(&model).if_suspicious());
                prop_assert_eq!(window.newest(Ordering::SeqCst).marked, seen.is_some());
                prop_assert_eq!(window.counts(tick), expected(&model));
            }
        }
    }
}
