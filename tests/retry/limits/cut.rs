//! Rule 6: what a cut means to the layers inside, and to the request that is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use http::{Request, Response};
use http_body_util::Full;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::State;
use tower_rampart::classify::{Class, Counters, HttpClassifier, Processed, Reason, Verdict, classifier_fn};
use tower_rampart::retry::{AttemptDeadline, Deadline, GiveUp, ReplayBody, TimedOut};
use tower_rampart::{BoxError, CircuitBreakerLayer, ClassifyLayer, RetryLayer};

use crate::support::*;

type Body = Full<bytes::Bytes>;

#[tokio::test(start_paused = true)]
async fn rule_6_an_upstream_that_hangs_opens_a_default_breaker_and_is_counted() {
    let counters = Counters::new();
    let breaker = CircuitBreakerLayer::new_for_http();
    let handle = breaker.breaker();
    let upstream = Upstream::new([hang()]);
    let log = upstream.log();
    let stack = ServiceBuilder::new()
        .layer(layer().max_attempts(1).attempt_timeout(SECOND))
        .layer(breaker)
        .layer(ClassifyLayer::new(HttpClassifier::new()).counters(&counters))
        .service(upstream);
    for _ in 0..10 {
        let error = stack.clone().oneshot(get()).await.unwrap_err();
        assert!(TimedOut::find(&*error).is_some());
    }
    assert_eq!((handle.state(), log.calls()), (State::Open, 10));
    assert_eq!(counters.count(Class::Transient, Reason::TIMEOUT), 10);
}

#[tokio::test(start_paused = true)]
async fn rule_6_layers_inside_see_a_cut_by_the_deadline_too() {
    let breaker = CircuitBreakerLayer::new_for_http();
    let handle = breaker.breaker();
    let stack = ServiceBuilder::new().layer(layer().deadline(SECOND)).layer(breaker).service(Upstream::new([hang()]));
    for _ in 0..10 {
        assert_eq!(gave_up(&stack.clone().oneshot(get()).await.unwrap_err()).kind(), GiveUp::Deadline);
    }
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_caller_who_leaves_before_the_limit_counts_as_neutral() {
    let breaker = CircuitBreakerLayer::new_for_http();
    let handle = breaker.breaker();
    let stack = ServiceBuilder::new()
        .layer(layer().attempt_timeout(2 * SECOND).deadline(3 * SECOND))
        .layer(breaker)
        .service(Upstream::new([hang()]));
    for _ in 0..20 {
        tokio::time::timeout(SECOND, stack.clone().oneshot(get())).await.unwrap_err();
    }
    assert_eq!((handle.state(), handle.snapshot().calls), (State::Closed, 0));
}

/// A request type without extensions.
#[tokio::test(start_paused = true)]
async fn rule_6_layers_inside_see_a_hang_for_requests_of_every_type() {
    let classifier = classifier_fn(|_: Result<&(), _>| Verdict::transient());
    let breaker = CircuitBreakerLayer::new(classifier);
    let handle = breaker.breaker();
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(classifier).max_attempts(1).attempt_timeout(SECOND))
        .layer(breaker)
        .service(service_fn(|_: u32| std::future::pending::<Result<(), BoxError>>()));
    for _ in 0..10 {
        stack.clone().oneshot(7).await.unwrap_err();
    }
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_hang_in_readiness_opens_a_breaker_and_proves_that_nothing_was_sent() {
    let breaker = CircuitBreakerLayer::new_for_http();
    let handle = breaker.breaker();
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let mut holder = limit.layer(upstream.clone());
    let _place = ServiceExt::<Request<Body>>::ready(&mut holder).await.unwrap();
    let retry = layer().max_attempts(2).attempt_timeout(SECOND);
    let stack = ServiceBuilder::new().layer(retry).layer(breaker).layer(&limit).service(upstream);
    for _ in 0..5 {
        let error = stack.clone().oneshot(post("5 euros")).await.unwrap_err();
        // A POST, retried because it was never sent.
        assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Exhausted, 2));
        assert_eq!(gave_up(&error).verdict().processed(), Processed::No);
    }
    assert_eq!((handle.state(), log.calls()), (State::Open, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_post_that_waited_for_readiness_is_retried() {
    let upstream = Upstream::new([answer(201)]);
    let log = upstream.log();
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let mut holder = limit.layer(upstream.clone());
    ServiceExt::<Request<Body>>::ready(&mut holder).await.unwrap();
    let stack = ServiceBuilder::new()
        .layer(layer().attempt_timeout(SECOND))
        .layer(CircuitBreakerLayer::new_for_http())
        .layer(&limit)
        .service(upstream);
    let call = tokio::spawn(stack.oneshot(post("5 euros")));
    tokio::time::sleep(1_500 * MS).await;
    drop(holder);
    let response = call.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (201, (2, None)));
    assert_eq!(log.bodies(), ["5 euros"]);
}

/// The first call of the inner layer may have been processed; that the second waits for readiness proves nothing.
#[tokio::test(start_paused = true)]
async fn rule_6_an_outer_layer_counts_the_attempts_of_an_inner_one_as_sent() {
    let upstream = Upstream::new([answer(503), answer(200)]);
    let log = upstream.log();
    let calls = Arc::new(AtomicUsize::new(0));
    // Ready for one call, and then never again.
    let once = service_fn({
        let calls = calls.clone();
        move |request: Request<ReplayBody<ReplayBody<Body>>>| {
            calls.fetch_add(1, Ordering::Relaxed);
            upstream.clone().oneshot(request)
        }
    });
    let gated = Gated { inner: once, calls };
    let stack = ServiceBuilder::new()
        .layer(layer().max_attempts(2).attempt_timeout(SECOND))
        .layer(layer().max_attempts(2).idempotent(|_| true))
        .layer(CircuitBreakerLayer::new_for_http())
        .service(gated);
    let error = stack.oneshot(post("5 euros")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), log.calls()), (GiveUp::NotIdempotent, 1));
    assert_eq!(gave_up(&error).verdict().processed(), Processed::Maybe);
}

