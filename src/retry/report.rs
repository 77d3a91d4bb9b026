use http::Response;

use super::GiveUp;
use crate::classify::Processed;

/// What was done to get a response, left in its extensions if there was more than one attempt.
///
/// ```
/// use tower_rampart::retry::RetryReport;
///
/// let response = http::Response::new(());
/// let attempts = RetryReport::of(&response).map_or(1, RetryReport::attempts);
/// assert_eq!(attempts, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryReport {
    pub(super) attempts: u32,
    pub(super) gave_up: Option<GiveUp>,
    pub(super) processed: Processed,
}

impl RetryReport {
    /// The report that lies in a response, if it was retried for.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<&Self> {
        response.extensions().get()
    }

    /// How many attempts were made, the first one included.
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
    /// acted on. Then [`Verdict::of`](crate::classify::Verdict::of) the response says so too.
    #[must_use]
    pub const fn processed(&self) -> Processed {
        self.processed
    }
}

/// Leaves a report with a response, where such a response has a place for it.
pub trait Report<Res> {
    /// Leaves the report.
    fn leave(&self, report: RetryReport, response: &mut Res);
}
