//! Sliding windows of outcomes that any number of threads record into without a lock.
//!
//! How both kinds stay right: a window belongs to one closed generation of its breaker. A recorder loads a word of the
//! window, *then* asks whether its generation is still the current one, and only then swaps the word. A window is
//! emptied after its generation has ended, and emptying changes every word. So a recorder that sees an emptied word also
//! sees that it comes too late, and one that looked before finds that the word has changed and looks again.

mod count;
mod time;

use std::time::Duration;

pub(super) use self::count::CountWindow;
pub(super) use self::time::TimeWindow;
use super::clock::{Moment, nanos};

/// Which outcomes the rates of a breaker are made of. Slides: nothing older counts, however much it was.
///
/// ```
/// use std::time::Duration;
/// use tower_rampart::breaker::Window;
///
/// let minute = Window::time(Duration::from_secs(60)); // in ten buckets
/// let finer = Window::time(Duration::from_secs(60)).buckets(60);
/// let hundred = Window::count(100);
/// # let _ = (minute, finer, hundred);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Count(u32),
    Time { length: Duration, buckets: u32 },
}

/// The outcomes in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) slow: u64,
}

/// One outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

/// The window of one breaker.
#[derive(Debug)]
pub(super) enum Recorder {
    Count(CountWindow),
    Time(TimeWindow),
}

const DEFAULT_BUCKETS: u32 = 10;
const SHORTEST_BUCKET: Duration = Duration::from_millis(1);

impl Window {
    /// The longest window of [`count`](Self::count).
    pub const MAX_CALLS: u32 = count::MAX_CALLS;
    /// The most [`buckets`](Self::buckets).
    pub const MAX_BUCKETS: u32 = time::MAX_BUCKETS;

    /// Exactly the last `calls` outcomes, however long ago. Two bits each.
    ///
    /// # Panics
    ///
    /// If `calls` is 0 or more than [`MAX_CALLS`](Self::MAX_CALLS).
    #[must_use]
    pub fn count(calls: u32) -> Self {
        assert!(
            (1..=Self::MAX_CALLS).contains(&calls),
            "Window::count: the calls must lie between 1 and {}, but are {calls}",
            Self::MAX_CALLS
        );
        Self(Kind::Count(calls))
    }

    /// The outcomes of the last `length`, in ten buckets: at any time the newest tenth is still filling, and a tenth is
    /// forgotten at once. Eight bytes a bucket, whatever the traffic.
    ///
    /// # Panics
    ///
    /// If a bucket were shorter than a millisecond.
    #[must_use]
    pub fn time(length: Duration) -> Self {
        Self::checked_time(length, DEFAULT_BUCKETS)
    }

    /// The same time in another number of buckets.
    ///
    /// # Panics
    ///
    /// If this is a window of [`count`](Self::count), if there are no buckets or more than
    /// [`MAX_BUCKETS`](Self::MAX_BUCKETS), or if a bucket were shorter than a millisecond.
    #[must_use]
    pub fn buckets(self, buckets: u32) -> Self {
        match self.0 {
            Kind::Time { length, .. } => Self::checked_time(length, buckets),
            Kind::Count(calls) => panic!("Window::buckets: a window of {calls} calls has no buckets"),
        }
    }

    fn checked_time(length: Duration, buckets: u32) -> Self {
        assert!(
            (1..=Self::MAX_BUCKETS).contains(&buckets),
            "Window::buckets: there must be between 1 and {}, but are {buckets}",
            Self::MAX_BUCKETS
        );
        assert!(
            length >= SHORTEST_BUCKET * buckets,
            "Window::time: {length:?} in {buckets} buckets makes them shorter than {SHORTEST_BUCKET:?}"
        );
        Self(Kind::Time { length, buckets })
    }

    pub(super) fn kind(&self) -> Kind {
        self.0
    }
}

impl Default for Window {
    /// The last minute, in ten buckets.
    fn default() -> Self {
        Self::time(Duration::from_secs(60))
    }
}

impl Kind {
    /// The nanoseconds of one bucket.
    pub(super) fn bucket_nanos(self) -> u64 {
        match self {
            Kind::Count(_) => u64::MAX,
            Kind::Time { length, buckets } => nanos(length).div_ceil(u64::from(buckets)),
        }
    }
}

impl Counts {
    /// Failures among the calls; 0 if there was no call.
    pub(super) fn failure_rate(&self) -> f64 {
        rate(self.failures, self.calls)
    }

    /// Slow calls among the calls; 0 if there was no call.
    pub(super) fn slow_rate(&self) -> f64 {
        rate(self.slow, self.calls)
    }
}

impl Recorder {
    pub(super) fn new(kind: Kind, watch_slow: bool) -> Self {
        match kind {
            Kind::Count(calls) => Self::Count(CountWindow::new(calls)),
            Kind::Time { buckets, .. } => Self::Time(TimeWindow::new(buckets, watch_slow)),
        }
    }

    /// Adds an outcome and returns what the window then holds; nothing if `live` says that it comes too late.
    pub(super) fn record(
        &self,
        kind: Kind,
        now: Option<Moment>,
        outcome: Outcome,
        live: impl Fn() -> bool,
    ) -> Option<Counts> {
        match self {
            Self::Count(window) => window.record(outcome, live),
            Self::Time(window) => window.record(tick(kind, now), outcome, live),
        }
    }

    pub(super) fn counts(&self, kind: Kind, now: Moment) -> Counts {
        match self {
            Self::Count(window) => window.counts(),
            Self::Time(window) => window.counts(tick(kind, Some(now))),
        }
    }

    /// Empties the window. Only while no generation is closed, and by one at a time.
    pub(super) fn reset(&self, kind: Kind, now: Moment) {
        match self {
            Self::Count(window) => window.reset(),
            Self::Time(window) => window.reset(tick(kind, Some(now))),
        }
    }
}

fn tick(kind: Kind, now: Option<Moment>) -> u64 {
    now.map_or(0, |now| now.nanos() / kind.bucket_nanos())
}

/// A correctly rounded division: three of thirty is exactly the 0.1 that somebody wrote down.
fn rate(part: u64, whole: u64) -> f64 {
    if part == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the calls must lie between 1 and 1048576, but are 0")]
    fn a_window_of_no_calls_panics() {
        let _ = Window::count(0);
    }

    #[test]
    #[should_panic(expected = "1ms in 10 buckets makes them shorter than 1ms")]
    fn a_bucket_below_a_millisecond_panics() {
        let _ = Window::time(Duration::from_millis(1));
    }

    #[test]
    #[should_panic(expected = "a window of 5 calls has no buckets")]
    fn buckets_of_a_count_window_panic() {
        let _ = Window::count(5).buckets(2);
    }

    #[test]
    fn rates_are_exact() {
        for whole in 1..=100_u64 {
            for tenths in 1..=10_u64 {
                let reached = (0..=whole).find(|part| rate(*part, whole) >= tenths as f64 / 10.0);
                let exact = (0..=whole).find(|part| part * 10 >= tenths * whole);
                assert_eq!(reached, exact, "{tenths} tenths of {whole}");
            }
        }
    }
}
