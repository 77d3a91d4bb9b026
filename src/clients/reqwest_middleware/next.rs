use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Extensions;
use pin_project_lite::pin_project;
use reqwest::{Body, Request, Response};
use reqwest_middleware::{Error, Next, Result};
use tokio::sync::{mpsc, oneshot};
use tower_service::Service;

use super::inside::Inside;
use crate::BoxError;
use crate::classify::{ClassifiedError, Health, Verdict};
use crate::clients::reqwest::OrFailed;

/// The middlewares inside a [`LayerMiddleware`](super::LayerMiddleware), as the service that its layer wraps.
///
/// It borrows nothing, so that the stack over it is built once. The middleware stores the sender of its
/// attempts in the extensions of the request; a layer that drops them fails the call.
#[derive(Clone, Copy, Debug)]
pub struct NextService(());

/// Where the attempts of one call of the middleware go, in the extensions of its request.
#[derive(Clone)]
pub(super) struct Attempts {
    sender: mpsc::UnboundedSender<Attempt>,
    inside: Inside,
    /// That of the request. Its extensions may hold the one of an earlier call.
    timeout: Option<Duration>,
}

/// What the middlewares inside left in the extensions of an attempt. Travels with its response, so that the extensions
/// of the call are those of the attempt whose response it returns.
#[derive(Clone)]
pub(super) struct Left(Arc<Extensions>);

/// An attempt that the middleware runs.
pub(super) struct Attempt {
    request: Request,
    extensions: Extensions,
    reply: oneshot::Sender<Result<Response>>,
}

pin_project! {
    /// The future of [`NextService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct NextFuture {
        #[pin]
        outcome: OrFailed<oneshot::Receiver<Result<Response>>>,
        inside: Inside,
    }
}

impl NextService {
    pub(super) fn new() -> Self {
        Self(())
    }
}

impl Attempts {
    pub(super) fn channel(inside: Inside, timeout: Option<Duration>) -> (Self, mpsc::UnboundedReceiver<Attempt>) {
        let (sender, attempts) = mpsc::unbounded_channel();
        (Self { sender, inside, timeout }, attempts)
    }
}

impl Left {
    pub(super) fn into_extensions(self) -> Extensions {
        Arc::unwrap_or_clone(self.0)
    }
}

impl Attempt {
    /// Runs the middlewares inside, unless the stack drops the attempt. Returns what they left in the extensions.
    pub(super) async fn run(self, next: Next<'_>) -> Left {
        let Self { request, mut extensions, mut reply } = self;
        let mut run = next.run(request, &mut extensions);
        let outcome = poll_fn(|cx| match reply.poll_closed(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => run.as_mut().poll(cx).map(Some),
        });
        let outcome = outcome.await;
        drop(run);
        let left = Left(Arc::new(extensions));
        if let Some(mut outcome) = outcome {
            if let Ok(response) = &mut outcome {
                response.extensions_mut().insert(left.clone());
            }
            let _ = reply.send(outcome);
        }
        left
    }
}

impl<B> Service<http::Request<B>> for NextService
where
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = NextFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<B>) -> NextFuture {
        let attempts = request.extensions_mut().remove::<Attempts>();
        let inside = attempts.as_ref().map_or(Inside::default(), |attempts| attempts.inside);
        let extensions = request.extensions().clone();
        let (reply, outcome) = oneshot::channel();
        let outcome = inside.request(request).map(|mut request| {
            if let Some(attempts) = attempts {
                *request.timeout_mut() = attempts.timeout;
                let _ = attempts.sender.send(Attempt { request, extensions, reply });
            }
            outcome
        });
        NextFuture { outcome: OrFailed::new(outcome), inside }
    }
}

impl Future for NextFuture {
    type Output = Result<http::Response<Body>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.outcome.poll(cx))?.unwrap_or_else(|_| Err(attempt_not_run()));
        Poll::Ready(this.inside.outcome(outcome))
    }
}

impl fmt::Debug for NextFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextFuture").finish_non_exhaustive()
    }
}

/// Another attempt would end in the same way, and the upstream is not to blame.
#[cold]
fn attempt_not_run() -> Error {
    let verdict = Verdict::terminal().with_health(Health::Neutral);
    let reason = "the call of the middleware has ended, or a layer has dropped the extensions of its request";
    Error::middleware(ClassifiedError::with_source(verdict, reason))
}
