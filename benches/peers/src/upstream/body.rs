//! Requests with a body of one KiB, and a service that reads it.

use std::future::Ready;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::Service;

use crate::upstream::{Answer, Body, Failure, Inner};

/// Gives every request a body before the layers see it.
#[derive(Clone)]
pub(crate) struct Kilobyte<S> {
    inner: S,
    bytes: Bytes,
}

impl<S> Kilobyte<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, bytes: vec![7; 1_024].into() }
    }
}

impl<S: Service<Request<Full<Bytes>>>> Service<Request<Body>> for Kilobyte<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        self.inner.call(request.map(|_| Full::new(self.bytes.clone())))
    }
}

/// Reads the body to its end and answers as the healthy service does.
#[derive(Clone, Copy)]
pub(crate) struct Reader;

impl<B: http_body::Body> Service<Request<B>> for Reader {
    type Response = Answer;
    type Error = Failure;
    type Future = Ready<Result<Answer, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut cx = Context::from_waker(Waker::noop());
        let (head, body) = request.into_parts();
        let mut body = pin!(body);
        while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) {
            drop(std::hint::black_box(frame));
        }
        Inner::Healthy.call(Request::from_parts(head, ()))
    }
}
