use std::error::Error;
use std::time::Duration;

use http::header::{HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::BoxError;
use crate::breaker::CircuitOpen;
use crate::classify::{Reason, Verdict};
use crate::retry::{GiveUp, RetryError, StopRetries};

/// The answer of a server whose own call to an upstream failed.
///
/// | the call ended with | status | `Retry-After` |
/// |---|---|---|
/// | an open circuit | 503 | the time until the next probe, if it is known |
/// | an empty retry budget, or a local limit such as tower's `load_shed` | 503 | what the upstream asked for |
/// | a deadline, or an attempt that took too long | 504 | |
/// | any other error | 502 | |
/// | an answer with 429 or 503, or with gRPC's `RESOURCE_EXHAUSTED` or `UNAVAILABLE` | 503 | what the upstream asked for |
/// | an answer with 408 or 504, or with gRPC's `DEADLINE_EXCEEDED` | 504 | |
/// | any other answer that the server does not pass on | 502 | |
///
/// An answer is a response, or the error that a client makes of one: reqwest's `error_for_status`, or the `Status` of
/// tonic. The wait is rounded up to whole seconds, and is at least one. [`StopRetries`] marks the answer where callers
/// must not repeat the call. Nothing else of the error or the answer goes to the caller: no text, no header, no URL.
///
/// Every error of a client turns into one by `?`. So it is no `Error` itself:
///
/// ```
/// use http::{Request, Response};
/// use tower::{Service, ServiceExt};
/// use tower_rampart::BoxError;
/// use tower_rampart::clients::UpstreamFailure;
///
/// async fn rows<Client>(client: Client) -> Result<String, UpstreamFailure>
/// where
///     Client: Service<Request<String>, Response = Response<String>, Error = BoxError>,
/// {
///     let answer = client.oneshot(Request::new(String::new())).await?;
///     if answer.status() != 200 {
///         return Err(UpstreamFailure::of_response(&answer));
///     }
///     Ok(answer.into_body())
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let client = tower::service_fn(|_| async { Err(std::io::Error::other("token 7 is invalid").into()) });
/// let answer: Response<String> = rows(client).await.unwrap_err().to_response();
/// assert_eq!((answer.status().as_u16(), answer.body().as_str()), (502, ""));
/// # }
/// ```
///
/// With the feature `axum`, it is an `IntoResponse`, so a handler returns it as its error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamFailure {
    status: StatusCode,
    retry_after: Option<Duration>,
    stop: Option<StopRetries>,
}

impl UpstreamFailure {
    /// Returns the answer for an error of a client, with the layers of this crate around it or not.
    #[must_use]
    pub fn of_error(error: &(dyn Error + 'static)) -> Self {
        let verdict = Verdict::of_error(error);
        let gave_up = RetryError::find(error).map(RetryError::kind);
        let (status, retry_after) = match CircuitOpen::find(error) {
            Some(open) => (StatusCode::SERVICE_UNAVAILABLE, open.retry_after()),
            None if gave_up == Some(GiveUp::Budget) || verdict.reason() == Reason::OVERLOADED => {
                (StatusCode::SERVICE_UNAVAILABLE, verdict.retry_after())
            }
            None if gave_up == Some(GiveUp::Deadline) || verdict.reason() == Reason::TIMEOUT => {
                (StatusCode::GATEWAY_TIMEOUT, None)
            }
            None => match (verdict.reason(), verdict.code()) {
                // RESOURCE_EXHAUSTED, UNAVAILABLE
                (Reason::STATUS, Some(429 | 503)) | (Reason::GRPC, Some(8 | 14)) => {
                    (StatusCode::SERVICE_UNAVAILABLE, verdict.retry_after())
                }
                // DEADLINE_EXCEEDED
                (Reason::STATUS, Some(408 | 504)) | (Reason::GRPC, Some(4)) => (StatusCode::GATEWAY_TIMEOUT, None),
                _ => (StatusCode::BAD_GATEWAY, None),
            },
        };
        Self { status, retry_after, stop: StopRetries::after_error(error) }
    }

    /// Returns the answer in place of an upstream's answer that the server does not pass on.
    #[must_use]
    pub fn of_response<B>(response: &Response<B>) -> Self {
        let (status, retry_after) = match response.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                (StatusCode::SERVICE_UNAVAILABLE, Verdict::of(response).retry_after())
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => (StatusCode::GATEWAY_TIMEOUT, None),
            _ => (StatusCode::BAD_GATEWAY, None),
        };
        Self { status, retry_after, stop: StopRetries::after_response(response) }
    }

    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the response: status, headers and an empty body.
    #[must_use]
    pub fn to_response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = self.status;
        if let Some(wait) = self.retry_after {
            // A caller that returned early would find the circuit open again; 0 would have it return without a pause.
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(stop) = self.stop {
            stop.mark_http(response.headers_mut());
        }
        response
    }
}

