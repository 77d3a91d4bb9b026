//! A closure of the user that panics: token, place and probe come back, in every form.

use std::future::{Future, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_rampart::breaker::{CircuitBreaker, State};
use tower_rampart::classify::{ClassifiedError, Health, Verdict, classifier_fn};
use tower_rampart::retry::{self, Backoff, Budget, Hedge, RetryPolicy};
use tower_rampart::{BoxError, CircuitBreakerLayer};

use crate::support::*;

type Inner = tower::util::BoxCloneSyncService<Request<retry::ReplayBody<Full<Bytes>>>, Response<Full<Bytes>>, BoxError>;

/// A client with one place behind a half-open breaker with one probe.
struct Stack {
    inner: Inner,
    places: Arc<Semaphore>,
    breaker: CircuitBreaker,
}

impl Stack {
    async fn new(steps: &[Step]) -> Self {
        let layer = CircuitBreakerLayer::new_for_http().consecutive_failures(1).open_for(SECOND).half_open_max_calls(1);
        let breaker = layer.breaker();
        breaker.try_acquire().unwrap().fail();
        tokio::time::advance(2 * SECOND).await;
        let places = Arc::new(Semaphore::new(1));
        let inner = ServiceBuilder::new()
            .layer(layer)
            .layer(GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&places)))
            .service(Upstream::new(steps.iter().cloned()));
        Self { inner: Inner::new(inner), places, breaker }
    }

    fn assert_free(&self, what: &str) {
        assert_eq!(self.places.available_permits(), 1, "{what}: the place");
        assert!(self.breaker.try_acquire().is_ok(), "{what}: the probe");
    }
}

/// For one retry at a time.
fn one() -> Budget {
    Budget::concurrent(0.0, 1)
}

/// A failure that leaves the breaker as it is.
fn neutral() -> Verdict {
    Verdict::transient().with_health(Health::Neutral)
}

/// Polls to the end, and drops the future.
async fn panics<F: Future>(call: F) -> bool {
    let mut call = Box::pin(call);
    loop {
        match catch_unwind(AssertUnwindSafe(|| poll_once(call.as_mut()))) {
            Ok(Poll::Ready(_)) => return false,
            Ok(Poll::Pending) => {
                settle().await;
                tokio::time::advance(50 * MS).await;
            }
            Err(_) => return true,
        }
    }
}

async fn check<L>(what: &str, layer: L, budget: &Budget, steps: &[Step])
where
    L: Layer<Inner>,
    L::Service: Service<Request<Full<Bytes>>, Error = BoxError>,
{
    let stack = Stack::new(steps).await;
    let service = layer.layer(stack.inner.clone());
    assert!(panics(service.oneshot(put("rows"))).await, "{what}");
    assert_eq!(budget.balance(), Some(1.0), "{what}: the token");
    stack.assert_free(what);
}

/// A layer in both forms: with and without hedges.
macro_rules! check {
    ($what:literal, $steps:expr, $layer:expr) => {
        let (plain, hedged) = (one(), one());
        check($what, $layer.budget(plain.clone()), &plain, $steps).await;
        let slow: Vec<_> = $steps.iter().cloned().map(|step: Step| step.taking(120 * MS)).collect();
        check($what, $layer.budget(hedged.clone()).hedge(Hedge::after(50 * MS)), &hedged, &slow).await;
    };
}

#[tokio::test(start_paused = true)]
async fn a_closure_of_a_layer_that_panics_gives_everything_back() {
    let fails = &[fail(neutral())];
    let layer = || layer().backoff(70 * MS);
    check!("classifier", fails, layer().classifier(classifier_fn(|_: Result<&Response<Full<Bytes>>, _>| panic!())));
    check!("on_retry", fails, layer().on_retry(|_| panic!()));
    check!("on_give_up", fails, layer().on_give_up(|_| panic!()));
    check!("backoff", fails, layer().backoff(Backoff::custom(|_, _, _| panic!())));
    check!("the last wait", fails, layer().backoff(Backoff::custom(|retry, _, _| 70 * MS / (1 - retry.min(1)))));
    check!("the first limit", fails, layer().attempt_timeout_by(|_, _| panic!()));
    check!("the second limit", fails, layer().attempt_timeout_by(|attempt, _| SECOND / (2 - attempt.number())));
    check!("idempotent", fails, layer().idempotent(|_| panic!()));
    check!("partition_label", fails, layer().on_retry(|_| {}).partition_label(|_| panic!()));
}

/// A policy with a budget for one retry at a time, as an async and as a blocking function.
macro_rules! check_functions {
    ($what:literal, $policy:expr) => {
        let budget = one();
        let policy = $policy.budget(budget.clone());
        let failure = || Err::<(), _>(ClassifiedError::new(neutral()));
        assert!(panics(retry::call(&policy, || ready(failure()))).await, $what);
        assert_eq!(budget.balance(), Some(1.0), "{}: the token", $what);
        assert!(catch_unwind(AssertUnwindSafe(|| retry::call_blocking(&policy, failure))).is_err(), $what);
        assert_eq!(budget.balance(), Some(1.0), "{}, blocking: the token", $what);
    };
}

#[tokio::test(start_paused = true)]
async fn a_closure_of_a_function_that_panics_gives_the_token_back() {
    let policy = || RetryPolicy::new().backoff(Backoff::none());
    check_functions!("classifier", policy().classifier(classifier_fn(|_: Result<&(), _>| panic!())));
    check_functions!("retry_if", policy().retry_if(|_: &ClassifiedError| panic!()));
    check_functions!("on_retry", policy().on_retry(|_| panic!()));
    check_functions!("on_give_up", policy().on_give_up(|_| panic!()));
    check_functions!("backoff", policy().backoff(Backoff::custom(|_, _, _| panic!())));
    check_functions!("the second backoff", policy().backoff(Backoff::custom(|retry, _, _| MS / (1 - retry))));
    check_functions!("the first limit", policy().attempt_timeout_by(|_, _| panic!()));
    check_functions!("the second limit", policy().attempt_timeout_by(|attempt, _| SECOND / (2 - attempt.number())));
}

#[tokio::test(start_paused = true)]
async fn a_classifier_of_a_breaker_that_panics_is_a_failure_and_frees_the_probe() {
    let bad = || classifier_fn(|_: Result<&(), _>| -> Verdict { panic!() });
    let fine = || Ok::<_, BoxError>(());
    for is_async in [false, true] {
        let breaker = Stack::new(&[answer(200)]).await.breaker;
        let panicked = if is_async {
            panics(breaker.call_async_with(bad(), || ready(fine()))).await
        } else {
            catch_unwind(AssertUnwindSafe(|| drop(breaker.call_with(bad(), fine)))).is_err()
        };
        assert_eq!((panicked, breaker.state(), breaker.snapshot().totals.failed), (true, State::Open, 2));
        tokio::time::advance(SECOND).await;
        assert!(breaker.try_acquire().is_ok(), "{is_async}");
    }
}
