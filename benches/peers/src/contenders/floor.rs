//! Layers that decide nothing, to tell what a layer costs at the very least.

use std::future::{Future, Ready};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tokio::time::Instant;
use tower::Service;

use crate::contenders::Contender;
use crate::paths::Path;
use crate::upstream::{Answer, Body, Failure, Inner};

pub(crate) const WHO: &str = "(floor)";
pub(crate) const NOTE: &str = "no crate, but the least that any layer does: on the breaker's paths it shares one Arc with its \
    future and passes everything on, over a window of time it also reads the clock once; on the retry path it also clones \
    the service and the request, whose clone the future keeps";

pub(crate) fn contender(path: Path) -> Option<Contender> {
    let floor = |work| Contender::new(WHO, move || Floor { inner: Inner::Healthy, work, shared: Arc::new(()) });
    match path {
        Path::Retry | Path::RetryHeaders => Some(floor(Work::Keep)),
        Path::ClosedCount | Path::TwoThreads => Some(floor(Work::Share)),
        Path::ClosedTime | Path::TwoThreadsTime => Some(floor(Work::Date)),
        path if path.buckets().is_some() => Some(floor(Work::Date)),
        _ => None,
    }
}

/// What it does besides sharing an `Arc`.
#[derive(Clone, Copy)]
enum Work {
    Share,
    Date,
    Keep,
}

#[derive(Clone)]
struct Floor {
    inner: Inner,
    work: Work,
    shared: Arc<()>,
}

struct FloorFuture {
    future: Ready<Result<Answer, Failure>>,
    _kept: Option<(Request<Body>, Inner)>,
    _shared: Arc<()>,
    dated: bool,
}

impl Service<Request<Body>> for Floor {
    type Response = Answer;
    type Error = Failure;
    type Future = FloorFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Service::<Request<Body>>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request<Body>) -> FloorFuture {
        let kept = matches!(self.work, Work::Keep).then(|| (request.clone(), self.inner));
        let dated = matches!(self.work, Work::Date);
        FloorFuture { _kept: kept, _shared: self.shared.clone(), dated, future: self.inner.call(request) }
    }
}

impl Future for FloorFuture {
    type Output = Result<Answer, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.future).poll(cx);
        if self.dated {
            black_box(Instant::now());
        }
        polled
    }
}