/// As a client that follows redirects does it: the POST was answered with 303, and the GET that follows waits.
#[tokio::test(start_paused = true)]
async fn rule_6_a_waiting_second_request_proves_nothing_about_the_first() {
    // Also below another retry layer, whose own time limit asks what was sent.
    for inner_retry in [false, true] {
        let upstream = Upstream::new([answer(303)]);
        let log = upstream.log();
        let limit = GlobalConcurrencyLimitLayer::new(1);
        let mut holder = limit.layer(upstream.clone());
        let _place = ServiceExt::<Request<ReplayBody<Body>>>::ready(&mut holder).await.unwrap();
        let breaker = CircuitBreakerLayer::new_for_http().layer(limit.layer(upstream.clone()));
        let inner = service_fn(move |request: Request<ReplayBody<Body>>| {
            let (upstream, breaker) = (upstream.clone(), breaker.clone());
            async move {
                upstream.oneshot(request).await?;
                if inner_retry {
                    layer().attempt_timeout(9 * SECOND).layer(breaker).oneshot(get()).await
                } else {
                    breaker.oneshot(get()).await
                }
            }
        });
        let error = layer().attempt_timeout(SECOND).layer(inner).oneshot(post("5 euros")).await.unwrap_err();
        assert_eq!((gave_up(&error).kind(), log.calls()), (GiveUp::NotIdempotent, 1), "{inner_retry}");
        assert_eq!(gave_up(&error).verdict().processed(), Processed::Maybe);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_post_that_waits_below_an_inner_retry_without_limits_is_unsent_too() {
    let upstream = Upstream::new([answer(201)]);
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let mut holder = limit.layer(upstream.clone());
    let _place = ServiceExt::<Request<Body>>::ready(&mut holder).await.unwrap();
    let stack = ServiceBuilder::new()
        .layer(layer().max_attempts(2).attempt_timeout(SECOND))
        .layer(layer())
        .layer(CircuitBreakerLayer::new_for_http())
        .layer(&limit)
        .service(upstream);
    let error = stack.oneshot(post("5 euros")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Exhausted, 2));
    assert_eq!(gave_up(&error).verdict().processed(), Processed::No);
}

#[derive(Clone)]
struct Gated<S> {
    inner: S,
    calls: Arc<AtomicUsize>,
}

impl<S, Req> Service<Req> for Gated<S>
where
    S: Service<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.calls.load(Ordering::Relaxed) > 0 { Poll::Pending } else { self.inner.poll_ready(cx) }
    }

    fn call(&mut self, request: Req) -> S::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_every_attempt_carries_the_limits_of_the_layer() {
    let seen = std::sync::Mutex::new(Vec::new());
    let inner = service_fn(|request: Request<ReplayBody<Body>>| {
        let call = request.extensions().get().map(|deadline: &Deadline| deadline.remaining().as_millis());
        let attempt = request.extensions().get().map(|deadline: &AttemptDeadline| deadline.remaining().as_millis());
        seen.lock().unwrap().push((call.unwrap(), attempt.unwrap()));
        async {
            tokio::time::sleep(100 * MS).await;
            Ok::<_, BoxError>(Response::builder().status(503).body(()).unwrap())
        }
    });
    let layer = layer().attempt_timeout(2 * SECOND).deadline(10 * SECOND);
    layer.layer(inner).oneshot(get()).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|(_, attempt)| *attempt == 2_000), "{seen:?}");
    // 100 ms for each attempt, then 100 and 200 of waiting.
    for ((call, _), expected) in seen.iter().zip([10_000, 9_800, 9_500]) {
        assert!((expected - 3..=expected).contains(call), "{seen:?}");
    }
}

