use std::time::Duration;

use http::Response;

use super::policy::GiveUp;
use crate::classify::{Processed, Reason, Verdict};

/// What was done for a call, left in the extensions of its response if another attempt was made or wanted.
///
/// A call that fails with an error carries the same in its [`RetryError`](super::RetryError).
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
    pub(super) attempts: u32,
    pub(super) gave_up: Option<GiveUp>,
    pub(super) processed: Processed,
    pub(super) history: History,
}

/// One sending of a request, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptReport {
    pub(super) attempt: u32,
    pub(super) verdict: Verdict,
    pub(super) wait: Option<Duration>,
}

/// The sendings of a call, the latest [`KEPT`](Self::KEPT) of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    sendings: Vec<AttemptReport>,
}

impl RetryReport {
    /// The report in a response, if another attempt was made or wanted for it.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<&Self> {
        response.extensions().get()
    }

    /// How many attempts were made, the first one included. A request that an established connection gave back and that
    /// was sent again at once is still the same attempt.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Why there was no further attempt, or `None` if the last one was a success.
    #[must_use]
    pub const fn gave_up(&self) -> Option<GiveUp> {
        self.gave_up
    }

    /// Whether the server acted on the request, over all attempts: the last one may have been refused, and an earlier one
    /// acted on. Then [`Verdict::of`] the response says so too.
    #[must_use]
    pub const fn processed(&self) -> Processed {
        self.processed
    }

    /// Every sending of the request in order, the last one included; of more than 64 the latest 64.
    ///
    /// ```
    /// use tower_rampart::retry::RetryReport;
    ///
    /// fn log(report: &RetryReport) {
    ///     for sending in report.history() {
    ///         println!("attempt {}: {}, then waited {:?}", sending.attempt(), sending.verdict(), sending.wait());
    ///     }
    /// }
    /// # let _ = log;
    /// ```
    #[must_use]
    pub fn history(&self) -> &[AttemptReport] {
        &self.history.sendings
    }
}

impl AttemptReport {
    /// Which attempt this was, counted from 1. Two in a row have the same number if an established connection gave the
    /// request back and it was sent again at once.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What the outcome meant.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Why it failed, or `None` for a success.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        (!self.verdict.is_success()).then(|| self.verdict.reason())
    }

    /// What proves that the server did not act on the request: the reason of a verdict that says so. `None` without proof.
    #[must_use]
    pub fn proof(&self) -> Option<Reason> {
        self.verdict.is_unprocessed().then(|| self.verdict.reason())
    }

    /// How long the layer then waited before it sent the request again: zero for one that was sent again at once, `None`
    /// if the call ended with this sending.
    #[must_use]
    pub const fn wait(&self) -> Option<Duration> {
        self.wait
    }
}

impl History {
    /// Enough for every call that has a reason to be looked at; a bound for those that are retried without end.
    pub(super) const KEPT: usize = 64;

    pub(super) fn push(&mut self, sending: AttemptReport) {
        if self.sendings.len() == Self::KEPT {
            self.sendings.remove(0);
        }
        self.sendings.push(sending);
    }
}

/// Leaves a report with a response, where such a response has a place for it.
pub trait Report<Res> {
    /// Leaves the report.
    fn leave(&self, report: RetryReport, response: &mut Res);
}
