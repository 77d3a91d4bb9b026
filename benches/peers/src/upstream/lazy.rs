//! A call of the inner service that has not begun: what breakers that wrap futures, not services, are given.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use tower::Service;

use crate::upstream::{Answer, Body, Failure, Inner, is_failure, refusal};

/// Calls when first polled, so that a rejected call never reaches the inner service. A status that counts as a failure
/// is made an error, because nothing but an error is a failure to these breakers.
pub(crate) struct Lazy {
    inner: Inner,
    request: Option<Request<Body>>,
}

impl Lazy {
    pub(crate) fn new(inner: Inner, request: Request<Body>) -> Self {
        Self { inner, request: Some(request) }
    }
}

impl Future for Lazy {
    type Output = Result<Answer, Failure>;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        let request = self.request.take().expect("polled once");
        let outcome = self.inner.call(request).into_inner();
        Poll::Ready(if is_failure(&outcome) { Err(refusal()) } else { outcome })
    }
}
