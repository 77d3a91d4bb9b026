use std::time::Duration;

use tracing::field::Empty;
use tracing::{Level, Span};

use super::telemetry::TARGET;
use super::{OnRetry, Origin, RetryEvent};
use crate::call::attempt_span::{self, Entered};
use crate::classify::{Reason, Verdict};
use crate::isolated::isolated;

/// Opens a span for each attempt: see [`RetryLayer::attempt_spans`](crate::RetryLayer::attempt_spans).
#[derive(Clone, Copy, Debug)]
pub struct AttemptSpans(pub(in crate::retry) ());

impl OnRetry for AttemptSpans {
    const OPENS_SPANS: bool = true;

    fn on_retry(&self, _: &RetryEvent<'_>) {}
}

/// The span of one send. If it is dropped, so was the attempt.
#[derive(Debug)]
pub(in crate::retry) struct AttemptSpan(Span);

/// The spans of the attempts in flight. They lie among the failures of a call, so that one without spans is no larger and
/// looks for none.
#[derive(Debug, Default)]
pub(in crate::retry) struct Spans {
    /// That of the attempt that began first, and that of its hedge.
    pub(in crate::retry) open: [Option<AttemptSpan>; 2],
    /// Whether the call has no failure, and so ends as one without a span.
    pub(in crate::retry) alone: bool,
}

/// What is known of a send before it.
pub(in crate::retry) struct AttemptStart<'a> {
    pub(in crate::retry) name: &'a str,
    pub(in crate::retry) attempt: u32,
    pub(in crate::retry) is_hedge: bool,
    /// The reason of the failure before.
    pub(in crate::retry) reason: Option<Reason>,
    /// The wait after that.
    pub(in crate::retry) wait: Option<Duration>,
    /// How often the request has been sent.
    pub(in crate::retry) sends: u32,
}

impl AttemptSpan {
    /// `None` if no subscriber wants it.
    pub(in crate::retry) fn open(start: &AttemptStart<'_>, origin: impl FnOnce() -> Origin) -> Option<Self> {
        if !tracing::span_enabled!(target: TARGET, Level::INFO) {
            return None;
        }
        let AttemptStart { name, attempt, is_hedge, reason, wait, sends } = start;
        let origin = origin();
        let span = tracing::info_span!(
            target: TARGET,
            "rampart.retry.attempt",
            name,
            attempt,
            hedge = is_hedge.then_some(true),
            reason = reason.as_ref().map(Reason::as_str),
            wait_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            method = origin.method().map(http::Method::as_str),
            host = origin.host(),
            partition = origin.partition(),
            "http.request.resend_count" = origin.method().map(|_| *sends).filter(|sends| *sends > 0),
            outcome = Empty,
            "error.type" = Empty,
            code = Empty,
            "otel.status_code" = Empty,
            "breaker.name" = Empty,
            "breaker.partition" = Empty,
        );
        (!span.is_disabled()).then(|| Self(span))
    }

    /// Records the verdict on the outcome, and closes the span.
    pub(in crate::retry) fn end(mut self, verdict: &Verdict) {
        let span = std::mem::replace(&mut self.0, Span::none());
        isolated(move || {
            if verdict.is_success() {
                span.record("outcome", "success");
                return;
            }
            span.record("outcome", if verdict.reason() == Reason::CIRCUIT_OPEN { "rejected" } else { "failure" });
            span.record("error.type", verdict.reason().as_str());
            span.record("code", verdict.code());
            span.record("otel.status_code", "ERROR");
        });
    }

    pub(in crate::retry) fn enter(&self) -> Entered<'_> {
        attempt_span::enter(&self.0)
    }

    /// The span of a hedge refers to that of the attempt beside which it is sent.
    pub(in crate::retry) fn follows_from(&self, other: &Self) {
        self.0.follows_from(other.0.id());
    }
}

impl Drop for AttemptSpan {
    fn drop(&mut self) {
        // Nothing is recorded in one that has ended. A panic here, while the call panics, would end the process.
        let span = std::mem::replace(&mut self.0, Span::none());
        isolated(move || {
            span.record("outcome", "dropped");
        });
    }
}
