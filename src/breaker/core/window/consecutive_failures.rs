use std::time::Duration;

use crate::clock::Moment;
use crate::sync::{AtomicU64, Ordering};

/// Counts consecutive failures. A success resets the count, and so does time once the last failure has left the window.
/// Kept right across generations in the same way as the [windows](super::window).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsecutiveFailures<'a> {
    count: &'a AtomicU64,
    /// When the first of them ended, in nanoseconds. Never moves back, so that a thread that was slow to write it can
    /// only make them look younger.
    began: &'a AtomicU64,
}

/// Failures in a row, with the newest of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) count: u32,
    /// From the first to the newest.
    pub(crate) lasted: Duration,
}

/// How many words it needs.
pub(crate) const WORDS: usize = 2;

/// The tick of an event, and the number of ticks after which it has left the window. A window of calls has no ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age {
    pub(crate) tick: u64,
    pub(crate) gone_after: u64,
}

impl Age {
    /// Whether time ends a row.
    pub(crate) fn ends(self) -> bool {
        self.gone_after != u64::MAX
    }
}

/// Epoch 12, tick of the last failure 38, failures 14. Ticks saturate after 8 years with the shortest buckets, of a
/// millisecond, and after 52,000 years with the default ones: from then on time ends no row.
///
/// A late failure of an earlier generation could slip through only if its thread stood still between two instructions
/// for exactly 4,096 closed periods, or a multiple, each at least a millisecond after the last, and if count and tick
/// were then the same again. The count would be wrong by one.
#[derive(Clone, Copy)]
struct Packed(u64);

/// The largest count.
pub(crate) const COUNT_MAX: u32 = (1 << COUNT) - 1;
const COUNT: u32 = 14;
const TICK: u32 = 38;
const TICK_MAX: u64 = (1 << TICK) - 1;
const EPOCH: u32 = COUNT + TICK;

impl<'a> ConsecutiveFailures<'a> {
    pub(crate) fn new([count, began]: &'a [AtomicU64; WORDS]) -> Self {
        Self { count, began }
    }

    pub(crate) fn get(&self, age: Age) -> u32 {
        self.load().count_at(age)
    }

    /// Adds a failure and returns the run; `None` if `live` returns false, because the generation has ended.
    pub(crate) fn failure(&self, age: Age, now: Moment, live: impl Fn() -> bool) -> Option<Run> {
        let count = self.update(live, |packed| {
            let count = (packed.count_at(age) + 1).min(COUNT_MAX);
            if count == 1 {
                // Before the count is published: who adds to it sees this moment or a later one.
                self.began.fetch_max(now.nanos(), Ordering::AcqRel);
            }
            packed.with(if count > 1 { packed.tick().max(age.tick) } else { age.tick }, count)
        })?;
        Some(Run { count, lasted: self.lasted(now) })
    }

    /// Time since the first of them.
    #[inline(always)]
    pub(crate) fn lasted(&self, now: Moment) -> Duration {
        Duration::from_nanos(now.nanos().saturating_sub(self.began.load(Ordering::Acquire)))
    }

    pub(crate) fn success(&self, live: impl Fn() -> bool) {
        if self.load().count() != 0 {
            self.update(live, |packed| packed.with(0, 0));
        }
    }

    pub(crate) fn reset(self) {
        let epoch = self.load().0 >> EPOCH;
        self.count.swap(epoch.wrapping_add(1) << EPOCH, Ordering::AcqRel);
    }

    /// Goes on with the ticks of another window. No step of a late recorder, with a tick of before, succeeds later.
    pub(crate) fn retick(self, tick: impl Fn(u64) -> u64) {
        let mut seen = self.load();
        loop {
            let epoch = (seen.0 >> EPOCH).wrapping_add(1) << EPOCH;
            let next = Packed(epoch).with(tick(seen.tick()), seen.count());
            match self.count.compare_exchange(seen.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => seen = Packed(now),
            }
        }
    }

    fn load(&self) -> Packed {
        Packed(self.count.load(Ordering::Acquire))
    }

    fn update(&self, live: impl Fn() -> bool, change: impl Fn(Packed) -> Packed) -> Option<u32> {
        let mut seen = self.load();
        loop {
            if !live() {
                return None;
            }
            let next = change(seen);
            match self.count.compare_exchange_weak(seen.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(next.count()),
                Err(now) => seen = Packed(now),
            }
        }
    }
}

impl Packed {
    fn count(self) -> u32 {
        self.0 as u32 & COUNT_MAX
    }

    fn tick(self) -> u64 {
        self.0 >> COUNT & TICK_MAX
    }

    /// The count, unless the last failure has left the window. Threads do not read the clock in the order of their
    /// updates: a later update may carry an earlier tick.
    fn count_at(self, age: Age) -> u32 {
        let passed = age.tick.min(TICK_MAX).saturating_sub(self.tick());
        if passed >= age.gone_after { 0 } else { self.count() }
    }

