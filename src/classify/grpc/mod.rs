//! Classification of gRPC responses.
//!
//! 1. The code decides. It is in the headers of a trailers-only response, else in the trailers.
//! 2. A head without a code starts a stream. It is a success so far, and it is never held back.
//! 3. A response that is not gRPC has the code that its HTTP status maps to.
//! 4. A missing or undefined code is `UNKNOWN`.
//! 5. The server's wait is read from `grpc-retry-pushback-ms`, then from the HTTP hints, then from `RetryInfo`.
//!
//! `code` is the table of codes, `retry_info` decodes the details of a status, `eos` judges the end of a stream.

pub(super) mod code;
mod eos;
mod retry_info;

use std::error::Error;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Response, StatusCode};

use self::code::{CODES, STATUS, UNKNOWN, code_in, code_of_http};
pub use self::eos::GrpcEos;
use crate::classify::error::verdict_of_error;
use crate::classify::http::hint;
use crate::classify::{Classifier, DistrustRefusals, Reason, ResponseHead, Verdict};
use crate::settings::invalid_setting::{InvalidSetting, valid};

/// The default classifier for gRPC.
///
/// The code decides. It is in the headers of a response without a body (trailers-only), or in the trailers, which are
/// only read if the layer [judges bodies](crate::ClassifyLayer::judge_body). A head without a code starts a stream: it
/// is a success so far and is never held back. A response that is not gRPC has the code that its HTTP status maps to.
///
/// | code | class | processed | health |
/// |---|---|---|---|
/// | `OK` | success | yes | success |
/// | `UNAVAILABLE`, `DEADLINE_EXCEEDED` | transient | maybe | failure |
/// | `RESOURCE_EXHAUSTED` | transient, retried only if the server says when | maybe | throttled |
/// | `ABORTED` | ambiguous | maybe | success |
/// | `UNKNOWN`, `INTERNAL`, `DATA_LOSS` | ambiguous | maybe | failure |
/// | `CANCELLED` | terminal | maybe | neutral |
/// | all others | terminal | yes | success |
///
/// A missing code and a code that gRPC does not define count as `UNKNOWN`.
///
/// `grpc-retry-pushback-ms` (gRPC proposal A6) becomes [`retry_after`](Verdict::retry_after). If it is negative,
/// invalid or repeated, [`should_retry`](Verdict::should_retry) is false. Without it, the classifier reads the hints of
/// [`HttpClassifier`](super::HttpClassifier) (only the waits if the code is overridden), then the
/// `google.rpc.RetryInfo` in the details of the status.
///
/// ```
/// use tower_rampart::classify::{Class, Classifier, GrpcClassifier};
///
/// // The service promises that an aborted call changed nothing.
/// let classifier = GrpcClassifier::new().code(10, Class::Transient);
/// let aborted = http::Response::builder().header("grpc-status", "10").body(()).unwrap();
/// assert_eq!(classifier.classify(Ok(&aborted)).class(), Class::Transient);
/// ```
#[derive(Clone, Debug, Default)]
pub struct GrpcClassifier {
    // Shared, because a classifier is cloned with every call.
    overrides: Option<Arc<[Option<Verdict>; CODES]>>,
    distrusts_refusals: bool,
}

impl GrpcClassifier {
    /// Creates a classifier with the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the verdict on this code. A class alone stands for its usual verdict: see [`Verdict::new`].
    ///
    /// # Panics
    ///
    /// If the code is above 16.
    #[must_use]
    #[track_caller]
    pub fn code(self, code: u16, verdict: impl Into<Verdict>) -> Self {
        valid(self.try_code(code, verdict))
    }

    /// Like [`code`](Self::code), but returns an error instead of panicking.
    pub fn try_code(mut self, code: u16, verdict: impl Into<Verdict>) -> Result<Self, InvalidSetting> {
        let mut overrides = self.overrides.as_deref().copied().unwrap_or_default();
        let Some(place) = overrides.get_mut(usize::from(code)) else {
            let message = format!("GrpcClassifier: there is no code {code}; codes go from 0 to 16");
            return Err(InvalidSetting::new(message));
        };
        *place = Some(verdict.into());
        self.overrides = Some(Arc::new(overrides));
        Ok(self)
    }

