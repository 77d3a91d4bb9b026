//! How long attempts took lately, in buckets whose width grows with the time.

use std::array;
use std::time::Duration;

use crate::clock::nanos;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Durations of the last 30 to 60 seconds.
///
/// Two halves count 30 seconds each, in turn. The first thread of a new half empties the counts of the last but one.
/// What another thread records at that very moment can be lost; nothing is counted twice, and nothing lasts longer than
/// a minute of calls.
#[derive(Debug)]
pub(super) struct Histogram<const BUCKETS: usize = { ALL_BUCKETS }> {
    /// The number of the current half.
    half: AtomicU64,
    counts: [[AtomicU32; BUCKETS]; 2],
}

/// Nanoseconds of one half.
const HALF: u64 = 30_000_000_000;

/// Buckets of one power of two: a bucket is at most a sixteenth wider than the durations in it.
const STEPS: u64 = 16;

/// The longest duration that is told apart from longer ones, in microseconds: 71 minutes.
const LONGEST: u64 = u32::MAX as u64;

const ALL_BUCKETS: usize = bucket(LONGEST) + 1;

// Relaxed, because each count is a number of its own and guards no other memory.
impl<const BUCKETS: usize> Histogram<BUCKETS> {
    pub(super) fn new() -> Self {
        let counts = || array::from_fn(|_| AtomicU32::new(0));
        Self { half: AtomicU64::new(0), counts: [counts(), counts()] }
    }

    /// Counts a duration. `now` is in nanoseconds.
    pub(super) fn record(&self, took: Duration, now: u64) {
        self.add(took, self.half_at(now));
    }

    /// Counts an attempt that was answered at once, and reads no clock for it.
    pub(super) fn record_none(&self) {
        self.add(Duration::ZERO, self.half.load(Ordering::Relaxed));
    }

    /// Returns a duration that the share `quantile` of the last durations did not reach, or `None` if there are fewer
    /// than `minimum`. It exceeds the exact quantile by at most a sixteenth and two microseconds.
    pub(super) fn quantile(&self, quantile: f64, minimum: u64, now: u64) -> Option<Duration> {
        self.half_at(now);
        let [one, other] = &self.counts;
        let count = |bucket: usize| {
            u64::from(one[bucket].load(Ordering::Relaxed)) + u64::from(other[bucket].load(Ordering::Relaxed))
        };
        let counts: [u64; BUCKETS] = array::from_fn(count);
        let total: u64 = counts.iter().sum();
        if total < minimum.max(1) {
            return None;
        }
        // The quantile is below 1, so this is at most the total.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = ((quantile * total as f64).ceil() as u64).max(1);
        let mut below = 0;
        let reached = counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        reached.map(|bucket| Duration::from_micros(end(bucket)))
    }

