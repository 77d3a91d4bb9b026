//! A timeout further outside drops the call; the deadline in its extensions says that it was one.

use std::convert::Infallible;
use std::future::{Pending, pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response};
use tower::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::partition::{self, Nested};
use tower_rampart::breaker::{Abandoned, Handle, State, Window};
use tower_rampart::classify::HttpClassifier;
use tower_rampart::retry::{Deadline, RetryLayer};

use crate::support::{MS, SECOND, advance, begin, poll_once, steady};

/// Never answers, and is never ready if so configured.
#[derive(Clone, Default)]
struct Hangs {
    in_readiness: Arc<AtomicBool>,
}

impl Service<Request<()>> for Hangs {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Pending<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.in_readiness.load(Ordering::SeqCst) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        pending()
    }
}

fn hangs(in_readiness: bool) -> Hangs {
    Hangs { in_readiness: Arc::new(AtomicBool::new(in_readiness)) }
}

fn request(deadline: Duration) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(Deadline::within(deadline));
    request
}

/// A call that is dropped after this time.
async fn dropped_after<S: Service<Request<()>>>(service: S, request: Request<()>, time: Duration) {
    let mut call = begin(service.oneshot(request));
    assert!(poll_once(call.as_mut()).await.is_pending());
    advance(time).await;
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_timeout_at_the_deadline_that_a_request_carries_opens_a_default_breaker() {
    for in_readiness in [false, true] {
        let layer = CircuitBreakerLayer::new_for_http();
        let service = TimeoutLayer::new(2 * SECOND).layer(layer.layer(hangs(in_readiness)));
        for _ in 0..10 {
            assert_eq!(layer.breaker().state(), State::Closed);
            let error = service.clone().oneshot(request(2 * SECOND)).await.unwrap_err();
            assert!(error.is::<tower::timeout::error::Elapsed>());
        }
        assert_eq!(layer.breaker().state(), State::Open, "in readiness: {in_readiness}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_drop_before_the_deadline_is_neutral() {
    for in_readiness in [false, true] {
        for (time, failures) in [(2 * SECOND - MS, 0), (2 * SECOND, 1), (3_600 * SECOND, 1)] {
            let layer = CircuitBreakerLayer::new_for_http();
            dropped_after(layer.layer(hangs(in_readiness)), request(2 * SECOND), time).await;
            let snapshot = layer.breaker().snapshot();
            assert_eq!((snapshot.calls, snapshot.failures), (failures, failures), "{in_readiness} {time:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_probe_at_its_deadline_opens_again() {
    for in_readiness in [false, true] {
        let layer = steady(CircuitBreakerLayer::new_for_http()).window(Window::count(1));
        let service = layer.layer(hangs(in_readiness));
        for generation in [1, 3, 5] {
            dropped_after(service.clone(), request(SECOND), SECOND).await;
            let snapshot = layer.breaker().snapshot();
            assert_eq!((snapshot.state, snapshot.generation), (State::Open, generation));
            advance(30 * SECOND).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_calls_cut_in_readiness_after_the_opening_were_not_rejected() {
    let layer = steady(CircuitBreakerLayer::new_for_http()).partition_by(partition::header("x-tenant-id"));
    let layer = layer.minimum_calls(1).nested_in(partition::host(), 0.5);
    let service = layer.layer(hangs(true));
    // A share of votes counts from then on.
    let _ = layer.handle().get_or_insert(&Nested::Outer(Authority::from_static("api.example").into()));
    advance(61 * SECOND).await;
    let mut calls = Vec::new();
    for tenant in ["1", "1", "2", "2", "3", "3", "4"] {
        let mut request = request(SECOND);
        *request.uri_mut() = http::Uri::from_static("http://api.example/");
        request.headers_mut().insert("x-tenant-id", http::HeaderValue::from_static(tenant));
        let mut call = begin(service.clone().oneshot(request));
        assert!(poll_once(call.as_mut()).await.is_pending());
        calls.push(call);
    }
    advance(SECOND).await;
    // Each first call opens its tenant, and those of three tenants the host. All were admitted before.
    drop(calls);
    let breakers: Vec<_> = layer.handle().iter().map(|breaker| breaker.snapshot()).collect();
    assert_eq!(breakers.iter().filter(|breaker| breaker.state == State::Open).count(), 5);
    assert_eq!(breakers.iter().map(|breaker| breaker.totals.rejected).collect::<Vec<_>>(), [0; 5]);
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_deadline_is_ignored_if_abandoned_is_neutral_or_requests_are_not_read() {
    let layer = CircuitBreakerLayer::new_for_http();
    let neutral = layer.clone().abandoned(Abandoned::Neutral);
    let blind = CircuitBreakerLayer::new(HttpClassifier::new());
    dropped_after(neutral.layer(hangs(false)), request(SECOND), SECOND).await;
    dropped_after(blind.layer(hangs(false)), request(SECOND), SECOND).await;
    assert_eq!((neutral.breaker().snapshot().calls, blind.breaker().snapshot().calls), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_deadline_that_lay_in_the_past_is_a_timeout() {
    let (layer, request) = (CircuitBreakerLayer::new_for_http(), request(Duration::ZERO));
    advance(SECOND).await;
    dropped_after(layer.layer(hangs(false)), request, Duration::ZERO).await;
    assert_eq!(layer.breaker().snapshot().failures, 1);
}

/// Whatever is done by hand meanwhile, and however the probe ends.
#[tokio::test(start_paused = true)]
async fn rule_4_a_probe_that_is_cut_dropped_or_leaked_keeps_no_place() {
    type Breakers = Handle<u8>;
    let by_hand: [fn(&Breakers); 6] = [
        |_| {},
        |breakers| assert!(breakers.force_open(&7)),
        |breakers| breakers.reset(&7),
        |breakers| assert!(breakers.disable(&7)),
        |breakers| assert!(breakers.remove(&7)),
        |breakers| assert!(breakers.observe(&7)),
    ];
    for (hand, act) in by_hand.into_iter().enumerate() {
        for end in ["cut", "dropped", "leaked"] {
            let layer = steady(CircuitBreakerLayer::new_for_http())
                .window(Window::count(1))
                .half_open_max_calls(1)
                .success_threshold(1);
            let layer = layer.partition_by(partition::by(|_: &Request<()>| 7_u8));
            let breakers = layer.handle();
            dropped_after(layer.layer(hangs(false)), request(SECOND), SECOND).await;
            advance(30 * SECOND).await;
            let mut probe = begin(layer.layer(hangs(false)).oneshot(request(SECOND)));
            assert!(poll_once(probe.as_mut()).await.is_pending());
            act(&breakers);
            match end {
                "cut" => {
                    advance(SECOND).await;
                    drop(probe);
                }
                "dropped" => drop(probe),
                _ => std::mem::forget(probe),
            }
            breakers.automatic(&7);
            // An open time, or a lease.
            advance(30 * SECOND).await;
            let well = layer.layer(service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(())))));
            assert!(well.oneshot(Request::new(())).await.is_ok(), "{hand}, {end}");
            assert_eq!(breakers.state(&7), State::Closed, "{hand}, {end}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_attempt_timeouts_open_the_host_of_three_tenants_and_fail_its_probe() {
    for in_readiness in [false, true] {
        let layer = steady(CircuitBreakerLayer::new_for_http());
        let layer = layer.minimum_calls(1).half_open_max_calls(1).success_threshold(1);
        let layer = layer.partition_by(partition::header("x-tenant-id")).nested_in(partition::host(), 0.5);
        let stack = RetryLayer::new_for_http().max_attempts(1).attempt_timeout(SECOND).clone_bodies();
        let stack = stack.layer(layer.layer(hangs(in_readiness)));
        let pull = |tenant| {
            let request = Request::get("http://api.example/").header("x-tenant-id", tenant).body(()).unwrap();
            stack.clone().oneshot(request)
        };
        let host = Nested::Outer(Authority::from_static("api.example").into());
        let host = layer.handle().get_or_insert(&host).unwrap();
        // A share of votes counts from then on.
        advance(61 * SECOND).await;
        for tenant in ["1", "2", "3"] {
            assert!(pull(tenant).await.is_err());
        }
        assert_eq!(host.state(), State::Open);
        advance(30 * SECOND).await;
        assert!(pull("4").await.is_err());
        assert_eq!(
            (host.state(), host.snapshot().generation),
            (State::HalfOpen, 2),
            "one tenant alone decides nothing"
        );
        advance(15 * SECOND).await;
        assert!(pull("5").await.is_err());
        assert_eq!((host.state(), host.snapshot().generation), (State::Open, 3), "in readiness: {in_readiness}");
    }
}
