use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::BoxError;
use crate::classify::{self, Classified, Health, Processed, Reason, Verdict};

/// Why there was no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// The attempts were used up.
    Exhausted,
    /// The deadline passed, or would have passed during the wait.
    Deadline,
    /// The budget had no token left.
    Budget,
    /// Another attempt would not help, or the server asked for none.
    NotRetryable,
    /// It would help, but the server may have acted on the request, which is not idempotent.
    NotIdempotent,
    /// The body was larger than what is kept of one, or was still being sent when the answer came.
    BodyNotReplayable,
    /// The body of the request failed: the caller's own doing, not the server's.
    BodyFailed,
    /// The server asks for a longer wait than is acceptable.
    RetryAfterTooLong,
    /// The inner service could not be made ready for another attempt.
    NotReady,
}

impl GiveUp {
    /// A short word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
            Self::NotRetryable => "not_retryable",
            Self::NotIdempotent => "not_idempotent",
            Self::BodyNotReplayable => "body_not_replayable",
            Self::BodyFailed => "body_failed",
            Self::RetryAfterTooLong => "retry_after_too_long",
            Self::NotReady => "not_ready",
        }
    }

    const fn explained(self) -> &'static str {
        match self {
            Self::Exhausted => "no attempts left",
            Self::Deadline => "the deadline leaves no time",
            Self::Budget => "the retry budget is empty",
            Self::NotRetryable => "another attempt would not help",
            Self::NotIdempotent => "the request may have been processed and is not idempotent",
            Self::BodyNotReplayable => "the request body cannot be sent again",
            Self::BodyFailed => "the request body failed",
            Self::RetryAfterTooLong => "the server asks for too long a wait",
            Self::NotReady => "the service did not become ready",
        }
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call that ended in an error, with what was done about it.
///
/// Its source is the error of the last attempt.
///
/// ```
/// use tower::{Service, ServiceExt};
/// use tower_rampart::classify::{Verdict, classifier_fn};
/// use tower_rampart::retry::{GiveUp, RetryError};
/// use tower_rampart::{BoxError, RetryLayer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let layer = RetryLayer::new(classifier_fn(|_: Result<&u32, _>| Verdict::transient()));
/// let mut service = tower::ServiceBuilder::new()
///     .layer(layer)
///     .service(tower::service_fn(|_: ()| async { Err::<u32, BoxError>("down".into()) }));
///
/// let error = service.ready().await.unwrap().call(()).await.unwrap_err();
/// let gave_up = RetryError::find(&*error).unwrap();
/// assert_eq!((gave_up.kind(), gave_up.attempts()), (GiveUp::Exhausted, 3));
/// # }
/// ```
#[derive(Debug)]
pub struct RetryError {
    kind: GiveUp,
    attempts: u32,
    verdict: Verdict,
    source: BoxError,
}

impl RetryError {
    /// `processed_before` says that an attempt before the last one may have been acted on. Then so may the call,
    /// whatever became of the last attempt, and whoever asks the chain of errors must hear of it.
    pub(super) fn boxed(
        kind: GiveUp,
        attempts: u32,
        verdict: Verdict,
        processed_before: bool,
        source: BoxError,
    ) -> BoxError {
        let (verdict, source) = if processed_before && verdict.is_unprocessed() {
            let verdict = verdict.with_processed(Processed::Maybe);
            (verdict, Classified::with_source(verdict, source).into())
        } else {
            (verdict, source)
        };
        Box::new(Self { kind, attempts, verdict, source })
    }

    /// The outermost one in the chain of an error's sources.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        classify::find(error)
    }

    /// Why there was no further attempt.
    #[must_use]
    pub const fn kind(&self) -> GiveUp {
        self.kind
    }

    /// How many attempts were begun, the first one included: none if the deadline had passed before.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// What the last outcome meant. It says that the server did not act on the request only if that is so for every
    /// attempt.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The error of the last attempt.
    #[must_use]
    pub fn into_source(self) -> BoxError {
        self.source
    }
}

impl fmt::Display for RetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, attempts, verdict: _, source: _ } = self;
        let plural = if *attempts == 1 { "" } else { "s" };
        write!(f, "gave up after {attempts} attempt{plural}: {}", kind.explained())
    }
}

impl Error for RetryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// An attempt that a time limit of the retry layer cut short, or kept from being made.
///
/// Found in the chain under a [`RetryError`]. Its own source tells the classifiers what it means.
#[derive(Debug)]
pub struct TimedOut {
    // None is the deadline, which is no length of time.
    limit: Option<Duration>,
    classified: Classified,
}

impl TimedOut {
    /// An attempt took too long. What the server did with it is not known.
    pub(super) fn attempt(limit: Duration) -> Self {
        Self { limit: Some(limit), classified: Classified::new(CUT) }
    }

    /// The deadline came while an attempt was under way.
    pub(super) fn deadline() -> Self {
        Self { limit: None, classified: Classified::new(CUT) }
    }

    /// The deadline came while nothing was under way, after attempts that ended in this verdict, or before the first.
    pub(super) fn before_attempt(last: Option<Verdict>) -> Self {
        Self { limit: None, classified: Classified::new(last.unwrap_or(UNSENT)) }
    }

    /// The outermost one in the chain of an error's sources.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        classify::find(error)
    }

    /// The time that one attempt may take, or `None` if it was the deadline of the whole call that passed.
    #[must_use]
    pub const fn attempt_timeout(&self) -> Option<Duration> {
        self.limit
    }

    pub(crate) const fn verdict(&self) -> Verdict {
        self.classified.verdict()
    }
}

const CUT: Verdict = Verdict::transient().with_reason(Reason::TIMEOUT);
const UNSENT: Verdict = CUT.with_processed(Processed::No).with_health(Health::Neutral);

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "the attempt took longer than {limit:?}"),
            None => f.write_str("the deadline passed"),
        }
    }
}

impl Error for TimedOut {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.classified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_attempt_may_have_done_is_not_forgotten() {
        let refused = Verdict::transient().with_processed(Processed::No);
        let error = RetryError::boxed(GiveUp::Exhausted, 2, refused, true, "refused".into());
        assert_eq!(RetryError::find(&*error).unwrap().verdict().processed(), Processed::Maybe);
        assert_eq!(Verdict::of_error(&*error).processed(), Processed::Maybe);
        assert_eq!(error.to_string(), "gave up after 2 attempts: no attempts left");

        let error = RetryError::boxed(GiveUp::Exhausted, 1, refused, false, "refused".into());
        assert_eq!(RetryError::find(&*error).unwrap().verdict(), refused);
        assert_eq!(error.to_string(), "gave up after 1 attempt: no attempts left");
    }

    #[test]
    fn a_time_limit_is_transient_and_perhaps_processed() {
        let cut = Verdict::of_error(&TimedOut::attempt(Duration::from_secs(2)));
        assert_eq!((cut.processed(), cut.health(), cut.reason()), (Processed::Maybe, Health::Failure, Reason::TIMEOUT));
        let unsent = Verdict::of_error(&TimedOut::before_attempt(None));
        assert_eq!((unsent.processed(), unsent.health()), (Processed::No, Health::Neutral));
    }
}
