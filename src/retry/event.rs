use std::time::Duration;

use super::GiveUp;
use crate::classify::Verdict;

const TARGET: &str = "tower_rampart::retry";

/// A retry that is about to be waited for. See [`RetryLayer::on_retry`](crate::RetryLayer::on_retry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryEvent {
    pub(super) attempt: u32,
    pub(super) wait: Duration,
    pub(super) verdict: Verdict,
}

impl RetryEvent {
    /// Which attempt has failed, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How long it will be until the next one.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// What its outcome meant.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }
}

/// Hears of every retry. A closure is one, and `()` turns a deaf ear.
pub trait OnRetry {
    /// Called before the wait and on the caller's time: do no more here than count.
    fn on_retry(&self, event: &RetryEvent);
}

impl OnRetry for () {
    fn on_retry(&self, _: &RetryEvent) {}
}

impl<F> OnRetry for F
where
    F: Fn(&RetryEvent),
{
    fn on_retry(&self, event: &RetryEvent) {
        self(event);
    }
}

pub(super) fn trace_retry(event: &RetryEvent) {
    let RetryEvent { attempt, wait, verdict } = event;
    tracing::debug!(
        target: TARGET,
        attempt,
        wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        reason = verdict.reason().as_str(),
        code = verdict.code(),
        "retrying",
    );
}

/// Tells of a retry that was wanted and not made; an answer that nobody would retry is no news.
pub(super) fn trace_give_up(kind: GiveUp, attempts: u32, verdict: &Verdict) {
    match kind {
        GiveUp::NotRetryable | GiveUp::BodyFailed => {}
        GiveUp::Exhausted
        | GiveUp::Deadline
        | GiveUp::Budget
        | GiveUp::NotIdempotent
        | GiveUp::BodyNotReplayable
        | GiveUp::RetryAfterTooLong
        | GiveUp::NotReady => tracing::warn!(
            target: TARGET,
            kind = kind.as_str(),
            attempts,
            reason = verdict.reason().as_str(),
            code = verdict.code(),
            "gave up",
        ),
    }
}
