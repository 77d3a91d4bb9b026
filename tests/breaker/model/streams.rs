//! Calls whose heads and bodies come when a test says so.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use tower::{Layer, Service, service_fn};
use tower_rampart::breaker::partition::Unpartitioned;
use tower_rampart::breaker::{AnyRequests, Ticket};
use tower_rampart::classify::body::JudgedBody;
use tower_rampart::classify::{HttpClassifier, HttpEos, WholeBody};
use tower_rampart::{BoxError, CircuitBreakerLayer};

type Layered = CircuitBreakerLayer<HttpClassifier, Unpartitioned, WholeBody, AnyRequests>;
type Sending = Pin<Box<dyn Future<Output = Result<Response<JudgedBody<Steered, HttpEos, Ticket>>, BoxError>>>>;

/// How far a call is.
#[derive(Clone, Copy, Default, PartialEq)]
enum At {
    #[default]
    Sent,
    Head,
    End,
    Error,
}

#[derive(Clone, Default)]
struct Steered(Rc<Cell<At>>);

pub(super) struct Streams(Box<dyn Fn(Steered) -> Sending>);

pub(super) struct Call {
    stage: Stage,
    steered: Steered,
}

enum Stage {
    Sent(Sending),
    Body(Box<JudgedBody<Steered, HttpEos, Ticket>>),
}

impl Streams {
    pub(super) fn new(layer: &Layered) -> Self {
        let layer = layer.clone();
        Self(Box::new(move |steered| {
            let upstream = service_fn(|request: Request<Steered>| {
                let mut response = Some(Response::new(request.into_body()));
                poll_fn(move |_| match response.take_if(|response| response.body().0.get() != At::Sent) {
                    Some(response) => Poll::Ready(Ok::<_, Infallible>(response)),
                    None => Poll::Pending,
                })
            });
            Box::pin(layer.layer(upstream).call(Request::new(steered)))
        }))
    }

    pub(super) fn send(&self) -> Result<Call, BoxError> {
        let steered = Steered::default();
        let mut sending = (self.0)(steered.clone());
        match poll(sending.as_mut()) {
            Poll::Pending => Ok(Call { stage: Stage::Sent(sending), steered }),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(_)) => unreachable!("the head has not come"),
        }
    }
}

impl Call {
    /// The head comes. Returns false if it has come before.
    pub(super) fn head(&mut self) -> bool {
        let Stage::Sent(sending) = &mut self.stage else { return false };
        self.steered.0.set(At::Head);
        let Poll::Ready(Ok(response)) = poll(sending.as_mut()) else { unreachable!("the head has come") };
        self.stage = Stage::Body(Box::new(response.into_body()));
        true
    }

    /// The body ends, or fails. Returns false if it has not begun.
    pub(super) fn end(&mut self, completely: bool) -> bool {
        let Stage::Body(body) = &mut self.stage else { return false };
        self.steered.0.set(if completely { At::End } else { At::Error });
        let polled = pin!(&mut **body).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(None | Some(Err(_)))));
        true
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

impl Body for Steered {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.0.get() {
            At::Sent | At::Head => Poll::Pending,
            At::End => Poll::Ready(None),
            At::Error => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}
