use std::time::Duration;

#[cfg(not(all(test, rampart_loom)))]
use tokio::time::Instant;

use crate::call::deadline::Deadline;

/// The clock of one layer, tokio's: it moves with a paused one in tests.
#[cfg(not(all(test, rampart_loom)))]
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

/// Loom replays a run many times, so that time must stand still: a model moves it by hand.
#[cfg(all(test, rampart_loom))]
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    now: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

/// Nanoseconds since the clock started. Saturates after 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// Measures how long a call takes, until its end or its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopwatch {
    Running { began: Moment },
    Stopped { nanos: u64 },
}

const NANOS_PER_SEC: u64 = 1_000_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

#[cfg(all(test, rampart_loom))]
impl Clock {
    pub(crate) fn start() -> Self {
        Self { now: Default::default() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.now.load(std::sync::atomic::Ordering::SeqCst))
    }

    pub(crate) fn moment_of(&self, _: Deadline) -> Moment {
        Moment::NEVER
    }

    pub(crate) fn set(&self, now: Duration) {
        self.now.store(nanos(now), std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(not(all(test, rampart_loom)))]
impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    #[inline]
    pub(crate) fn now(&self) -> Moment {
        Moment(nanos(Instant::now().saturating_duration_since(self.start)))
    }

    /// Reads no clock.
    pub(crate) fn moment_of(&self, deadline: Deadline) -> Moment {
        Moment(nanos(deadline.instant().saturating_duration_since(self.start)))
    }
}

impl Moment {
    /// When the clock started.
    pub(crate) const START: Self = Self(0);
    /// Further ahead than any clock comes.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    #[cfg(test)]
    pub(crate) fn at(since_start: Duration) -> Self {
        Self(nanos(since_start))
    }

    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds. Deadlines are rounded in the same way, so that an open time of whole milliseconds lasts
    /// exactly that, whatever fraction of a millisecond it began at.
    pub(crate) fn millis(self) -> u64 {
        self.0 / NANOS_PER_MILLI
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Stopwatch {
    #[inline(always)]
    pub(crate) fn start(now: Moment) -> Self {
        Self::Running { began: now }
    }

    pub(crate) fn stop(&mut self, now: Moment) {
        *self = Self::Stopped { nanos: nanos(self.elapsed(now)) };
    }

    pub(crate) fn elapsed(self, now: Moment) -> Duration {
        match self {
            Self::Running { began } => now.since(began),
            Self::Stopped { nanos } => Duration::from_nanos(nanos),
        }
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(NANOS_PER_SEC).saturating_add(u64::from(duration.subsec_nanos()))
}

/// Whole milliseconds, rounded up: a wait is never cut short.
pub(crate) fn millis_up(duration: Duration) -> u64 {
    nanos(duration).div_ceil(NANOS_PER_MILLI)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_far_ahead_stops_at_the_end() {
        assert_eq!(Moment::at(Duration::MAX).nanos(), u64::MAX);
        assert_eq!(millis_up(Duration::MAX), u64::MAX.div_ceil(NANOS_PER_MILLI));
    }

    #[test]
    fn moments_round_down_and_waits_round_up() {
        assert_eq!(Moment::at(Duration::from_micros(1_999)).millis(), 1);
        assert_eq!(millis_up(Duration::from_micros(1_001)), 2);
    }
}