impl<E: Into<BoxError>> From<E> for UpstreamFailure {
    fn from(error: E) -> Self {
        Self::of_error(&*error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::State;

    fn answer(failure: &UpstreamFailure) -> (u16, Option<String>, bool) {
        let response = failure.to_response::<()>();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let stops = header("x-should-retry");
        assert!(stops.as_deref().is_none_or(|stops| stops == "false"));
        assert_eq!(response.status(), failure.status());
        (response.status().as_u16(), header("retry-after"), stops.is_some())
    }

    fn of_error(error: impl Into<BoxError>) -> (u16, Option<String>, bool) {
        answer(&error.into().into())
    }

    fn lost() -> BoxError {
        std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()
    }

    #[test]
    fn an_open_circuit_is_503_with_the_wait_rounded_up() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (999, "1"), (1_000, "1"), (1_001, "2"), (29_500, "30")] {
            let open = || CircuitOpen::new("billing", State::Open).with_retry_after(Duration::from_millis(millis));
            assert_eq!(of_error(open()), (503, Some(seconds.into()), false));
            let gave_up = RetryError::new(GiveUp::CircuitOpen, 1, open());
            assert_eq!(of_error(gave_up), (503, Some(seconds.into()), true));
        }
        // Forced open: there is no next probe.
        assert_eq!(of_error(CircuitOpen::new("billing", State::Open)), (503, None, false));
    }

    #[test]
    fn limits_are_503_and_times_that_ran_out_504() {
        let busy = || tower::load_shed::error::Overloaded::new();
        let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        for (error, expected) in [
            (RetryError::new(GiveUp::Budget, 1, lost()), (503, None, true)),
            (RetryError::new(GiveUp::Budget, 1, late()), (503, None, true)),
            (RetryError::new(GiveUp::Exhausted, 3, busy()), (503, None, true)),
            (RetryError::new(GiveUp::Deadline, 2, lost()), (504, None, true)),
            (RetryError::new(GiveUp::Exhausted, 3, late()), (504, None, true)),
            (RetryError::new(GiveUp::NotIdempotent, 1, late()), (504, None, true)),
        ] {
            assert_eq!(of_error(error), expected);
        }
        assert_eq!(of_error(busy()), (503, None, false));
        assert_eq!(of_error(tower::timeout::error::Elapsed::new()), (504, None, false));
    }

    #[test]
    fn everything_else_is_502_and_only_what_is_in_vain_stops_the_callers() {
        for (error, expected) in [
            (lost(), (502, None, false)),
            ("unheard of".into(), (502, None, false)),
            (RetryError::new(GiveUp::Exhausted, 3, lost()).into(), (502, None, true)),
            (RetryError::new(GiveUp::RetriedAbove, 1, lost()).into(), (502, None, false)),
        ] {
            assert_eq!(of_error(error), expected);
        }
    }

    #[test]
    fn an_answer_that_is_not_passed_on_keeps_its_wait_and_its_mark() {
        for (status, hint, mark, expected) in [
            (503, Some("7"), None, (503, Some("7".into()), false)),
            (429, Some("0.5"), None, (503, None, false)),
            (429, Some("0"), None, (503, Some("1".into()), false)),
            (503, None, Some("false"), (503, None, true)),
            (504, Some("7"), None, (504, None, false)),
            (408, None, None, (504, None, false)),
            (500, Some("7"), None, (502, None, false)),
            (404, None, None, (502, None, false)),
        ] {
            let mut response = Response::builder().status(status).body(()).unwrap();
            let mut insert = |name, value: Option<&'static str>| {
                value.map(|value| response.headers_mut().insert(name, HeaderValue::from_static(value)));
            };
            insert("retry-after", hint);
            insert("x-should-retry", mark);
            insert("x-secret", Some("hunter2"));
            let failure = UpstreamFailure::of_response(&response);
            assert_eq!(answer(&failure), expected, "{status}");
            assert!(!failure.to_response::<()>().headers().contains_key("x-secret"));
        }
    }

    #[test]
    fn nothing_of_the_error_goes_to_the_caller() {
        let secret = RetryError::new(GiveUp::Exhausted, 3, "GET https://user:hunter2@host/?token=7");
        let failure = UpstreamFailure::from(secret);
        let response = failure.to_response::<String>();
        assert_eq!((response.headers().len(), response.body().as_str()), (1, ""));
        assert!(!format!("{failure:?} {response:?}").contains("hunter2"));
    }

    #[test]
    #[cfg(feature = "reqwest")]
    fn an_error_for_status_counts_as_the_answer() {
        for (status, expected) in [(404, 502), (408, 504), (429, 503), (500, 502), (503, 503), (504, 504)] {
            let response: reqwest::Response = Response::builder().status(status).body("").unwrap().into();
            assert_eq!(of_error(response.error_for_status().unwrap_err()), (expected, None, false), "{status}");
        }
    }

    #[test]
    #[cfg(feature = "tonic")]
    fn the_status_of_a_generated_client_counts_as_its_source() {
        let open = CircuitOpen::new("billing", State::Open).with_retry_after(Duration::from_millis(1_500));
        assert_eq!(of_error(tonic::Status::from_error(Box::new(open))), (503, Some("2".into()), false));
        for (code, status) in [(4, 504), (5, 502), (8, 503), (13, 502), (14, 503)] {
            assert_eq!(of_error(tonic::Status::new(code.into(), "tenant")), (status, None, false), "{code}");
        }
    }
}
