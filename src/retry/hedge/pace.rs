//! When an attempt is hedged.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Hedge;
use super::histogram::Histogram;
use super::setting::When;
use crate::call::deadline::Deadline;
use crate::clock::{Clock, nanos};
use crate::sync::{AtomicU64, Ordering};

/// The delay before a hedge. Clones share their latencies.
#[derive(Clone, Debug)]
pub(in crate::retry) enum Pace {
    Never,
    After(Duration),
    Quantile(Arc<Latencies>),
}

/// The delay that follows the latency of the upstream.
#[derive(Debug)]
pub(in crate::retry) struct Latencies {
    quantile: f64,
    clock: Clock,
    histogram: Histogram,
    /// In nanoseconds. [`NONE`] as long as there are too few samples.
    delay: AtomicU64,
    /// When the delay is computed anew, in nanoseconds.
    refresh_at: AtomicU64,
}

const MINIMUM_SAMPLES: u64 = 50;
/// Walking through all buckets costs hundreds of nanoseconds, so it is done rarely.
const REFRESH_EVERY: Duration = Duration::from_millis(500);
const NONE: u64 = u64::MAX;
/// The resolution of tokio's timer.
const SHORTEST: Duration = Duration::from_millis(1);

impl Pace {
    pub(in crate::retry) fn new(hedge: Hedge) -> Self {
        match hedge.when {
            When::After(delay) => Self::After(delay),
            When::Quantile(quantile) => Self::Quantile(Arc::new(Latencies {
                quantile,
                clock: Clock::start(),
                histogram: Histogram::new(),
                delay: AtomicU64::new(NONE),
                refresh_at: AtomicU64::new(0),
            })),
        }
    }

    /// Returns the setting that it is made of.
    pub(in crate::retry) fn hedge(&self) -> Option<Hedge> {
        let when = match self {
            Self::Never => return None,
            Self::After(delay) => When::After(*delay),
            Self::Quantile(latencies) => When::Quantile(latencies.quantile),
        };
        Some(Hedge { when })
    }

    /// Returns how long an attempt may take before it is hedged.
    pub(super) fn delay(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::After(delay) => Some(*delay),
            Self::Quantile(latencies) => latencies.delay(now),
        }
    }

    /// Records that an attempt, which is not a hedge, was answered on its first poll.
    #[inline]
    pub(super) fn record_none(&self) {
        if let Self::Quantile(latencies) = self {
            latencies.histogram.record_none();
        }
    }

    /// Records when an attempt began that has now been answered well, or that is dropped although it goes on. The
    /// latter is as good: it took longer than the delay, and only that counts for the quantile.
    pub(super) fn record(&self, began: Instant) {
        if let Self::Quantile(latencies) = self {
            let now = Instant::now();
            latencies.histogram.record(now.saturating_duration_since(began), latencies.nanos(now));
        }
    }
}

impl Latencies {
    fn delay(&self, now: Instant) -> Option<Duration> {
        let now = self.nanos(now);
        let due = self.refresh_at.load(Ordering::Relaxed);
        if now >= due {
            let next = now.saturating_add(nanos(REFRESH_EVERY));
            if self.refresh_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                let delay = self.histogram.quantile(self.quantile, MINIMUM_SAMPLES, now);
                self.delay.store(delay.map_or(NONE, |delay| nanos(delay.max(SHORTEST))), Ordering::Relaxed);
            }
        }
        Some(self.delay.load(Ordering::Relaxed)).filter(|delay| *delay != NONE).map(Duration::from_nanos)
    }

    fn nanos(&self, now: Instant) -> u64 {
        self.clock.moment_of(Deadline::at(now)).nanos()
    }
}
