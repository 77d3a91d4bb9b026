use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_rampart::breaker::{Abandoned, CircuitBreaker, State, Window};
use tower_rampart::classify::{Health, Verdict, classifier_fn};
use tower_rampart::{BoxError, CircuitBreakerLayer};

use crate::support::*;

fn quick() -> Breakers {
    layer().window(Window::count(1)).open_for(10 * SECOND).half_open_max_calls(1).success_threshold(1)
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_dropped_call_teaches_nothing() {
    let layer = layer().window(Window::count(10)).minimum_calls(1);
    let (service, upstream) = over(&layer);
    for _ in 0..100 {
        let mut dropped = begin(call(&service, Do::Hang));
        assert!(poll_once(dropped.as_mut()).await.is_pending());
        advance(3_600 * SECOND).await;
    }
    let snapshot = layer.breaker().snapshot();
    assert_eq!((snapshot.state, snapshot.calls, upstream.calls(), upstream.in_flight()), (State::Closed, 0, 100, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_hang_that_an_outer_timeout_cut_is_a_failure() {
    let layer = layer().minimum_calls(4).slow_calls(SECOND, 1.0);
    let (service, _) = over(&layer);
    let service = tower::timeout::TimeoutLayer::new(2 * SECOND).layer(service);
    for _ in 0..4 {
        assert_eq!(layer.breaker().state(), State::Closed);
        let result = service.clone().oneshot(((), Do::Hang)).await;
        assert!(result.is_err_and(|error| error.is::<tower::timeout::error::Elapsed>()));
    }
    assert_eq!(layer.breaker().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_drop_within_the_limit_of_slow_calls_is_neutral() {
    let layer = layer().minimum_calls(1).slow_calls(SECOND, 1.0);
    let (service, _) = over(&layer);
    let mut dropped = begin(call(&service, Do::Hang));
    assert!(poll_once(dropped.as_mut()).await.is_pending());
    advance(SECOND).await;
    drop(dropped);
    assert_eq!(layer.breaker().snapshot().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn rule_3_what_a_dropped_call_teaches_can_be_set() {
    for (abandoned, after, failures) in [
        (Abandoned::Neutral, 3_600 * SECOND, 0),
        (Abandoned::FailureAfter(5 * SECOND), 5 * SECOND, 0),
        (Abandoned::FailureAfter(5 * SECOND), 5 * SECOND + MS, 1),
        (Abandoned::FailureAfter(Duration::ZERO), Duration::ZERO, 1),
    ] {
        let layer = layer().slow_calls(SECOND, 1.0).abandoned(abandoned);
        let (service, _) = over(&layer);
        let mut dropped = begin(call(&service, Do::Hang));
        assert!(poll_once(dropped.as_mut()).await.is_pending());
        advance(after).await;
        drop(dropped);
        assert_eq!(layer.breaker().snapshot().failures, failures, "{abandoned:?} after {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_hung_probe_that_is_dropped_opens_again() {
    let layer = quick().slow_calls(SECOND, 1.0);
    let (service, _) = over(&layer);
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;
    let mut hung = begin(call(&service, Do::Hang));
    assert!(poll_once(hung.as_mut()).await.is_pending());
    advance(2 * SECOND).await;
    drop(hung);
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn rule_3_cancelled_before_the_first_poll_asks_nothing() {
    let layer = quick();
    let (service, upstream) = over(&layer);
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;
    for _ in 0..100 {
        drop(service.clone().call(((), Do::Succeed)));
    }
    assert_eq!((layer.breaker().snapshot().generation, upstream.calls()), (1, 1), "no probe has begun");
    assert_eq!(call(&service, Do::Succeed).await, OK);
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_panic_is_a_failure() {
    let layer = quick();
    let (service, _) = over(&layer);
    let caught = std::panic::AssertUnwindSafe(call(&service, Do::Panic)).catch_unwind().await;
    assert!(caught.is_err());
    assert_eq!(layer.breaker().state(), State::Open);

    advance(10 * SECOND).await;
    let task = tokio::spawn({
        let service = service.clone();
        async move { call(&service, Do::Panic).await }
    });
    assert!(task.await.is_err_and(|error| error.is_panic()));
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_panic_in_call_itself_is_a_failure() {
    let layer = quick();
    fn panics(_: ((), Do)) -> std::future::Ready<Result<Answer, BoxError>> {
        panic!("before there is a future")
    }
    let service = layer.layer(service_fn(panics));
    let caught = std::panic::AssertUnwindSafe(call(&service, Do::Succeed)).catch_unwind().await;
    assert!(caught.is_err());
    assert_eq!(layer.breaker().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_call_dropped_by_a_panic_elsewhere_teaches_nothing() {
    let layer = quick();
    let (service, _) = over(&layer);
    let caught = std::panic::AssertUnwindSafe(async {
        let mut hung = begin(call(&service, Do::Hang));
        assert!(poll_once(hung.as_mut()).await.is_pending());
        panic!("somebody else's");
    })
    .catch_unwind()
    .await;
    assert!(caught.is_err());
    assert_eq!((layer.breaker().state(), layer.breaker().snapshot().calls), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_panic_of_the_classifier_is_a_failure_and_is_settled_at_once() {
    fn judge(_: Result<&Answer, &(dyn std::error::Error + 'static)>) -> Verdict {
        panic!("cannot judge")
    }
    let layer = CircuitBreakerLayer::new(classifier_fn(judge)).window(Window::count(1));
    let (service, _) = over(&layer);
    for what in [Do::Succeed, Do::Fail] {
        let mut call = begin(std::panic::AssertUnwindSafe(call(&service, what)).catch_unwind());
        assert!(matches!(poll_once(call.as_mut()).await, Poll::Ready(Err(_))));
        assert_eq!(layer.breaker().state(), State::Open);
        layer.breaker().reset();
    }
}

#[test]
fn rule_3_a_permit_that_is_taken_during_a_panic_is_not_failed_by_it() {
    struct CleansUp(CircuitBreaker);

    impl Drop for CleansUp {
        fn drop(&mut self) {
            drop(self.0.try_acquire());
        }
    }

    let breaker = quick().breaker();
    let caught = std::panic::catch_unwind(|| {
        let _cleans_up = CleansUp(breaker.clone());
        panic!("on demand");
    });
    assert!(caught.is_err());
    assert_eq!((breaker.state(), breaker.snapshot().calls), (State::Closed, 0));
}

/// An inner future that is ready at once and panics when it is dropped.
struct PanicsInDrop(Option<Result<Answer, BoxError>>);

impl Future for PanicsInDrop {
    type Output = Result<Answer, BoxError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("on the way out");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_permit_settles_once_when_the_inner_future_panics_as_it_is_dropped() {
    // What it teaches: the answer was there, or was none; that of a call which was dropped before is not asked for.
    type Case = (fn() -> Option<Result<Answer, BoxError>>, (u64, u64));
    let cases: [Case; 3] =
        [(|| Some(Ok(Answer(Health::Success))), (0, 0)), (|| Some(Err("failed".into())), (1, 1)), (|| None, (0, 0))];
    for (answer, taught) in cases {
        let layer = layer().window(Window::count(10)).open_for(10 * SECOND).half_open_max_calls(1).success_threshold(1);
        let service = layer.layer(service_fn(move |_: ((), Do)| PanicsInDrop(answer())));
        let once = || {
            let mut call = begin(call(&service, Do::Succeed));
            async move {
                let polled = std::panic::AssertUnwindSafe(poll_once(call.as_mut())).catch_unwind().await;
                let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || drop(call)));
                polled.is_err() || dropped.is_err()
            }
        };
        assert!(once().await);
        let counts = layer.breaker().snapshot();
        assert_eq!((counts.calls, counts.failures), taught);

        // As a probe, of which there is but one place.
        let (healthy, _) = over(&layer);
        calls(&healthy, 10, Do::Fail).await;
        advance(10 * SECOND).await;
        assert!(once().await);
        match taught {
            (0, _) => assert_eq!(call(&healthy, Do::Succeed).await, OK, "the place is free"),
            _ => assert_eq!(call(&healthy, Do::Succeed).await, rejected(State::Open, 10 * SECOND)),
        }
    }
}
