//! What hedges mean to the layers around the retry layer, and inside it.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::{Abandoned, State};
use tower_rampart::classify::{Class, Counters, HttpClassifier, Processed, Reason, Verdict, classifier_fn};
use tower_rampart::retry::{Budget, GiveUp, Hedge, InboundRetries, ReplayBody, RetryGuard, RetryReport};
use tower_rampart::{BoxError, CircuitBreakerLayer, ClassifyLayer, RetryLayer};

use super::{DELAY, hedged, run};
use crate::observe::telemetry::lines_of;
use crate::support::*;

/// The hedge was given back and waits for its retry, and so proves nothing about the attempt that was sent.
#[tokio::test(start_paused = true)]
async fn rule_6_an_outer_layer_counts_a_hedged_call_as_sent_while_its_hedge_is_not() {
    let refused = || given_back(Reason::REFUSED_STREAM, Processed::No);
    let upstream = Upstream::new([hang(), refused(), refused()]);
    let log = upstream.log();
    let stack = ServiceBuilder::new()
        .layer(layer().max_attempts(1).attempt_timeout(SECOND))
        .layer(hedged())
        .layer(layer().backoff(10 * SECOND))
        .service(upstream);
    let error = stack.oneshot(get()).await.unwrap_err();
    assert_eq!((gave_up(&error).verdict().processed(), log.calls()), (Processed::Maybe, 3));
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_loser_is_neutral_to_a_breaker_and_to_counters_inside() {
    let counters = Counters::new();
    let breaker = CircuitBreakerLayer::new_for_http();
    let handle = breaker.breaker();
    for _ in 0..10 {
        let stack = ServiceBuilder::new()
            .layer(layer().attempt_timeout(SECOND).deadline(2 * SECOND).hedge(Hedge::after(DELAY)))
            .layer(&breaker)
            .layer(ClassifyLayer::new(HttpClassifier::new()).counters(&counters))
            .service(Upstream::new([hang(), answer(200)]));
        stack.oneshot(get()).await.unwrap();
    }
    let seen = handle.snapshot();
    assert_eq!((seen.state, seen.calls, seen.failures), (State::Closed, 10, 0), "the hedges alone count");
    let counted = [(Class::Success, Reason::UNKNOWN), (Class::Transient, Reason::TIMEOUT)];
    assert_eq!(counted.map(|(class, reason)| counters.count(class, reason)), [10, 0], "a loser is no timeout");
}

/// Who dropped it makes no difference: it took longer than the user allows.
#[tokio::test(start_paused = true)]
async fn rule_13_a_loser_that_ran_longer_than_the_breaker_allows_has_failed() {
    let breaker = CircuitBreakerLayer::new_for_http().abandoned(Abandoned::FailureAfter(DELAY / 2));
    let handle = breaker.breaker();
    let stack = ServiceBuilder::new().layer(hedged()).layer(breaker).service(Upstream::new([hang(), answer(200)]));
    stack.oneshot(get()).await.unwrap();
    assert_eq!((handle.snapshot().calls, handle.snapshot().failures), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_deadline_or_an_outer_cut_of_both_is_two_timeouts() {
    for outer in [false, true] {
        let breaker = CircuitBreakerLayer::new_for_http();
        let handle = breaker.breaker();
        let inner = if outer { layer() } else { layer().deadline(SECOND) };
        let stack = ServiceBuilder::new()
            .layer(layer().max_attempts(1).attempt_timeout(2 * SECOND))
            .layer(inner.hedge(Hedge::after(DELAY)))
            .layer(breaker)
            .service(Upstream::new([hang()]));
        stack.oneshot(get()).await.unwrap_err();
        assert_eq!((handle.snapshot().calls, handle.snapshot().failures), (2, 2), "outer: {outer}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_caller_who_leaves_is_neutral_to_both() {
    let breaker = CircuitBreakerLayer::new_for_http();
    let handle = breaker.breaker();
    let stack = ServiceBuilder::new().layer(hedged()).layer(breaker).service(Upstream::new([hang()]));
    tokio::time::timeout(SECOND, stack.oneshot(get())).await.unwrap_err();
    assert_eq!(handle.snapshot().calls, 0);
}

/// An open breaker rejects the hedge, and a half-open one too: it counts as no attempt and costs nothing.
#[tokio::test(start_paused = true)]
async fn rule_13_nothing_is_hedged_while_the_breaker_is_not_closed() {
    for half_open in [false, true] {
        let breaker = CircuitBreakerLayer::new_for_http().open_for(2 * SECOND);
        let handle = breaker.breaker();
        let budget = Budget::ratio(0.0).reserve(5).ttl(Duration::MAX);
        let upstream = Upstream::new([answer(200).taking(4 * SECOND)]);
        let log = upstream.log();
        let hedged = layer().budget(budget.clone()).hedge(Hedge::after(if half_open { 3 * SECOND } else { SECOND }));
        let mut call = pin!(hedged.layer(breaker.layer(upstream)).oneshot(get()));
        assert!(poll_once(call.as_mut()).is_pending());
        (0..20).for_each(|_| handle.try_acquire().unwrap().settle(Class::Transient));
        assert_eq!(handle.state(), State::Open);

        let response = call.await.unwrap();
        assert_eq!((log.calls(), log.elapsed()), (1, 4 * SECOND));
        assert!(RetryReport::of(&response).is_none());
        assert_eq!(budget.balance(), Some(5.0));
        let probe = handle.try_acquire().expect("the slot of a probe is free");
        drop(probe);
    }
}

/// The same without extensions.
#[tokio::test(start_paused = true)]
async fn rule_13_nor_for_requests_of_another_type() {
    let classifier = classifier_fn(|_: Result<&u32, _>| Verdict::success());
    let breaker = CircuitBreakerLayer::new(classifier).open_for(2 * SECOND);
    let handle = breaker.breaker();
    let calls = AtomicU32::new(0);
    let inner = service_fn(|_: u32| {
        let number = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(4 * SECOND).await;
            Ok::<_, BoxError>(number)
        }
    });
    let hedged = RetryLayer::new(classifier).hedge(Hedge::after(3 * SECOND));
    let mut call = pin!(hedged.layer(breaker.layer(inner)).oneshot(7));
    assert!(poll_once(call.as_mut()).is_pending());
    (0..20).for_each(|_| handle.try_acquire().unwrap().settle(Class::Transient));
    assert_eq!(call.await.unwrap(), 0);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_hedge_waits_for_a_ready_service_and_costs_nothing_if_it_never_comes() {
    let places = std::sync::Arc::new(Semaphore::new(1));
    let budget = Budget::ratio(0.0).reserve(5);
    let upstream = Upstream::new([answer(200).taking(SECOND)]);
    let log = upstream.log();
    let stack = ServiceBuilder::new()
        .layer(layer().budget(budget.clone()).hedge(Hedge::after(DELAY)))
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(places.clone()))
        .service(upstream);
    let response = stack.clone().oneshot(get()).await.unwrap();
    assert_eq!((log.calls(), budget.balance()), (1, Some(5.0)));
    assert!(RetryReport::of(&response).is_none());

    // With a place that becomes free at 200 ms.
    places.add_permits(1);
    let taken = places.clone().acquire_owned().await.unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(200 * MS).await;
        drop(taken);
    });
    let start = log.elapsed();
    stack.oneshot(get()).await.unwrap();
    let sent: Vec<_> = log.seen().iter().skip(1).map(|seen| seen.at - start).collect();
    assert_eq!((sent, budget.balance()), (vec![Duration::ZERO, 200 * MS], Some(4.0)));
    assert_eq!(places.available_permits(), 2);
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_request_that_cannot_be_hedged_takes_no_second_place() {
    let places = std::sync::Arc::new(Semaphore::new(2));
    let stack = ServiceBuilder::new()
        .layer(hedged())
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(places.clone()))
        .service(Upstream::new([answer(200).taking(SECOND)]));
    let body = Chunks::of(["one "]).then(Chunk::Stall);
    let mut call = pin!(stack.oneshot(Request::put("/").body(body).unwrap()));
    tokio::time::timeout(2 * DELAY, call.as_mut()).await.unwrap_err();
    assert_eq!(places.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_call_that_is_dropped_while_its_hedge_waits_gives_the_token_back() {
    let budget = Budget::ratio(0.0).reserve(5);
    let stack = ServiceBuilder::new()
        .layer(layer().budget(budget.clone()).hedge(Hedge::after(DELAY)))
        .concurrency_limit(1)
        .service(Upstream::new([hang()]));
    let mut call = Box::pin(stack.oneshot(get()));
    assert!(poll_once(call.as_mut()).is_pending());
    tokio::time::advance(DELAY).await;
    assert!(poll_once(call.as_mut()).is_pending());
    assert_eq!(budget.balance(), Some(4.0));
    drop(call);
    assert_eq!(budget.balance(), Some(5.0));
}

/// A panic in the hedge reaches the caller, and neither attempt goes on.
#[tokio::test(start_paused = true)]
async fn rule_13_a_hedge_that_panics() {
    for in_call in [false, true] {
        let calls = AtomicU32::new(0);
        let breaker = CircuitBreakerLayer::new_for_http();
        let handle = breaker.breaker();
        let inner = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| {
            let number = calls.fetch_add(1, Ordering::Relaxed);
            assert!(!(in_call && number == 1), "in call");
            async move {
                assert_ne!(number, 1, "in poll");
                std::future::pending::<Result<Response<()>, BoxError>>().await
            }
        });
        let mut call = Box::pin(AssertUnwindSafe(hedged().layer(breaker.layer(inner)).oneshot(get())).catch_unwind());
        assert!(call.as_mut().now_or_never().is_none());
        tokio::time::advance(DELAY).await;
        assert!(call.as_mut().now_or_never().unwrap().is_err());
        drop(call);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert_eq!((handle.snapshot().calls, handle.snapshot().failures), (1, 1), "the panic");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_service_that_fails_to_become_ready_for_a_hedge_leaves_the_first_attempt_alone() {
    #[derive(Clone)]
    struct Once(u32);
    impl tower::Service<()> for Once {
        type Response = ();
        type Error = BoxError;
        type Future = futures_util::future::BoxFuture<'static, Result<(), BoxError>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), BoxError>> {
            self.0 += 1;
            Poll::Ready(if self.0 == 1 { Ok(()) } else { Err("closed".into()) })
        }

        fn call(&mut self, (): ()) -> Self::Future {
            Box::pin(async {
                tokio::time::sleep(SECOND).await;
                Ok(())
            })
        }
    }
    let layer = RetryLayer::new(classifier_fn(|_: Result<&(), _>| Verdict::success())).hedge(Hedge::after(DELAY));
    layer.layer(Once(0)).oneshot(()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rule_13_an_answer_that_forbids_a_retry_waits_for_the_other_and_forbids_it_then_too() {
    use tower_rampart::classify::GrpcClassifier;
    let forbids = || answer(200).header("grpc-status", 14).header("grpc-retry-pushback-ms", -1).taking(60 * MS);
    for (second, code, gave_up) in [("0", "0", None), ("14", "14", Some(GiveUp::NotRetryable))] {
        let layer = layer().classifier(GrpcClassifier::new()).hedge(Hedge::after(DELAY));
        let steps = [forbids(), answer(200).header("grpc-status", second).taking(100 * MS), answer(200)];
        let (outcome, took, sent) = run_as(layer, steps).await;
        let response = outcome.unwrap();
        assert_eq!((response.headers()["grpc-status"].to_str().unwrap(), took, sent), (code, 150 * MS, 2));
        assert_eq!(report(&response).1, gave_up);
    }
}

async fn run_as<C>(
    layer: tower_rampart::retry::HedgedRetryLayer<C>,
    steps: impl IntoIterator<Item = Step>,
) -> (Result<Response<Full<Bytes>>, BoxError>, Duration, usize)
where
    C: tower_rampart::classify::Classifier<Response<Full<Bytes>>> + Clone,
{
    let upstream = Upstream::new(steps);
    let log = upstream.log();
    (layer.layer(upstream).oneshot(get()).await, log.elapsed(), log.calls())
}

#[tokio::test(start_paused = true)]
async fn rule_13_telemetry_marks_a_hedge() {
    let lines = lines_of(async {
        let _ = run(hedged(), [answer(200).taking(SECOND), answer(200)], get()).await;
    });
    let expected = "DEBUG tower_rampart::retry message=retrying name=\"default\" attempt=1 wait_ms=0 hedge=true \
                    reason=\"slow\" method=\"GET\"";
    assert_eq!(lines.await, [expected]);
}

#[tokio::test(start_paused = true)]
async fn rule_13_what_tiers_above_retry_is_not_hedged() {
    let mut marks = http::HeaderMap::new();
    marks.insert("x-envoy-attempt-count", "2".parse().unwrap());
    for (guard, calls) in [(false, 2), (true, 1)] {
        let layer = if guard { layer().guard(RetryGuard::new()) } else { layer() };
        let upstream = Upstream::new([answer(200).taking(200 * MS)]);
        let log = upstream.log();
        let mut request = get();
        request.extensions_mut().insert(InboundRetries::from_headers(&marks));
        layer.hedge(Hedge::after(DELAY)).layer(upstream).oneshot(request).await.unwrap();
        assert_eq!(log.calls(), calls, "guard: {guard}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_hedge_has_the_attempt_timeout_of_its_own_number() {
    let layer = layer().attempt_timeout_by(|attempt, _| attempt.number() * 100 * MS).max_attempts(2);
    let upstream = Upstream::new([hang()]);
    let log = upstream.log();
    let error = layer.hedge(Hedge::after(DELAY)).layer(upstream).oneshot(get()).await.unwrap_err();
    // The first is cut at 100 ms, and its hedge 200 ms after it began.
    assert_eq!((log.calls(), log.elapsed()), (2, 250 * MS));
    assert_eq!(gave_up(&error).attempts(), 2);
}
