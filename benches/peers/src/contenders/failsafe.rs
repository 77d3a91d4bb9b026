//! The crate `failsafe`, which wraps futures.

use std::task::{Context, Poll};

use ::failsafe::failure_policy::{ConsecutiveFailures, SuccessRateOverTimeWindow};
use ::failsafe::futures::{CircuitBreaker, ResponseFuture};
use ::failsafe::{Any, Config, Error, FailurePolicy, StateMachine, backoff, failure_policy};
use http::Request;
use tower::Service;

use crate::contenders::{Contender, fail_once};
use crate::paths::Path;
use crate::settings::{FAILURE_RATE, MINIMUM_CALLS, OPEN_FOR, TIME_WINDOW};
use crate::upstream::keyed::Keyed;
use crate::upstream::lazy::Lazy;
use crate::upstream::{Answer, Body, Failure, Inner};

pub(crate) const WHO: &str = "failsafe";
pub(crate) const NOTE: &str = "StateMachine behind a service of ours; success_rate_over_time_window (a moving average over 60 s), \
    shown in the row of the small count window too, and without buckets in the rows with a failure; that policy cannot open before a whole window has passed, so the open \
    row uses consecutive_failures; no registry, so by host: a DashMap of them";

pub(crate) fn contender(path: Path) -> Option<Contender> {
    Some(match path {
        Path::ClosedCount | Path::ClosedTime | Path::ClosedTime10k | Path::TwoThreads | Path::TwoThreadsTime => {
            Contender::new(WHO, || Breaker::new(by_rate(), Inner::Healthy))
        }
        Path::Keyed1k | Path::Keyed100k | Path::BytesPerKey => {
            Contender::new(WHO, || Keyed::new(|| Breaker::new(by_rate(), Inner::Healthy)))
        }
        path if path.buckets().is_some() => Contender::new(WHO, || {
            let breaker = Breaker::new(by_rate(), Inner::Sick);
            fail_once(breaker.clone());
            Breaker { inner: Inner::Healthy, ..breaker }
        }),
        Path::Open => Contender::new(WHO, || Breaker::new(in_a_row(), Inner::Sick)),
        _ => return None,
    })
}

fn by_rate() -> SuccessRateOverTimeWindow<backoff::Constant> {
    let wait = backoff::constant(OPEN_FOR);
    failure_policy::success_rate_over_time_window(1.0 - FAILURE_RATE, MINIMUM_CALLS, TIME_WINDOW, wait)
}

fn in_a_row() -> ConsecutiveFailures<backoff::Constant> {
    failure_policy::consecutive_failures(5, backoff::constant(OPEN_FOR))
}

struct Breaker<P> {
    breaker: StateMachine<P, ()>,
    inner: Inner,
}

impl<P: FailurePolicy> Breaker<P> {
    fn new(policy: P, inner: Inner) -> Self {
        Self { breaker: Config::new().failure_policy(policy).build(), inner }
    }
}

impl<P> Clone for Breaker<P> {
    fn clone(&self) -> Self {
        Self { breaker: self.breaker.clone(), inner: self.inner }
    }
}

impl<P: FailurePolicy + Send + Sync> Service<Request<Body>> for Breaker<P> {
    type Response = Answer;
    type Error = Error<Failure>;
    type Future = ResponseFuture<Lazy, P, (), Any>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.inner, cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        CircuitBreaker::call(&self.breaker, Lazy::new(self.inner, request))
    }
}