/// The moment at which an attempt is cut is the earlier of those of all layers outside.
#[tokio::test(start_paused = true)]
async fn rule_6_an_inner_layer_leaves_the_attempt_timeout_of_an_outer_one_if_that_is_earlier() {
    for (inner_limit, expected) in [(5_000, [2_000, 1_900]), (1_500, [1_500, 1_500])] {
        let seen = std::sync::Mutex::new(Vec::new());
        let inner = service_fn(|request: Request<ReplayBody<ReplayBody<Body>>>| {
            let attempt = request.extensions().get().map(|deadline: &AttemptDeadline| deadline.remaining().as_millis());
            seen.lock().unwrap().push(attempt.unwrap());
            async { Ok::<_, BoxError>(Response::builder().status(503).body(()).unwrap()) }
        });
        let both = ServiceBuilder::new()
            .layer(layer().max_attempts(1).attempt_timeout(2 * SECOND))
            .layer(layer().max_attempts(2).attempt_timeout(inner_limit * MS));
        both.service(inner).oneshot(get()).await.unwrap();
        let seen = seen.into_inner().unwrap();
        assert!(
            seen.len() == 2 && seen.iter().zip(expected).all(|(seen, most)| (most - 3..=most).contains(seen)),
            "{seen:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_call_that_ends_before_its_attempt_gives_its_permit_back_at_once() {
    let limit = ConcurrencyLimitLayer::new(1);
    let stack = ServiceBuilder::new().layer(layer()).layer(&limit).service(Upstream::new([answer(200)]));
    let mut request = get();
    request.extensions_mut().insert(Deadline::within(SECOND));
    let mut first = stack.clone();
    let mut late = Box::pin(ServiceExt::<Request<Body>>::ready(&mut first).await.unwrap().call(request));
    tokio::time::advance(SECOND).await;
    assert!(late.as_mut().await.is_err());
    // The holder still has the only place, and no call waits for it.
    let response = tokio::time::timeout(SECOND, stack.oneshot(get())).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    drop(late);
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_wait_that_only_just_fits_the_deadline_does_not_lose_the_answer() {
    use tower_rampart::retry::Backoff;
    for (wait, status) in [(999_500, 503), (998_500, 503), (990_000, 200)] {
        let upstream = Upstream::new([answer(503), answer(200)]);
        let wait = std::time::Duration::from_micros(wait);
        let layer = layer().backoff(Backoff::fixed(wait)).deadline(SECOND);
        assert_eq!(send(layer, upstream, get()).await.unwrap().status().as_u16(), status, "{wait:?}");
    }
    // Nor for an attempt that has less time than the last answer took.
    let upstream = Upstream::new([answer(503).taking(400 * MS), answer(200).taking(400 * MS)]);
    let layer = layer().backoff(Backoff::fixed(300 * MS)).deadline(SECOND);
    let response = send(layer, upstream, get()).await.unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (503, (1, Some(GiveUp::Deadline))));
}
