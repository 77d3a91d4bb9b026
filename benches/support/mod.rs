//! A service that is always ready and answers at once, and a call without a runtime.

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tower::Service;

pub(crate) type Body = Empty<Bytes>;
pub(crate) type Answer = Response<Full<Bytes>>;

/// Answers with this status and two bytes.
#[derive(Clone, Copy)]
pub(crate) struct Inner(pub(crate) StatusCode);

impl<B> Service<Request<B>> for Inner {
    type Response = Answer;
    type Error = std::io::Error;
    type Future = Ready<Result<Answer, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        drop(black_box(request));
        let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
        *response.status_mut() = self.0;
        ready(Ok(response))
    }
}

pub(crate) fn request() -> Request<Body> {
    Request::new(Empty::new())
}

/// Polls a call to its end. Nothing here ever waits; a retry without a wait yields once.
pub(crate) fn call<S, B>(service: &mut S, request: Request<B>) -> Result<S::Response, S::Error>
where
    S: Service<Request<B>>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(ready) = service.poll_ready(&mut cx) else {
        panic!("a service that is always ready made a call wait")
    };
    ready?;
    let mut response = pin!(service.call(request));
    loop {
        if let Poll::Ready(outcome) = response.as_mut().poll(&mut cx) {
            return outcome;
        }
    }
}
