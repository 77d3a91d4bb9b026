use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::Extensions;
use reqwest::{Body, Request, Response};
use reqwest_middleware::{Middleware, Next, Result};
use tower::util::Oneshot;
use tower_layer::Layer;
use tower_service::Service;

use super::error::into_middleware_error;
use super::inside::Inside;
use super::next::{Attempts, Left, NextService};
use crate::BoxError;
use crate::call::attempt::Attempt;
use crate::call::deadline::{AttemptDeadline, Deadline};
use crate::clients::reqwest::{ReqwestService, into_call, into_stream};

/// A layer, or a whole `ServiceBuilder` stack, as a middleware: `ClientBuilder::with(LayerMiddleware::new(layer))`.
///
/// The layer is applied once, so all calls of the client and of its clones share breakers, budgets and limits. It can
/// be any of tower's whose service is `Clone`. See [the module](super) for what passes through.
#[derive(Clone, Debug)]
pub struct LayerMiddleware<S> {
    stack: S,
    inside: Inside,
}

/// What a layer writes for the attempts of one call. Another call with the same extensions must not find it.
#[derive(Clone, Copy)]
struct Limits {
    deadline: Option<Deadline>,
    attempt: Option<Attempt>,
    attempt_deadline: Option<AttemptDeadline>,
}

impl<S> LayerMiddleware<S> {
    /// Wraps the layer around the middlewares inside.
    pub fn new<LayerT>(layer: LayerT) -> Self
    where
        LayerT: Layer<NextService, Service = S>,
    {
        Self { stack: layer.layer(NextService::new()), inside: Inside::default() }
    }

    /// Declares that the client inside is that of this service, and that every middleware inside sends one request.
    ///
    /// So a failed connection and a 429 prove that the request [was not processed](super#what-counts-as-unprocessed).
    #[must_use]
    pub fn over(mut self, service: &ReqwestService) -> Self {
        self.inside = Inside::of(service);
        self
    }
}

impl<S, ResBody> Middleware for LayerMiddleware<S>
where
    S: Service<http::Request<Body>, Response = http::Response<ResBody>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + Sync + 'static,
    ResBody: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
{
    // What `async_trait` makes of an `async fn`.
    fn handle<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: Request,
        extensions: &'life1 mut Extensions,
        next: Next<'life2>,
    ) -> Pin<Box<dyn Future<Output = Result<Response>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let limits = Limits::of(extensions);
            let (attempts, mut started) = Attempts::channel(self.inside, request.timeout().copied());
            let mut request = into_call(request)?;
            // After the deadline, so that the one of a middleware outside wins.
            request.extensions_mut().extend(extensions.clone());
            request.extensions_mut().insert(attempts);
            let mut call = pin!(Oneshot::new(self.stack.clone(), request));
            let mut running = Vec::new();
            let mut last = None;
            let outcome = poll_fn(|cx| {
                if let Poll::Ready(outcome) = call.as_mut().poll(cx) {
                    return Poll::Ready(outcome);
                }
                while let Poll::Ready(Some(attempt)) = started.poll_recv(cx) {
                    running.push(Box::pin(attempt.run(next.clone())));
                }
                running.retain_mut(|attempt| attempt.as_mut().poll(cx).map(|left| last = Some(left)).is_pending());
                Poll::Pending
            });
            let mut outcome = outcome.await;
            let returned = outcome.as_mut().ok().and_then(|response| response.extensions_mut().remove::<Left>());
            if let Some(left) = returned.or(last) {
                *extensions = limits.restore(left.into_extensions());
            }
            let response = outcome.map_err(|error| into_middleware_error(error.into()))?;
            Ok(response.map(into_stream).into())
        })
    }
}

impl Limits {
    fn of(extensions: &Extensions) -> Self {
        Self {
            deadline: extensions.get().copied(),
            attempt: extensions.get().copied(),
            attempt_deadline: extensions.get().copied(),
        }
    }

    fn restore(self, mut extensions: Extensions) -> Extensions {
        set(&mut extensions, self.deadline);
        set(&mut extensions, self.attempt);
        set(&mut extensions, self.attempt_deadline);
        extensions
    }
}

fn set<T: Clone + Send + Sync + 'static>(extensions: &mut Extensions, value: Option<T>) {
    match value {
        Some(value) => extensions.insert(value),
        None => extensions.remove(),
    };
}
