//! One crate on one path, as the measuring loop sees it.

pub(crate) mod failsafe;
pub(crate) mod floor;
pub(crate) mod function;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
pub(crate) mod rampart;
pub(crate) mod recloser;
pub(crate) mod resilience;
pub(crate) mod seatbelt;
pub(crate) mod tower_retry;

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use http::Request;
use tower::Service;

use crate::upstream::{Answer, Body, Requests};

/// The name of a contender and how to build a fresh one.
pub(crate) struct Contender {
    pub(crate) who: &'static str,
    pub(crate) build: Box<dyn Fn() -> Box<dyn Stack>>,
}

impl Contender {
    pub(crate) fn new<S>(who: &'static str, build: impl Fn() -> S + 'static) -> Self
    where
        S: Service<Request<Body>, Response = Answer> + Clone + Send + 'static,
    {
        Self { who, build: Box::new(move || Box::new(build())) }
    }
}

/// A service, its layers around it. One call through the vtable stands for a whole round.
pub(crate) trait Stack: Send {
    /// Calls that many times, one after the other, and tells how many calls were answered.
    fn drive(&mut self, requests: &mut Requests, calls: usize) -> usize;

    /// A clone that shares what clones of this service share.
    fn another(&self) -> Box<dyn Stack>;
}

impl<S> Stack for S
where
    S: Service<Request<Body>, Response = Answer> + Clone + Send + 'static,
{
    fn drive(&mut self, requests: &mut Requests, calls: usize) -> usize {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        (0..calls).filter(|_| call(self, requests.next(), &mut cx)).count()
    }

    fn another(&self) -> Box<dyn Stack> {
        Box::new(self.clone())
    }
}

/// One call without a runtime, on a thread of its own.
#[inline]
fn call<S>(service: &mut S, request: Request<Body>, cx: &mut Context<'_>) -> bool
where
    S: Service<Request<Body>, Response = Answer>,
{
    let outcome = match until_ready(|| service.poll_ready(cx)) {
        Ok(()) => {
            let mut response = pin!(service.call(request));
            until_ready(|| response.as_mut().poll(cx))
        }
        Err(error) => Err(error),
    };
    let answered = outcome.is_ok();
    drop(black_box(outcome));
    answered
}

/// Calls a breaker once, over a service that fails.
pub(crate) fn fail_once<S>(mut sick: S)
where
    S: Service<Request<Body>, Response = Answer>,
{
    call(&mut sick, Request::new(Body::new()), &mut Context::from_waker(Waker::noop()));
}

#[inline]
fn until_ready<T>(mut poll: impl FnMut() -> Poll<T>) -> T {
    loop {
        match poll() {
            Poll::Ready(ready) => break ready,
            // Only for an asynchronous lock that the other thread holds.
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
