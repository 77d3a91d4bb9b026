//! This crate.

use http::Request;
use tower::{Layer, Service};
use tower_rampart::breaker::{Window, partition};
use tower_rampart::classify::HttpClassifier;
use tower_rampart::retry::{Backoff, Budget, Hedge};
use tower_rampart::{CircuitBreakerLayer, ClassifyLayer, RetryLayer};

use super::function;
use crate::contenders::{Contender, fail_once};
use crate::paths::Path;
use crate::settings::{
    ATTEMPT_TIMEOUT, BUDGET, COUNT_WINDOW, FAILURE_RATE, FIRST_WAIT, LARGE_COUNT_WINDOW, LONGEST_WAIT, MAX_ATTEMPTS,
    MINIMUM_CALLS, OPEN_FOR, TIME_WINDOW,
};
use crate::upstream::body::{Kilobyte, Reader};
use crate::upstream::{Answer, Inner, Late, TENANT};

pub(crate) const WHO: &str = "rampart";
pub(crate) const NOTE: &str = "new_for_http() on every layer, replay bodies and the whole classification included; by host: \
    partition::host() with room for 131,072; nested: partition::header() in partition::host(); the time window is in ten buckets; stack is retry over a breaker by host, \
    1,000 hosts, over classify";

/// Nothing is hedged on these paths, because every answer comes at once.
pub(crate) const HEDGED: &str = "rampart, hedging";
pub(crate) const HEDGED_NOTE: &str = "the same retry with hedge(Hedge::quantile(0.95))";

/// More than the hosts of any path: nothing is forgotten, as with the others.
const MAX_PARTITIONS: usize = 131_072;

pub(crate) fn contender(path: Path) -> Option<Contender> {
    let single = |window, inner| Contender::new(WHO, move || breaker(window).layer(inner));
    Some(match path {
        Path::Function | Path::FunctionRetry => return function::rampart(path),
        Path::Retry | Path::RetryHeaders => Contender::new(WHO, || retry().layer(Inner::Healthy)),
        Path::RetryBody => Contender::new(WHO, || Kilobyte::new(retry().layer(Reader))),
        Path::RetryPending => Contender::new(WHO, || retry().attempt_timeout(ATTEMPT_TIMEOUT).layer(Late)),
        Path::ClosedCount | Path::TwoThreads => single(Window::count(COUNT_WINDOW as u32), Inner::Healthy),
        Path::ClosedCount10k => single(Window::count(LARGE_COUNT_WINDOW as u32), Inner::Healthy),
        Path::ClosedTime | Path::ClosedTime10k | Path::TwoThreadsTime => {
            single(Window::time(TIME_WINDOW), Inner::Healthy)
        }
        Path::ClosedTimeFailing10 | Path::ClosedTimeFailing60 | Path::ClosedTimeFailing1024 => {
            let window = Window::time(TIME_WINDOW).buckets(path.buckets()?);
            Contender::new(WHO, move || {
                let breaker = breaker(window);
                fail_once(breaker.layer(Inner::Sick));
                breaker.layer(Inner::Healthy)
            })
        }
        Path::Nested1k => Contender::new(WHO, || nested(Inner::Healthy)),
        Path::Keyed1k | Path::Keyed100k | Path::BytesPerKey => Contender::new(WHO, || by_host(Inner::Healthy)),
        Path::Open => single(Window::count(COUNT_WINDOW as u32), Inner::Sick),
        Path::Metrics => Contender::new(WHO, || {
            let (retry, breaker) = metrics();
            retry.layer(breaker.layer(Inner::Healthy))
        }),
        Path::Classify => Contender::new(WHO, || ClassifyLayer::new_for_http().layer(Inner::Healthy)),
        Path::Stack => {
            Contender::new(WHO, || retry().layer(by_host(ClassifyLayer::new_for_http().layer(Inner::Healthy))))
        }
    })
}

pub(crate) fn hedged(path: Path) -> Option<Contender> {
    let hedge = || Hedge::quantile(0.95);
    match path {
        Path::Retry | Path::RetryHeaders => {
            Some(Contender::new(HEDGED, move || retry().hedge(hedge()).layer(Inner::Healthy)))
        }
        Path::RetryBody => Some(Contender::new(HEDGED, move || Kilobyte::new(retry().hedge(hedge()).layer(Reader)))),
        Path::RetryPending => {
            Some(Contender::new(HEDGED, move || retry().attempt_timeout(ATTEMPT_TIMEOUT).hedge(hedge()).layer(Late)))
        }
        _ => None,
    }
}

/// The layers of the path `metrics`.
pub(crate) fn metrics() -> (RetryLayer, CircuitBreakerLayer<HttpClassifier>) {
    (retry().name("peers"), breaker(Window::count(COUNT_WINDOW as u32)))
}

fn breaker(window: Window) -> CircuitBreakerLayer<HttpClassifier> {
    CircuitBreakerLayer::new_for_http()
        .name("peers")
        .window(window)
        .failure_rate(FAILURE_RATE)
        .minimum_calls(MINIMUM_CALLS)
        .open_for(OPEN_FOR)
        .half_open_max_calls(3)
        .success_threshold(2)
}

fn by_host<S, B>(inner: S) -> impl Service<Request<B>, Response = Answer, Error = tower::BoxError> + Clone
where
    S: Service<Request<B>, Response = Answer> + Clone,
    S::Error: Into<tower::BoxError>,
{
    breaker(Window::time(TIME_WINDOW)).partition_by(partition::host()).max_partitions(MAX_PARTITIONS).layer(inner)
}

fn nested<S, B>(inner: S) -> impl Service<Request<B>, Response = Answer, Error = tower::BoxError> + Clone
where
    S: Service<Request<B>, Response = Answer> + Clone,
    S::Error: Into<tower::BoxError>,
{
    let breaker = breaker(Window::time(TIME_WINDOW)).partition_by(partition::header(TENANT));
    breaker.nested_in(partition::host(), 0.5).max_partitions(MAX_PARTITIONS).layer(inner)
}

fn retry() -> RetryLayer {
    RetryLayer::new_for_http()
        .max_attempts(MAX_ATTEMPTS)
        .backoff(Backoff::exponential(FIRST_WAIT, LONGEST_WAIT))
        .budget(Budget::ratio(f64::from(BUDGET)))
}
