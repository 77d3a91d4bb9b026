use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, Load, PendingRequests};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitBreaker, CircuitOpen, State};
use tower_rampart::classify::Class;
use tower_rampart::retry::{Backoff, ReplayBody};

use crate::support::*;
use crate::{breaker, calls_and_failures};

/// A request as the retry layer sends it.
type Attempted = Request<ReplayBody<Full<Bytes>>>;

fn pending<S>(endpoint: S) -> PendingRequests<S> {
    PendingRequests::new(endpoint, CompleteOnResponse::default())
}

/// One breaker for all endpoints: half of them down is no outage, and the retries find the other half.
#[tokio::test(start_paused = true)]
async fn outside_a_retry_goes_to_another_endpoint_and_the_breaker_stays_closed() {
    let breaker = CircuitBreakerLayer::new_for_http().minimum_calls(100);
    let handle = breaker.breaker();
    let endpoints = [503, 200].map(|status| Upstream::new([answer(status)]));
    let logs = endpoints.each_ref().map(Upstream::log);
    let stack = ServiceBuilder::new()
        // Each attempt finds the healthy one with a chance of a half.
        .layer(layer().max_attempts(100).backoff(Backoff::none()))
        .layer(breaker)
        .buffer(8)
        .service(Balance::new(ServiceList::new::<Attempted>(endpoints.map(pending))));
    for _ in 0..100 {
        assert_eq!(stack.clone().oneshot(get()).await.unwrap().status(), 200);
    }
    let [down, well] = logs.map(|log| log.calls() as u64);
    assert_eq!((well, handle.state()), (100, State::Closed));
    assert!((40..250).contains(&down), "{down} retries");
    assert_eq!(calls_and_failures(&handle), (100 + down, down));
}

/// A breaker in each endpoint answers at once while it is open, so its endpoint looks the least loaded of all.
#[tokio::test(start_paused = true)]
async fn inside_an_open_breaker_draws_the_calls() {
    let (first, open) = breaker();
    let (second, _) = breaker();
    let [down, well] = [answer(503), answer(200).taking(SECOND)].map(|step| Upstream::new([step]));
    let log = well.log();
    trip(&open);
    let balance =
        Balance::new(ServiceList::new::<Attempted>([pending(first.layer(down)), pending(second.layer(well))]));
    let rejected = rejected_of_a_hundred(ServiceBuilder::new().layer(layer()).buffer(8).service(balance)).await;
    assert_eq!((rejected, log.calls()), (99, 1));
}

/// The load of an endpoint whose breaker is open counts above that of all others, until the open time is over.
struct Weighed<S> {
    endpoint: S,
    breaker: CircuitBreaker,
}

impl<S: Load> Load for Weighed<S> {
    type Metric = (bool, S::Metric);

    fn load(&self) -> Self::Metric {
        (self.breaker.snapshot().retry_after.is_some(), self.endpoint.load())
    }
}

impl<S: Service<Req>, Req> Service<Req> for Weighed<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.endpoint.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> S::Future {
        self.endpoint.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn inside_a_load_that_knows_the_breaker_avoids_the_open_endpoint_until_it_may_be_probed() {
    let (first, open) = breaker();
    let (second, closed) = breaker();
    let [down, well] = [answer(200), answer(200).taking(SECOND)].map(|step| Upstream::new([step]));
    let logs = [down.log(), well.log()];
    trip(&open);
    let balance = Balance::new(ServiceList::new::<Attempted>([
        Weighed { endpoint: pending(first.layer(down)), breaker: open.clone() },
        Weighed { endpoint: pending(second.layer(well)), breaker: closed },
    ]));
    let stack = ServiceBuilder::new().layer(layer()).buffer(8).service(balance);
    assert_eq!(rejected_of_a_hundred(stack.clone()).await, 0);
    assert_eq!(logs.each_ref().map(Log::calls), [0, 100]);
    tokio::time::advance(30 * SECOND).await;
    assert_eq!(rejected_of_a_hundred(stack).await, 0);
    assert_eq!((open.state(), calls_and_failures(&open).1), (State::Closed, 0));
}

fn trip(breaker: &CircuitBreaker) {
    (0..10).for_each(|_| breaker.try_acquire().unwrap().settle(Class::Transient));
    assert_eq!(breaker.state(), State::Open);
}

/// Sends a hundred calls, none of which waits for another, and counts the rejected ones.
async fn rejected_of_a_hundred<S>(stack: S) -> usize
where
    S: Service<Request<Full<Bytes>>, Error = tower_rampart::BoxError> + Clone + Send + 'static,
    S::Response: Send,
    S::Future: Send,
{
    let mut calls = Vec::new();
    for _ in 0..100 {
        calls.push(tokio::spawn(stack.clone().oneshot(get())));
        settle().await;
    }
    let mut rejected = 0;
    for call in calls {
        rejected += usize::from(call.await.unwrap().is_err_and(|error| CircuitOpen::find(&*error).is_some()));
    }
    rejected
}
