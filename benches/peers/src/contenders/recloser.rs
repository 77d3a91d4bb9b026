//! The crate `recloser`, which wraps futures.

use std::task::{Context, Poll};

use ::recloser::{AnyError, AsyncRecloser, Error, Recloser, RecloserFuture};
use http::Request;
use tower::Service;

use crate::contenders::Contender;
use crate::paths::Path;
use crate::settings::{COUNT_WINDOW, FAILURE_RATE, LARGE_COUNT_WINDOW, OPEN_FOR};
use crate::upstream::keyed::Keyed;
use crate::upstream::lazy::Lazy;
use crate::upstream::{Answer, Body, Failure, Inner};

pub(crate) const WHO: &str = "recloser";
pub(crate) const NOTE: &str = "AsyncRecloser behind a service of ours; only a count window, without a minimum of calls; no \
    registry, so by host: a DashMap of them";

pub(crate) fn contender(path: Path) -> Option<Contender> {
    Some(match path {
        Path::ClosedCount | Path::TwoThreads => Contender::new(WHO, || Breaker::new(COUNT_WINDOW, Inner::Healthy)),
        Path::ClosedCount10k => Contender::new(WHO, || Breaker::new(LARGE_COUNT_WINDOW, Inner::Healthy)),
        Path::Keyed1k | Path::Keyed100k | Path::BytesPerKey => {
            Contender::new(WHO, || Keyed::new(|| Breaker::new(COUNT_WINDOW, Inner::Healthy)))
        }
        Path::Open => Contender::new(WHO, || Breaker::new(COUNT_WINDOW, Inner::Sick)),
        _ => return None,
    })
}

#[derive(Clone)]
struct Breaker {
    recloser: AsyncRecloser,
    inner: Inner,
}

impl Breaker {
    fn new(window: usize, inner: Inner) -> Self {
        let recloser = Recloser::custom()
            .error_rate(FAILURE_RATE as f32)
            .closed_len(window)
            .half_open_len(3)
            .open_wait(OPEN_FOR)
            .build();
        Self { recloser: recloser.into(), inner }
    }
}

impl Service<Request<Body>> for Breaker {
    type Response = Answer;
    type Error = Error<Failure>;
    type Future = RecloserFuture<Lazy, AnyError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.inner, cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.recloser.call(Lazy::new(self.inner, request))
    }
}