    fn with(self, tick: u64, count: u32) -> Self {
        Self(self.0 >> EPOCH << EPOCH | tick.min(TICK_MAX) << COUNT | u64::from(count))
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use super::*;

    const LEN: u64 = 10;

    fn at(tick: u64) -> Age {
        Age { tick, gone_after: LEN }
    }

    fn words() -> [AtomicU64; WORDS] {
        [AtomicU64::new(0), AtomicU64::new(0)]
    }

    /// Adds a failure of any time and returns the count.
    fn fail(to: ConsecutiveFailures<'_>, age: Age) -> Option<u32> {
        to.failure(age, Moment::START, || true).map(|run| run.count)
    }

    #[test]
    fn counts_failures_in_a_row_of_one_generation() {
        let words = words();
        let consecutive_failures = ConsecutiveFailures::new(&words);
        assert_eq!(fail(consecutive_failures, at(0)), Some(1));
        assert_eq!(fail(consecutive_failures, at(0)), Some(2));
        consecutive_failures.success(|| false);
        assert_eq!(consecutive_failures.failure(at(0), Moment::START, || false), None);
        assert_eq!(consecutive_failures.get(at(0)), 2, "what comes too late changes nothing");
        consecutive_failures.success(|| true);
        assert_eq!(fail(consecutive_failures, at(0)), Some(1));
        consecutive_failures.reset();
        assert_eq!(consecutive_failures.get(at(0)), 0);
    }

    #[test]
    fn a_row_ends_when_its_last_failure_leaves_the_window() {
        for begin in [0, 7, 1 << 26, 1 << 37, TICK_MAX - 2 * LEN] {
            let words = words();
            let consecutive_failures = ConsecutiveFailures::new(&words);
            fail(consecutive_failures, at(begin));
            assert_eq!(fail(consecutive_failures, at(begin + LEN - 1)), Some(2));
            assert_eq!(fail(consecutive_failures, at(begin)), Some(3), "a clock that was read a little earlier");
            let last = begin + 2 * (LEN - 1);
            assert_eq!((consecutive_failures.get(at(last)), consecutive_failures.get(at(last + 1))), (3, 0));
            assert_eq!(fail(consecutive_failures, at(last + 1)), Some(1));
        }
    }

    #[test]
    fn no_jump_of_the_clock_keeps_a_row() {
        for jump in (4..=63).map(|bits| 1_u64 << bits) {
            let words = words();
            let consecutive_failures = ConsecutiveFailures::new(&words);
            fail(consecutive_failures, at(0));
            assert_eq!(consecutive_failures.get(at(jump)), 0, "{jump}");
            assert_eq!(fail(consecutive_failures, at(jump)), Some(1), "{jump}");
        }
        let words = words();
        let consecutive_failures = ConsecutiveFailures::new(&words);
        fail(consecutive_failures, at(u64::MAX));
        assert_eq!(fail(consecutive_failures, at(u64::MAX)), Some(2), "after the end of ticks");
    }

    #[test]
    fn rule_2_no_two_of_4096_generations_look_the_same() {
        let words = words();
        let consecutive_failures = ConsecutiveFailures::new(&words);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..4_096 {
            assert!(seen.insert(consecutive_failures.load().0));
            consecutive_failures.reset();
        }
    }

    #[test]
    fn rule_5_a_run_lasts_from_its_first_failure_to_its_newest() {
        let (words, second) = (words(), Duration::from_secs(1));
        let consecutive_failures = ConsecutiveFailures::new(&words);
        let fail = |seconds| consecutive_failures.failure(at(0), Moment::at(second * seconds), || true).unwrap();
        assert_eq!([fail(5), fail(5), fail(9)].map(|run| run.lasted), [Duration::ZERO, Duration::ZERO, second * 4]);
        consecutive_failures.success(|| true);
        assert_eq!(fail(20), Run { count: 1, lasted: Duration::ZERO });
        assert_eq!(fail(23), Run { count: 2, lasted: second * 3 });
        consecutive_failures.reset();
        assert_eq!(fail(30), Run { count: 1, lasted: Duration::ZERO });
        // A thread that read the clock long ago and begins a new run now does not make it look older.
        consecutive_failures.success(|| true);
        assert_eq!(fail(1).lasted, Duration::ZERO);
        assert_eq!(fail(31), Run { count: 2, lasted: second });
    }

    #[test]
    fn a_row_does_not_overflow() {
        let words = [AtomicU64::new(Packed(0).with(0, COUNT_MAX).0), AtomicU64::new(0)];
        let consecutive_failures = ConsecutiveFailures::new(&words);
        assert_eq!(fail(consecutive_failures, at(0)), Some(COUNT_MAX));
        assert_eq!(consecutive_failures.load().0 >> COUNT, 0);
    }
}
