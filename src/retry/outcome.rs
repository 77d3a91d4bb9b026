use std::error::Error;
use std::fmt;

use http::Response;

use super::error::RetryError;
use super::observe::RetryReport;
use super::policy::GiveUp;
use crate::classify::{Class, Reason, Verdict};

/// How a whole call ended, in one word: for metrics and match arms.
///
/// ```
/// use tower_rampart::BoxError;
/// use tower_rampart::retry::{GiveUp, Outcome, RetryError};
///
/// fn count(result: &Result<http::Response<String>, BoxError>) -> Outcome {
///     let outcome = Outcome::of(result);
///     println!("calls_total{{outcome=\"{outcome}\"}} 1");
///     if outcome == Outcome::Ambiguous {
///         println!("to be reconciled by hand");
///     }
///     outcome
/// }
///
/// assert_eq!(count(&Ok(http::Response::new("rows".into()))), Outcome::Success);
/// let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
/// assert_eq!(count(&Err(RetryError::new(GiveUp::Budget, 1, reset).into())), Outcome::Budget);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The call succeeded, after however many attempts.
    Success,
    /// The attempts were used up.
    Exhausted,
    /// Another attempt would fail too.
    Terminal,
    /// What the server did or sent is unknown: the caller has to reconcile. Also if an attempt with an `Idempotency-Key`
    /// was lost and the next one rejected, for example with 409 because the server still acts on the first.
    Ambiguous,
    /// A circuit breaker rejected the call.
    CircuitOpen,
    /// The deadline left no time.
    Deadline,
    /// The retry budget was empty.
    Budget,
    /// Another attempt could help, but the server may have acted on the request, which is not idempotent.
    NotIdempotent,
    /// Another attempt could help, but the request body cannot be sent again.
    BodyNotReplayable,
    /// The server asked for a wait longer than the layer honors.
    RetryAfterTooLong,
    /// The service failed to become ready for another attempt.
    NotReady,
    /// Another attempt could help, but tiers above make it: see [`RetryLayer::guard`](crate::RetryLayer::guard).
    RetriedAbove,
    /// The call failed, another one may succeed, and no retry was tried: no layer wanted one, or the server forbade it.
    Transient,
}

impl Outcome {
    /// Returns the outcome of a call through a layer for HTTP.
    ///
    /// The [`RetryReport`] in a response decides, else [`Verdict::of`]. For gRPC see [`of_grpc`](Self::of_grpc).
    #[must_use]
    pub fn of<B, E>(result: &Result<Response<B>, E>) -> Self
    where
        E: AsRef<dyn Error + Send + Sync>,
    {
        Self::of_response(result, Verdict::of)
    }

    /// Returns the outcome of a call through a layer for gRPC, by the head of the response: [`Verdict::of_grpc`].
    #[must_use]
    pub fn of_grpc<B, E>(result: &Result<Response<B>, E>) -> Self
    where
        E: AsRef<dyn Error + Send + Sync>,
    {
        Self::of_response(result, Verdict::of_grpc)
    }

    /// Returns the outcome of a call whose response is not HTTP, for example of [`call`](super::call): every `Ok` is a
    /// success. So is one that the classifier of the policy rejected to the end, because a value of any type has no
    /// place for a verdict. For an outcome that shows it, return an error from the operation instead, or count
    /// [`on_give_up`](super::RetryPolicy::on_give_up).
    ///
    /// ```
    /// use tower_rampart::retry::{self, Outcome, RetryPolicy};
    ///
    /// let policy = RetryPolicy::new().retry_if(|error: &std::io::Error| error.kind() != std::io::ErrorKind::NotFound);
    /// let result = retry::call_blocking(&policy, || std::fs::read("/no/such/file"));
    /// assert_eq!(Outcome::of_call(&result), Outcome::Terminal);
    /// ```
    #[must_use]
    pub fn of_call<T, E>(result: &Result<T, E>) -> Self
    where
        E: AsRef<dyn Error + Send + Sync>,
    {
        match result {
            Ok(_) => Self::Success,
            Err(error) => Self::of_error(error.as_ref()),
        }
    }

    /// Returns the outcome of a call that ended in an error: of the [`RetryError`] in its chain, else by
    /// [`Verdict::of_error`].
    #[must_use]
    pub fn of_error(error: &(dyn Error + 'static)) -> Self {
        match RetryError::find(error) {
            Some(gave_up) => Self::new(Some(gave_up.report()), gave_up.verdict()),
            None => Self::new(None, Verdict::of_error(error)),
        }
    }

    /// Returns a short word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Exhausted => GiveUp::Exhausted.as_str(),
            Self::Terminal => "terminal",
            Self::Ambiguous => "ambiguous",
            Self::CircuitOpen => GiveUp::CircuitOpen.as_str(),
            Self::Deadline => GiveUp::Deadline.as_str(),
            Self::Budget => GiveUp::Budget.as_str(),
            Self::NotIdempotent => GiveUp::NotIdempotent.as_str(),
            Self::BodyNotReplayable => GiveUp::BodyNotReplayable.as_str(),
            Self::RetryAfterTooLong => GiveUp::RetryAfterTooLong.as_str(),
            Self::NotReady => GiveUp::NotReady.as_str(),
            Self::RetriedAbove => GiveUp::RetriedAbove.as_str(),
            Self::Transient => "transient",
        }
    }

    fn of_response<B, E>(result: &Result<Response<B>, E>, verdict: impl FnOnce(&Response<B>) -> Verdict) -> Self
    where
        E: AsRef<dyn Error + Send + Sync>,
    {
        let response = match result {
            Ok(response) => response,
            Err(error) => return Self::of_error(error.as_ref()),
        };
        let report = RetryReport::of(response);
        // The layer's own classifier made the verdict in the report.
        let judged = report.and_then(|report| report.history().last()).map(|last| last.verdict());
        Self::new(report, judged.unwrap_or_else(|| verdict(response)))
    }

    fn new(report: Option<&RetryReport>, verdict: Verdict) -> Self {
        match report.and_then(RetryReport::gave_up) {
            Some(GiveUp::Exhausted) => Self::Exhausted,
            Some(GiveUp::Deadline) => Self::Deadline,
            Some(GiveUp::Budget) => Self::Budget,
            Some(GiveUp::NotIdempotent) => Self::NotIdempotent,
            Some(GiveUp::BodyNotReplayable) => Self::BodyNotReplayable,
            Some(GiveUp::RetryAfterTooLong) => Self::RetryAfterTooLong,
            Some(GiveUp::NotReady) => Self::NotReady,
            Some(GiveUp::RetriedAbove) => Self::RetriedAbove,
            Some(GiveUp::CircuitOpen) => Self::CircuitOpen,
            Some(GiveUp::NotRetryable | GiveUp::BodyFailed) | None => match verdict.class() {
                _ if verdict.reason() == Reason::CIRCUIT_OPEN => Self::CircuitOpen,
                Class::Success => Self::Success,
                Class::Terminal if report.is_some_and(RetryReport::is_in_doubt) => Self::Ambiguous,
                Class::Terminal => Self::Terminal,
                Class::Ambiguous => Self::Ambiguous,
                Class::Transient => Self::Transient,
            },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
