//! The crate family `tower-resilience`.

use http::Request;
use tower::Layer;
use tower_resilience_circuitbreaker::{
    CircuitBreaker, CircuitBreakerError, CircuitBreakerLayer, FnClassifier, SlidingWindowType,
};
use tower_resilience_retry::{Retry, RetryBudgetBuilder, RetryLayer};

use crate::contenders::Contender;
use crate::paths::Path;
use crate::settings::{
    COUNT_WINDOW, FAILURE_RATE, FIRST_WAIT, LARGE_COUNT_WINDOW, MAX_ATTEMPTS, MINIMUM_CALLS, OPEN_FOR, TIME_WINDOW,
};
use crate::upstream::keyed::Keyed;
use crate::upstream::{Answer, Body, Failure, Inner, is_failure};

pub(crate) const WHO: &str = "tower-resilience";
pub(crate) const NOTE: &str = "circuitbreaker and retry, without listeners, tracing or metrics; failures by status; its count \
    window counts all calls since the last transition; no registry, so by host: a DashMap of its services; retry with its \
    AIMD budget, the nearest to a ratio";

type Classifier = FnClassifier<fn(&Result<Answer, Failure>) -> bool>;

#[derive(Clone, Copy)]
enum Window {
    Count(usize),
    Time,
}

pub(crate) fn contender(path: Path) -> Option<Contender> {
    let keyed = || Contender::new(WHO, || Keyed::new(|| breaker(Window::Count(COUNT_WINDOW), Inner::Healthy)));
    let single = |window, inner| Contender::new(WHO, move || breaker(window, inner));
    Some(match path {
        Path::Retry => Contender::new(WHO, || retry::<Failure>().layer(Inner::Healthy)),
        Path::Metrics => Contender::new(WHO, stack),
        Path::ClosedCount | Path::TwoThreads => single(Window::Count(COUNT_WINDOW), Inner::Healthy),
        Path::ClosedCount10k => single(Window::Count(LARGE_COUNT_WINDOW), Inner::Healthy),
        Path::ClosedTime | Path::ClosedTime10k => single(Window::Time, Inner::Healthy),
        Path::Keyed1k | Path::Keyed100k | Path::BytesPerKey => keyed(),
        Path::Open => single(Window::Count(COUNT_WINDOW), Inner::Sick),
        // Its window of time costs more with every call in it, so a number for two threads would say little.
        _ => return None,
    })
}

fn breaker(window: Window, inner: Inner) -> CircuitBreaker<Inner, Classifier> {
    let settings = CircuitBreakerLayer::builder()
        .failure_rate_threshold(FAILURE_RATE)
        .minimum_number_of_calls(MINIMUM_CALLS as usize)
        .wait_duration_in_open(OPEN_FOR)
        .permitted_calls_in_half_open(3);
    let settings = match window {
        Window::Count(calls) => settings.sliding_window_type(SlidingWindowType::CountBased).sliding_window_size(calls),
        Window::Time => settings.sliding_window_type(SlidingWindowType::TimeBased).sliding_window_duration(TIME_WINDOW),
    };
    let layer = settings.failure_classifier(is_failure as fn(&Result<Answer, Failure>) -> bool).build();
    layer.expect("the settings are within their bounds").layer(inner)
}

/// What is measured on the path `metrics`.
pub(crate) fn stack() -> Retry<CircuitBreaker<Inner, Classifier>, Request<Body>, Answer, CircuitBreakerError<Failure>> {
    retry().layer(breaker(Window::Count(COUNT_WINDOW), Inner::Healthy))
}

fn retry<E>() -> RetryLayer<Request<Body>, Answer, E> {
    let budget = RetryBudgetBuilder::new().aimd().min_budget(10).max_budget(1_000).build();
    RetryLayer::builder()
        .max_attempts(MAX_ATTEMPTS as usize)
        .exponential_backoff(FIRST_WAIT)
        .retry_on_response(|response: &Answer| response.status().is_server_error())
        .budget(budget.expect("the bounds of the budget are in order"))
        .build()
}