    /// Treats a request whose stream was refused (`REFUSED_STREAM`) as one that may have been processed.
    ///
    /// For proxies such as HAProxy that refuse streams after their backend has processed the request: see
    /// [`DistrustRefusals`](super::DistrustRefusals). Applies to every error, even if an inner
    /// [`ClassifyLayer`](crate::ClassifyLayer) has already judged it.
    #[must_use]
    pub fn distrust_refusals(mut self) -> Self {
        self.distrusts_refusals = true;
        self
    }

    fn overridden(&self, code: u16) -> Option<Verdict> {
        *self.overrides.as_deref()?.get(usize::from(code))?
    }

    /// Returns the verdict on the head of a response.
    pub(in crate::classify) fn classify_head(&self, head: &ResponseHead<'_>) -> Verdict {
        let code = match code_in(head.headers()) {
            Some(code) => code,
            None if is_stream(head) => return head.annotation().unwrap_or(Verdict::success()),
            None => code_of_http(head.status()),
        };
        match self.overridden(code) {
            Some(verdict) => with_details(verdict, code, head.headers(), hint::apply_wait_hint),
            None => head.annotation().unwrap_or_else(|| default_verdict(code, head.headers())),
        }
    }

    /// Returns true if the head has the code, so that there are no trailers to wait for.
    pub(in crate::classify) fn is_complete(head: &ResponseHead<'_>) -> bool {
        head.headers().contains_key(STATUS)
    }

    /// Returns the verdict on a response that ended with these trailers.
    pub(in crate::classify) fn classify_trailers(&self, trailers: Option<&HeaderMap>) -> Verdict {
        let none = HeaderMap::new();
        let trailers = trailers.unwrap_or(&none);
        let code = code_in(trailers).unwrap_or(UNKNOWN);
        match self.overridden(code) {
            Some(verdict) => with_details(verdict, code, trailers, hint::apply_wait_hint),
            None => default_verdict(code, trailers),
        }
    }
}

impl Verdict {
    /// Returns the verdict that a [`ClassifyLayer`](crate::ClassifyLayer) attached to the response, else the verdict of
    /// [`GrpcClassifier::new`] on its head.
    ///
    /// ```
    /// use tower_rampart::classify::{Class, Verdict};
    ///
    /// let response = http::Response::builder().header("grpc-status", "14").body(()).unwrap();
    /// assert_eq!(Verdict::of_grpc(&response).class(), Class::Transient);
    /// ```
    #[must_use]
    pub fn of_grpc<B>(response: &Response<B>) -> Self {
        GrpcClassifier::new().classify_head(&ResponseHead::of(response))
    }
}

impl DistrustRefusals for GrpcClassifier {
    fn distrust_refusals(self) -> Self {
        GrpcClassifier::distrust_refusals(self)
    }
}

impl<B> Classifier<Response<B>> for GrpcClassifier {
    fn classify(&self, outcome: Result<&Response<B>, &(dyn Error + 'static)>) -> Verdict {
        match outcome {
            Ok(response) => self.classify_head(&ResponseHead::of(response)),
            Err(error) => verdict_of_error(error, self.distrusts_refusals),
        }
    }

    fn annotate(&self, response: &mut Response<B>, verdict: Verdict) {
        verdict.leave_in(response);
    }
}

fn default_verdict(code: u16, metadata: &HeaderMap) -> Verdict {
    let verdict = with_details(code::verdict(code), code, metadata, hint::apply);
    match (code, verdict.retry_after(), verdict.should_retry()) {
        // The quota is exhausted, and unrequested attempts would keep it so.
        (8, None, None) => verdict.with_should_retry(false),
        _ => verdict,
    }
}

/// Adds the code and the hints that `apply_hints` reads. What the verdict already sets stays.
fn with_details(
    verdict: Verdict,
    code: u16,
    metadata: &HeaderMap,
    apply_hints: fn(Verdict, &HeaderMap) -> Verdict,
) -> Verdict {
    if verdict.is_success() {
        return verdict;
    }
    let verdict = hint::apply_pushback(verdict.or_code(Reason::GRPC, code), metadata);
    let verdict = apply_hints(verdict, metadata);
    match (verdict.retry_after(), verdict.should_retry()) {
        (None, None) => retry_info::delay(metadata).map_or(verdict, |delay| verdict.with_retry_after(delay)),
        _ => verdict,
    }
}

/// Returns true if the head starts a gRPC stream, whose code comes with the trailers.
fn is_stream(head: &ResponseHead<'_>) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let media_type = head.headers().get(CONTENT_TYPE).and_then(|value| value.as_bytes().get(..GRPC.len()));
    head.status() == StatusCode::OK && media_type.is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}
