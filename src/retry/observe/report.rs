use std::time::Duration;

use http::Response;

use crate::classify::{Processed, Reason, Verdict};
use crate::retry::policy::GiveUp;

/// The attempts of a call, in the extensions of its response if another attempt was made or wanted.
///
/// If the call failed, the report is in its [`RetryError`](crate::retry::RetryError).
///
/// ```
/// use tower_rampart::retry::RetryReport;
///
/// let response = http::Response::new(());
/// let attempts = RetryReport::of(&response).map_or(1, RetryReport::attempts);
/// assert_eq!(attempts, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryReport {
    pub(in crate::retry) attempts: u32,
    pub(in crate::retry) gave_up: Option<GiveUp>,
    pub(in crate::retry) processed: Processed,
    pub(in crate::retry) history: History,
}

/// One send of a request and its outcome.
///
/// ```
/// use tower_rampart::retry::{self, RetryPolicy};
///
/// let policy = RetryPolicy::new().max_attempts(2).backoff(std::time::Duration::from_micros(5));
/// let error = retry::call_blocking(&policy, || Err::<(), _>("busy")).unwrap_err();
/// let waits: Vec<_> = error.report().history().iter().map(|send| send.wait()).collect();
/// assert_eq!(waits, [Some(std::time::Duration::from_micros(5)), None]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptReport {
    pub(in crate::retry) attempt: u32,
    pub(in crate::retry) is_hedge: bool,
    pub(in crate::retry) verdict: Verdict,
    pub(in crate::retry) wait: Option<Duration>,
}

/// The latest [`KEPT`](Self::KEPT) sends of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::retry) struct History {
    sends: Vec<AttemptReport>,
    /// Whether a server has said when or whether to retry, also in a send that is no longer kept.
    was_told: bool,
}

impl RetryReport {
    /// Returns the report of a response, if another attempt was made or wanted.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<&Self> {
        response.extensions().get()
    }

    /// Returns the number of attempts, the first one included. A transparent retry belongs to the attempt that it
    /// repeats.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns why there was no further attempt, or `None` if the last one was a success.
    #[must_use]
    pub const fn gave_up(&self) -> Option<GiveUp> {
        self.gave_up
    }

    /// Returns whether the server acted on the request in any attempt. It is `Maybe` if an earlier attempt may have
    /// been processed and the last one was not. So it is if the server rejected the last one and the request has an
    /// `Idempotency-Key`: the rejection may be about the copy alone. [`Verdict::of`] the response returns the same.
    #[must_use]
    pub const fn processed(&self) -> Processed {
        self.processed
    }

    /// Whether the server rejected the last attempt, and may act on an earlier one all the same.
    pub(in crate::retry) fn is_in_doubt(&self) -> bool {
        let last = self.history.last_verdict().map(|last| last.processed());
        (last, self.processed) == (Some(Processed::Yes), Processed::Maybe)
    }

    /// Returns every send of the request in the order in which they ended, the last one included; the latest 64 if
    /// there are more.
    ///
    /// ```
    /// use tower_rampart::retry::RetryReport;
    ///
    /// fn log(report: &RetryReport) {
    ///     for send in report.history() {
    ///         println!("attempt {}: {}, then waited {:?}", send.attempt(), send.verdict(), send.wait());
    ///     }
    /// }
    /// # let _ = log;
    /// ```
    #[must_use]
    pub fn history(&self) -> &[AttemptReport] {
        &self.history.sends
    }
}

impl AttemptReport {
    /// Returns the number of the attempt, counted from 1. A transparent retry has the number of the attempt that it
    /// repeats.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns true if it was a [hedge](crate::RetryLayer::hedge): it was sent while another attempt was in flight.
    #[must_use]
    pub const fn is_hedge(&self) -> bool {
        self.is_hedge
    }

    /// Returns the verdict on the outcome. The reason of an attempt that was dropped because the other one ended the
    /// call is [`Reason::ABANDONED`].
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns why it failed, or `None` for a success.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        (!self.verdict.is_success()).then(|| self.verdict.reason())
    }

    /// Returns the reason that proves that the server did not act on the request, or `None` without proof.
    #[must_use]
    pub fn proof(&self) -> Option<Reason> {
        self.verdict.is_unprocessed().then(|| self.verdict.reason())
    }

    /// Returns the wait before the next send: zero before a transparent retry; `None` if the call ended here, or if
    /// another attempt was in flight.
    #[must_use]
    pub const fn wait(&self) -> Option<Duration> {
        self.wait
    }
}

impl History {
    /// Bounds the memory of a call that is retried without end.
    pub(in crate::retry) const KEPT: usize = 64;

    pub(in crate::retry) fn last_verdict(&self) -> Option<Verdict> {
        self.sends.last().map(|last| last.verdict)
    }

    pub(in crate::retry) fn last_reason(&self) -> Option<Reason> {
        self.last_verdict().map(|verdict| verdict.reason())
    }

    pub(in crate::retry) fn last_wait(&self) -> Option<Duration> {
        self.sends.last().and_then(|last| last.wait)
    }

    pub(in crate::retry) fn any(&self, holds: impl Fn(&Verdict) -> bool) -> bool {
        self.sends.iter().any(|send| holds(&send.verdict))
    }

    pub(in crate::retry) fn was_told_when_to_retry(&self) -> bool {
        self.was_told
    }

    pub(in crate::retry) fn push(&mut self, send: AttemptReport) {
        self.was_told |= send.verdict.retry_after().is_some() || send.verdict.should_retry().is_some();
        if self.sends.len() == Self::KEPT {
            self.sends.remove(0);
        }
        self.sends.push(send);
    }
}

/// Attaches a report to a response.
pub trait Report<Res> {
    /// Attaches the report, if the type of the response has a place for one.
    fn leave(&self, report: RetryReport, response: &mut Res);
}
