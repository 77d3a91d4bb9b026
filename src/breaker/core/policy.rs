use std::sync::Arc;
use std::time::Duration;

use super::nested::votes::VoteConfig;
use super::state_machine::EngineConfig;
use super::window::consecutive_failures::{Age, Run};
use super::window::{Counts, WindowConfig};
use crate::breaker::Cause;
use crate::clock::Moment;
use crate::seed::Seed;

/// The settings in the form that a node needs.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) name: Arc<str>,
    pub(crate) window: WindowConfig,
    pub(crate) engine: EngineConfig,
    pub(crate) abandoned_after: Option<Duration>,
    /// Whether a call that a time limit cut has failed.
    pub(crate) timeouts_fail: bool,
    pub(crate) max_partitions: usize,
    pub(crate) redact_labels: bool,
    /// `None` if partitions do not nest.
    pub(crate) votes: Option<VoteConfig>,
    pub(crate) minimum_calls: u64,
    pub(crate) failure_rate: f64,
    pub(crate) slow_calls: Option<SlowCalls>,
    /// Whether a setting needs to know when a call began.
    pub(crate) times_calls: bool,
    pub(crate) consecutive_failures: Option<u32>,
    pub(crate) outage: Option<Outage>,
    pub(crate) seed: Seed,
}

/// So many consecutive failures over so long a time are an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) failures: u32,
    pub(crate) lasting: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SlowCalls {
    pub(crate) limit: Duration,
    pub(crate) rate: f64,
}

/// Callers that call once in a while notice an outage, too.
const OUTAGE_MEMORY: Duration = Duration::from_secs(60);

impl Policy {
    /// Whether a setting needs to know when a call ended.
    pub(crate) fn dates_calls(&self) -> bool {
        self.times_calls || matches!(self.window, WindowConfig::Time { .. })
    }

    pub(crate) fn is_slow(&self, elapsed: Option<Duration>) -> bool {
        matches!((self.slow_calls, elapsed), (Some(slow), Some(elapsed)) if elapsed > slow.limit)
    }

    pub(crate) fn counts_consecutive_failures(&self) -> bool {
        self.consecutive_failures.is_some() || self.outage.is_some()
    }

    /// How to tell that a run of failures is over, because the newest is too long ago.
    pub(crate) fn age(&self, now: Option<Moment>) -> Age {
        self.window.age(now, self.outage.map_or(Duration::ZERO, |_| OUTAGE_MEMORY))
    }

    /// Returns why these outcomes open a closed breaker, if they do.
    pub(crate) fn trip_cause(&self, counts: Counts, run: Run) -> Option<Cause> {
        if self.consecutive_failures.is_some_and(|limit| run.count >= limit) {
            return Some(Cause::ConsecutiveFailures);
        }
        if self.outage.is_some_and(|outage| run.count >= outage.failures && run.lasted >= outage.lasting) {
            return Some(Cause::Outage);
        }
        if counts.calls < self.minimum_calls {
            return None;
        }
        if counts.failures > 0 && counts.failure_rate() >= self.failure_rate {
            return Some(Cause::FailureRate);
        }
        let slow = self.slow_calls?;
        (counts.slow > 0 && counts.slow_rate() >= slow.rate).then_some(Cause::SlowRate)
    }
}