    fn add(&self, took: Duration, half: u64) {
        let micros = (nanos(took) / 1_000).min(LONGEST);
        self.counts[usize::from(half % 2 == 1)][bucket(micros).min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the current half, and empties the counts that are too old.
    fn half_at(&self, now: u64) -> u64 {
        let (half, last) = (now / HALF, self.half.load(Ordering::Relaxed));
        // A thread that was slow may come with a time of the half before.
        if half <= last {
            return last;
        }
        if self.half.compare_exchange(last, half, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.empty(half);
            if half - last > 1 {
                self.empty(half + 1);
            }
        }
        half
    }

    fn empty(&self, half: u64) {
        for count in &self.counts[usize::from(half % 2 == 1)] {
            // Not a store, which loom does not order among the additions of others.
            count.swap(0, Ordering::Relaxed);
        }
    }
}

/// The bucket of a number of microseconds.
const fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let power = micros.ilog2() - STEPS.ilog2();
    (power as u64 * STEPS + (micros >> power)) as usize
}

/// The microseconds at which a bucket ends.
const fn end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket + 1;
    }
    let power = bucket / STEPS - 1;
    (bucket - power * STEPS + 1) << power
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn histogram() -> Histogram {
        Histogram::new()
    }

    #[test]
    fn every_number_lies_in_its_bucket_and_the_buckets_follow_each_other() {
        for micros in (0..10_000).chain([LONGEST - 1, LONGEST]) {
            let (bucket, before) = (bucket(micros), bucket(micros).checked_sub(1).map_or(0, end));
            assert!(before <= micros && micros < end(bucket), "{micros} in {bucket}: {before} to {}", end(bucket));
            assert!(end(bucket) - before <= (before / STEPS).max(1), "the width of {bucket}");
        }
        assert_eq!(ALL_BUCKETS, 464);
    }

    #[test]
    fn there_is_no_quantile_of_too_few_durations() {
        let histogram = histogram();
        for _ in 0..49 {
            histogram.record(Duration::from_millis(10), 0);
        }
        assert_eq!(histogram.quantile(0.95, 50, 0), None);
        histogram.record_none();
        assert!(histogram.quantile(0.95, 50, 0).is_some());
    }

    #[test]
    fn durations_leave_after_thirty_to_sixty_seconds() {
        for (recorded, last) in [(0, 59), (29, 59), (30, 89), (59, 89)] {
            let histogram = histogram();
            histogram.record(Duration::from_millis(10), recorded * SECOND);
            assert!(histogram.quantile(0.5, 1, last * SECOND).is_some(), "of {recorded} at {last}");
            assert!(histogram.quantile(0.5, 1, (last + 1) * SECOND).is_none(), "of {recorded} after {last}");
        }
    }

    #[test]
    fn after_a_long_silence_nothing_is_left() {
        for silence in [60, 61, 90, 119, 3_600] {
            let histogram = histogram();
            histogram.record(Duration::from_millis(10), 29 * SECOND);
            histogram.record(Duration::from_millis(10), 31 * SECOND);
            assert_eq!(histogram.quantile(0.5, 1, (31 + silence) * SECOND), None, "{silence} s");
        }
    }

    #[test]
    fn a_thread_that_was_slow_counts_in_the_current_half() {
        let histogram = histogram();
        histogram.record(Duration::from_millis(10), 61 * SECOND);
        histogram.record(Duration::from_millis(10), 29 * SECOND);
        assert!(histogram.quantile(0.5, 2, 61 * SECOND).is_some());
    }

    proptest! {
        /// Against the sorted durations: never below the exact quantile, and above it by the width of a bucket at most.
        #[test]
        fn a_quantile_is_exact_up_to_a_sixteenth(
            durations in prop::collection::vec(
                prop_oneof![0..100_000_u64, 0..50_000_000_u64, 0..2_000_000_000_u64, 0..4_000_000_000_000_u64], 1..300),
            quantile in 0.01..0.999_f64,
        ) {
            let histogram = histogram();
            for &took in &durations {
                histogram.record(Duration::from_nanos(took), 0);
            }
            let mut sorted = durations;
            sorted.sort_unstable();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let rank = (quantile * sorted.len() as f64).ceil() as usize;
            let exact = sorted[rank.max(1) - 1];
            let estimate = nanos(histogram.quantile(quantile, 1, 0).unwrap());
            prop_assert!(estimate > exact, "{estimate} for {exact}");
            prop_assert!(estimate <= exact + exact / STEPS + 2_000, "{estimate} for {exact}");
        }
    }
}

#[cfg(all(test, rampart_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    fn counts(histogram: &Histogram<2>, half: usize) -> u32 {
        histogram.counts[half].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Two threads begin a half together while a third reads: its thread's own durations count, the other's at most
    /// once, and those of the half before are untouched.
    #[test]
    fn loom_a_swap_loses_no_more_than_what_comes_at_that_moment() {
        loom::model(|| {
            let histogram = Arc::new(Histogram::<2>::new());
            histogram.record(Duration::ZERO, 0);
            histogram.record(Duration::ZERO, HALF);
            let threads = [(); 2].map(|()| {
                let histogram = Arc::clone(&histogram);
                thread::spawn(move || histogram.record(Duration::ZERO, 2 * HALF))
            });
            histogram.quantile(0.5, 1, 2 * HALF);
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(counts(&histogram, 1), 1, "the half before");
            // The reader may have made the swap, and wiped out both.
            let new = counts(&histogram, 0);
            assert!(new <= 2, "the new half: {new}");
            histogram.record(Duration::ZERO, 2 * HALF);
            assert!((1..=3).contains(&counts(&histogram, 0)), "what comes after the swap stays");
        });
    }
}
