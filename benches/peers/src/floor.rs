//! Layers that decide nothing, to tell what a layer costs at the very least.

use std::future::{Future, Ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower::Service;

use crate::contender::Contender;
use crate::inner::{Answer, Body, Failure, Inner};
use crate::paths::Path;

pub(crate) const WHO: &str = "(floor)";
pub(crate) const NOTE: &str = "no crate, but the least that any layer does: on the breaker's paths it shares one Arc with its \
    future and passes everything on, on the retry path it also clones the service and the request, whose clone the future \
    keeps";

pub(crate) fn contender(path: Path) -> Option<Contender> {
    match path {
        Path::Retry => Some(Contender::new(WHO, || Floor { inner: Inner::Healthy, shared: Arc::new(()), keep: true })),
        Path::ClosedCount | Path::TwoThreads => {
            Some(Contender::new(WHO, || Floor { inner: Inner::Healthy, shared: Arc::new(()), keep: false }))
        }
        _ => None,
    }
}

#[derive(Clone)]
struct Floor {
    inner: Inner,
    shared: Arc<()>,
    keep: bool,
}

struct FloorFuture {
    future: Ready<Result<Answer, Failure>>,
    _kept: Option<(Request<Body>, Inner)>,
    _shared: Arc<()>,
}

impl Service<Request<Body>> for Floor {
    type Response = Answer;
    type Error = Failure;
    type Future = FloorFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Service::<Request<Body>>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request<Body>) -> FloorFuture {
        let kept = self.keep.then(|| (request.clone(), self.inner));
        FloorFuture { _kept: kept, _shared: self.shared.clone(), future: self.inner.call(request) }
    }
}

impl Future for FloorFuture {
    type Output = Result<Answer, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.future).poll(cx)
    }
}
