use bytes::Bytes;
use reqwest::{Body, Request, Response};
use reqwest_middleware::{Error, Result};

use crate::BoxError;
use crate::classify::{ClassifiedError, Processed, Verdict};
use crate::clients::reqwest::{ReqwestService, into_bytes_or_stream, into_http, into_stream};

/// What is known of the client inside. The default is nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inside {
    /// Whether a call is one request, so that its outcome is about that request.
    is_one_request: bool,
    /// Whether the client sends no body in memory again by itself.
    resends_nothing: bool,
}

impl Inside {
    pub(super) fn of(service: &ReqwestService) -> Self {
        Self { is_one_request: true, resends_nothing: !service.may_resend() }
    }

    /// Hides the bytes of a body that must not be sent twice from a client that could do so.
    pub(super) fn request<B>(self, request: http::Request<B>) -> reqwest::Result<Request>
    where
        B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
    {
        let shows_bytes = self.resends_nothing || request.method().is_idempotent();
        request.map(if shows_bytes { into_bytes_or_stream } else { into_stream }).try_into()
    }

    /// Takes away the proof that the request was not processed, unless a call is one request.
    pub(super) fn outcome(self, outcome: Result<Response>) -> Result<http::Response<Body>> {
        let doubt = |verdict: Verdict| {
            let is_doubtful = verdict.is_unprocessed() && !self.is_one_request;
            is_doubtful.then(|| verdict.with_processed(Processed::Maybe))
        };
        match outcome {
            Ok(response) => {
                let mut response = into_http(response);
                if let Some(verdict) = doubt(Verdict::of(&response)) {
                    verdict.leave_in(&mut response);
                }
                Ok(response)
            }
            Err(error) => Err(match doubt(Verdict::of_error(&error)) {
                Some(verdict) => Error::middleware(ClassifiedError::with_source(verdict, error)),
                None => error,
            }),
        }
    }
}
