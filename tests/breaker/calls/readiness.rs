use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_rampart::BoxError;
use tower_rampart::breaker::{CircuitBreaker, State, Window};
use tower_rampart::classify::Verdict;

use crate::support::*;

fn quick() -> Breakers {
    layer().window(Window::count(1)).open_for(10 * SECOND).half_open_max_calls(1).success_threshold(1)
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_rejection_gives_back_the_permit_of_a_concurrency_limit() {
    let layer = quick();
    let upstream = Upstream::default();
    let service = ServiceBuilder::new().layer(layer.clone()).concurrency_limit(1).service(upstream.clone());
    call(&service, Do::Fail).await;
    for _ in 0..100 {
        // Each from a clone that is ready, and is then kept.
        let mut kept = service.clone();
        let rejection = ServiceExt::<((), Do)>::ready(&mut kept).await.unwrap().call(((), Do::Succeed)).await;
        assert_eq!(outcome(rejection), rejected(State::Open, 10 * SECOND));
        std::mem::forget(kept);
    }
    advance(10 * SECOND).await;
    assert_eq!(call(&service, Do::Succeed).await, OK);
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_rejection_is_immediate_while_the_inner_service_is_not_ready() {
    let layer = quick();
    let upstream = Upstream::default();
    let service = ServiceBuilder::new().layer(layer.clone()).concurrency_limit(1).service(upstream.clone());
    let mut hung = begin(call(&service, Do::Hang));
    assert!(poll_once(hung.as_mut()).await.is_pending());
    let mut waiting = begin(call(&service, Do::Succeed));
    assert!(poll_once(waiting.as_mut()).await.is_pending(), "the only permit is taken");

    layer.breaker().force_open();
    let expected = Outcome::Rejected { state: State::Open, retry_after: None };
    assert_eq!(call(&service, Do::Succeed).now_or_never(), Some(expected.clone()));
    assert_eq!(poll_once(waiting.as_mut()).await, Poll::Ready(expected), "also one that was waiting already");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_probe_that_waits_for_readiness_holds_its_slot_on_a_lease_and_is_not_slow() {
    let layer = quick().slow_calls(SECOND, 1.0);
    let upstream = Upstream::default();
    let limit = ConcurrencyLimitLayer::new(1);
    let inner = limit.layer(upstream.clone());
    let service = layer.layer(inner.clone());
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;

    // Another has the permit for an hour.
    let mut other = inner.clone();
    ServiceExt::<((), Do)>::ready(&mut other).await.unwrap();
    let mut waiting = begin(call(&service, Do::Succeed));
    assert_eq!(layer.breaker().snapshot().generation, 1, "no probe begins before the first poll");
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    assert_eq!(layer.breaker().snapshot().generation, 2);
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::HalfOpen, 30 * SECOND));
    // Dropped, it frees its slot.
    drop(waiting);
    let mut waiting = begin(call(&service, Do::Succeed));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    advance(30 * SECOND).await;
    // Its lease is over: another takes the slot, and waits as well.
    let mut next = begin(call(&service, Do::Succeed));
    assert!(poll_once(next.as_mut()).await.is_pending());
    advance(3_600 * SECOND).await;
    drop(other);
    assert_eq!(waiting.await, OK);
    assert_eq!(layer.breaker().state(), State::Closed);
    assert_eq!((next.await, layer.breaker().snapshot().calls), (OK, 1), "admitted anew by the closed breaker");
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_call_that_waits_is_rejected_once_the_breaker_has_opened() {
    let layer = quick();
    let inner = ConcurrencyLimitLayer::new(1).layer(Upstream::default());
    let service = layer.layer(inner.clone());
    let mut other = inner.clone();
    ServiceExt::<((), Do)>::ready(&mut other).await.unwrap();
    let mut waiting = begin(call(&service, Do::Succeed));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    layer.breaker().try_acquire().unwrap().settle(Verdict::transient());
    assert_eq!(poll_once(waiting.as_mut()).await, Poll::Ready(rejected(State::Open, 10 * SECOND)));
    assert_eq!(layer.breaker().snapshot().totals.rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_call_that_waits_while_the_breaker_opens_and_closes_counts_in_the_new_state() {
    let layer = quick().window(Window::count(10));
    let inner = ConcurrencyLimitLayer::new(1).layer(Upstream::default());
    let service = layer.layer(inner.clone());
    let mut other = inner.clone();
    ServiceExt::<((), Do)>::ready(&mut other).await.unwrap();
    let mut waiting = begin(call(&service, Do::Succeed));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    layer.breaker().reset();
    drop(other);
    assert_eq!(waiting.await, OK);
    assert_eq!(layer.breaker().snapshot().calls, 1);
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_rejection_after_readiness_gives_it_back() {
    let layer = quick();
    let upstream = Upstream::default();
    let inner = ConcurrencyLimitLayer::new(2).layer(upstream.clone());
    let service = layer.layer(inner.clone());
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;
    let mut probe = begin(call(&service, Do::Hang));
    assert!(poll_once(probe.as_mut()).await.is_pending());
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::HalfOpen, 30 * SECOND));
    let mut other = inner.clone();
    let ready = ServiceExt::<((), Do)>::ready(&mut other).now_or_never();
    assert!(ready.is_some(), "the second permit is free");
}

/// A retry layer holds on to the future of an attempt while it waits; nothing of the inner service may wait with it.
#[tokio::test(start_paused = true)]
async fn rule_6_a_call_that_has_ended_holds_nothing_of_the_inner_service() {
    let limit = ConcurrencyLimitLayer::new(1);
    let inner = limit.layer(Upstream::default());
    let is_free = || ServiceExt::<((), Do)>::ready(&mut inner.clone()).now_or_never().is_some();
    let layer = quick();
    for (what, expected) in [(Do::Succeed, OK), (Do::Fail, Outcome::Failed("failed".into()))] {
        // As it is sent: the very service that was called is kept too.
        let mut service = layer.layer(inner.clone());
        let mut ended = begin(service.call(((), what)));
        let Poll::Ready(result) = poll_once(ended.as_mut()).await else { panic!("ready at once") };
        assert_eq!(outcome(result), expected);
        assert!(is_free(), "{what:?}");
        std::mem::forget((ended, service));
    }

    // Rejected at once; then while it waits for the only permit, with a place in the queue for it.
    let mut service = layer.layer(inner.clone());
    let mut ended = begin(service.call(((), Do::Succeed)));
    assert!(matches!(poll_once(ended.as_mut()).await, Poll::Ready(Err(_))));
    assert!(is_free(), "rejected at once");
    layer.breaker().reset();
    let mut other = inner.clone();
    ServiceExt::<((), Do)>::ready(&mut other).await.unwrap();
    let mut waiting = begin(service.call(((), Do::Succeed)));
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    layer.breaker().force_open();
    assert!(poll_once(waiting.as_mut()).await.is_ready());
    drop(other);
    assert!(is_free(), "rejected while it waited");
}

/// Is ready the third time it is asked, and opens the breaker outside it then. The first time is by the call itself.
#[derive(Clone)]
struct Opens(CircuitBreaker, Arc<AtomicUsize>);

impl Service<((), Do)> for Opens {
    type Response = Answer;
    type Error = BoxError;
    type Future = std::future::Pending<Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.1.fetch_add(1, Ordering::SeqCst) < 2 {
            return Poll::Pending;
        }
        self.0.force_open();
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: ((), Do)) -> Self::Future {
        std::future::pending()
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_breaker_that_opens_as_the_service_becomes_ready_gives_back_its_readiness() {
    let layer = quick();
    let inner = ConcurrencyLimitLayer::new(1).layer(Opens(layer.breaker(), Arc::default()));
    let mut service = layer.layer(inner.clone());
    let mut pending = begin(service.call(((), Do::Succeed)));
    assert!(poll_once(pending.as_mut()).await.is_pending());
    assert_eq!(
        poll_once(pending.as_mut()).await.map(outcome),
        Poll::Ready(Outcome::Rejected { state: State::Open, retry_after: None })
    );
    assert!(inner.clone().ready().now_or_never().is_some(), "although service and call are kept");
}

/// Fails in `poll_ready` until configured otherwise.
#[derive(Clone)]
struct Unready {
    fails: Arc<AtomicBool>,
    panics: bool,
    asked: Arc<AtomicUsize>,
}

impl Service<((), Do)> for Unready {
    type Response = Answer;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "on demand");
        if self.fails.load(Ordering::SeqCst) { Poll::Ready(Err("unready".into())) } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, _: ((), Do)) -> Self::Future {
        std::future::ready(Ok(Answer(tower_rampart::classify::Health::Success)))
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_readiness_error_counts_and_reaches_the_caller() {
    let layer = quick();
    let inner = Unready { fails: Arc::new(AtomicBool::new(true)), panics: false, asked: Arc::default() };
    let service = layer.layer(inner.clone());
    assert_eq!(call(&service, Do::Succeed).await, Outcome::Failed("unready".into()));
    assert_eq!(layer.breaker().state(), State::Open);
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, 10 * SECOND));
    assert_eq!(inner.asked.load(Ordering::SeqCst), 1, "a rejection asks nothing of the inner service");

    advance(10 * SECOND).await;
    assert_eq!(call(&service, Do::Succeed).await, Outcome::Failed("unready".into()));
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, 10 * SECOND), "a probe that failed");

    advance(10 * SECOND).await;
    inner.fails.store(false, Ordering::SeqCst);
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_panic_while_asking_for_readiness_is_a_failure() {
    let layer = quick();
    let service = layer.layer(Unready { fails: Arc::default(), panics: true, asked: Arc::default() });
    assert!(std::panic::AssertUnwindSafe(call(&service, Do::Succeed)).catch_unwind().await.is_err());
    assert_eq!(layer.breaker().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_6_the_service_is_always_ready() {
    let layer = quick();
    let mut service =
        layer.layer(Unready { fails: Arc::new(AtomicBool::new(true)), panics: false, asked: Arc::default() });
    layer.breaker().force_open();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
}

#[tokio::test(start_paused = true)]
async fn rule_6_retry_after_is_the_time_left() {
    let layer = quick();
    let (service, _) = over(&layer);
    call(&service, Do::Fail).await;
    for (pass, left) in [(0, 10_000), (1, 9_999), (4_999, 5_000), (4_999, 1)] {
        advance(pass * MS).await;
        assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, left * MS));
    }
    // Never less than what is left, also in the middle of a millisecond.
    advance(Duration::from_micros(500)).await;
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, MS));
    advance(Duration::from_micros(500)).await;
    assert_eq!(call(&service, Do::Succeed).await, OK);
}
