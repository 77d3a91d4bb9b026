use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::RetryEvent;
use crate::classify::{Counters, OnVerdict, Reason};
use crate::retry::policy::GiveUp;

/// What a retry layer has counted since it was made. A call that succeeds at once counts nothing.
#[derive(Debug, Default)]
pub(in crate::retry) struct Tally {
    recovered: AtomicU64,
    given_up: [AtomicU64; GiveUp::ALL.len()],
    /// Verdicts on the attempts that were followed by another one.
    retried: Counters,
    wait_nanos: AtomicU64,
    resends: AtomicU64,
    hedges: AtomicU64,
}

// Relaxed, because each number is a word of its own.
impl Tally {
    /// A call succeeded after a retry or a hedge.
    pub(in crate::retry) fn count_recovery(&self) {
        self.recovered.fetch_add(1, Ordering::Relaxed);
    }

    /// A call failed.
    pub(in crate::retry) fn count_give_up(&self, kind: GiveUp) {
        self.given_up[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::retry) fn count_retry(&self, event: &RetryEvent<'_>) {
        if event.is_hedge {
            self.hedges.fetch_add(1, Ordering::Relaxed);
        } else if event.is_resend {
            self.resends.fetch_add(1, Ordering::Relaxed);
        } else {
            self.retried.on_verdict(&event.verdict);
            let nanos = u64::try_from(event.wait.as_nanos()).unwrap_or(u64::MAX);
            self.wait_nanos.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    pub(in crate::retry) fn recovered(&self) -> u64 {
        self.recovered.load(Ordering::Relaxed)
    }

    pub(in crate::retry) fn given_up(&self, kind: GiveUp) -> u64 {
        self.given_up[kind as usize].load(Ordering::Relaxed)
    }

    /// Retries by the reason of the failure before. A reason can come twice, with different classes.
    pub(in crate::retry) fn retries(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        self.retried.iter().map(|(_, reason, count)| (reason, count))
    }

    pub(in crate::retry) fn waited(&self) -> Duration {
        Duration::from_nanos(self.wait_nanos.load(Ordering::Relaxed))
    }

    pub(in crate::retry) fn resends(&self) -> u64 {
        self.resends.load(Ordering::Relaxed)
    }

    pub(in crate::retry) fn hedges(&self) -> u64 {
        self.hedges.load(Ordering::Relaxed)
    }
}
