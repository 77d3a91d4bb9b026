use std::error::Error;

use http::Response;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::BoxError;
use crate::classify::Verdict;
use crate::retry::error::RetryError;
use crate::retry::observe::RetryReport;
use crate::retry::policy::GiveUp;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Asks the callers of a server not to retry, because a call that the server made for them has been retried in vain or
/// must not be retried.
///
/// Retries belong to the tier next to the failure. Without the mark, every tier above repeats what that tier has
/// repeated.
///
/// ```
/// use http::{Request, Response};
/// use tower_rampart::BoxError;
/// use tower_rampart::retry::{InboundRetries, RetryLayer, RetryGuard, ReplayBody, StopRetries};
/// use tower::{Layer, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// async fn handler(inbound: Request<String>) -> Response<String> {
///     # let client = tower::service_fn(|_: Request<ReplayBody<String>>| async {
///     #     Ok::<_, BoxError>(Response::builder().status(503).body(String::new()).unwrap())
///     # });
///     let client = RetryLayer::new_for_http().guard(RetryGuard::new()).layer(client);
///     let mut outbound = Request::get("http://next/").body(String::new()).unwrap();
///     outbound.extensions_mut().insert(InboundRetries::from_headers(inbound.headers()));
///     let outcome = client.oneshot(outbound).await;
///
///     let mut answer = match &outcome {
///         Ok(response) if response.status().is_success() => Response::new(response.body().clone()),
///         _ => Response::builder().status(503).body(String::new()).unwrap(),
///     };
///     if let Some(stop) = StopRetries::after(&outcome) {
///         stop.mark_http(answer.headers_mut());
///     }
///     answer
/// }
/// let answer = handler(Request::get("/").body(String::new()).unwrap()).await;
/// assert_eq!(answer.headers()["x-should-retry"], "false");
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopRetries(());

impl StopRetries {
    /// Returns the mark if the outcome of a call through a [`RetryLayer`](crate::RetryLayer) is one that callers must
    /// not repeat:
    ///
    /// - the layer gave up with its attempts, its budget or its time used up, or with an open circuit;
    /// - a retry would not help or could do harm: [`GiveUp::NotRetryable`], [`GiveUp::NotIdempotent`],
    ///   [`GiveUp::RetryAfterTooLong`]. A response that wanted no retry, such as a 404, has no report and gives no
    ///   mark;
    /// - the answer itself asks not to retry.
    ///
    /// Not if the call ended for a reason that callers do not share, such as [`GiveUp::RetriedAbove`]: then it is
    /// theirs to retry.
    #[must_use]
    pub fn after<B>(outcome: &Result<Response<B>, BoxError>) -> Option<Self> {
        match outcome {
            Ok(response) => Self::after_response(response),
            Err(error) => Self::after_error(&**error),
        }
    }

    /// [`after`](Self::after) for a response.
    #[must_use]
    pub fn after_response<B>(response: &Response<B>) -> Option<Self> {
        let forbids = |verdict: Verdict| verdict.should_retry() == Some(false);
        let gave_up = RetryReport::of(response).and_then(RetryReport::gave_up);
        let stops = gave_up.is_some_and(stops_retries)
            || forbids(Verdict::of(response))
            || response.headers().contains_key(PUSHBACK) && forbids(Verdict::of_grpc(response));
        stops.then_some(Self(()))
    }

    /// [`after`](Self::after) for an error with a [`RetryError`] in its source chain, or for a `tonic::Status` that
    /// itself asks not to retry.
    #[must_use]
    pub fn after_error(error: &(dyn Error + 'static)) -> Option<Self> {
        #[cfg(feature = "tonic")]
        if RetryError::find(error).is_none() {
            let status = crate::classify::find::<tonic::Status>(error)?;
            let mut answer = Response::new(());
            answer.headers_mut().clone_from(status.metadata().as_ref());
            answer.headers_mut().insert("grpc-status", HeaderValue::from(status.code() as i32));
            return Self::after_response(&answer);
        }
        let error = RetryError::find(error)?;
        // A layer with a single attempt leaves the retrying to its callers.
        let is_single = error.kind() == GiveUp::Exhausted && error.attempts() < 2;
        (stops_retries(error.kind()) && !is_single).then_some(Self(()))
    }

    /// Writes the mark into the headers of an answer to a generated client, which keeps them and loses the report. A
    /// wait that the server asked for stays.
    #[cfg(feature = "tonic")]
    pub(crate) fn mark_for_tonic<B>(answer: &mut Response<B>) {
        if let Some(stop) = Self::after_response(answer).filter(|_| !answer.headers().contains_key(PUSHBACK)) {
            stop.mark_grpc(answer.headers_mut());
        }
    }

    /// Writes `x-should-retry: false`, which [`HttpClassifier`](crate::classify::HttpClassifier) honors.
    pub fn mark_http(self, headers: &mut HeaderMap) {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }

    /// Writes `grpc-retry-pushback-ms: -1`, which the clients of gRPC honor (proposal A6). The metadata is that of the
    /// trailers, or of an answer that consists of trailers alone.
    pub fn mark_grpc(self, metadata: &mut HeaderMap) {
        metadata.insert(PUSHBACK, HeaderValue::from_static("-1"));
    }
}

/// Whether what ended a call ends it for the callers of the server, too.
const fn stops_retries(kind: GiveUp) -> bool {
    match kind {
        GiveUp::Exhausted
        | GiveUp::Deadline
        | GiveUp::Budget
        | GiveUp::NotRetryable
        | GiveUp::NotIdempotent
        | GiveUp::RetryAfterTooLong
        | GiveUp::CircuitOpen => true,
        GiveUp::BodyNotReplayable | GiveUp::BodyFailed | GiveUp::NotReady | GiveUp::RetriedAbove => false,
    }
}
