//! How often a call through the breaker asks for memory. Alone in its binary, because the allocator counts for all.

#![allow(clippy::unwrap_used)]

#[path = "support/counting.rs"]
mod counting;

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitBreaker, State, Window, partition};
use tower_rampart::classify::HttpClassifier;
use tower_rampart::retry::Deadline;

use self::counting::COUNT;

fn inner(request: Request<u16>) -> Ready<Result<Response<()>, Infallible>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(*request.body()).unwrap_or_default();
    ready(Ok(response))
}

/// The allocations of a call that is ready at once.
fn count<S: Service<Request<u16>>>(service: &mut S, request: Request<u16>) -> u64 {
    let before = COUNT.get().allocations;
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let outcome = pin!(service.call(request)).poll(&mut cx);
    let Poll::Ready(outcome) = outcome else { panic!("ready at once") };
    let count = COUNT.get().allocations - before;
    drop(outcome);
    count
}

fn request(status: u16, tenant: &HeaderValue) -> Request<u16> {
    // Not written as it is kept.
    Request::get("http://Upstream.example/")
        .header("x-tenant-id", tenant)
        .extension(7_u64)
        .extension(Deadline::within(Duration::from_secs(60)))
        .body(status)
        .unwrap()
}

fn closed<P: partition::Partition<Request<u16>> + Clone>(layer: CircuitBreakerLayer<HttpClassifier, P>) {
    let mut service = layer.layer(service_fn(inner));
    let tenant = HeaderValue::from_static("tenant-7");
    count(&mut service, request(200, &tenant));
    for status in [200, 503, 429, 421, 200, 200, 200, 200, 200, 200] {
        let request = request(status, &tenant);
        assert_eq!(count(&mut service, request), 0, "{layer:?}, {status}");
    }
}

#[test]
fn rule_8_the_closed_path_allocates_nothing() {
    let plain = || CircuitBreakerLayer::new_for_http().slow_calls(Duration::from_secs(1), 1.0).consecutive_failures(5);
    for window in [Window::count(100), Window::count(10_000), Window::default()] {
        closed(plain().window(window));
    }
}

#[test]
fn rule_8_a_call_without_tower_allocates_nothing() {
    let breaker = CircuitBreaker::builder().slow_calls(Duration::from_secs(1), 1.0).build();
    let mut cx = Context::from_waker(Waker::noop());
    for count in 0..10 {
        let before = COUNT.get().allocations;
        assert!(breaker.call(|| Ok::<_, Infallible>(())).is_ok());
        let call = pin!(breaker.call_async(|| ready(Ok::<_, Infallible>(count))));
        assert!(matches!(call.poll(&mut cx), Poll::Ready(Ok(_))));
        assert_eq!(COUNT.get().allocations, before);
    }
}

#[test]
fn partition_rule_1_a_hit_allocates_nothing() {
    let plain = CircuitBreakerLayer::new_for_http;
    closed(plain().partition_by(partition::header("x-tenant-id")));
    closed(plain().partition_by(partition::host()));
    closed(plain().partition_by(partition::by(|request: &Request<u16>| request.uri().path().len())));
    closed(plain().partition_by(partition::extension::<u64>()));
    closed(plain().partition_by(partition::header("x-tenant-id")).nested_in(partition::host(), 0.5));
    closed(plain().partition_by(partition::host()).nested_in(partition::header("x-tenant-id"), 0.5));
    closed(plain().partition_by(partition::header("x-none")).nested_in(partition::host(), 0.5));
    closed(plain().partition_by(partition::host()).nested_in(partition::header("x-none"), 0.5));
}

#[test]
fn partition_rule_1_a_nested_hit_allocates_nothing() {
    let mut service = CircuitBreakerLayer::new_for_http()
        .partition_by(partition::header("x-tenant-id"))
        .nested_in(partition::host(), 0.5)
        .layer(service_fn(inner));
    for (host, tenant) in [("upstream.example", Some("7")), ("Upstream.Example:8080", Some("8")), ("a.example", None)] {
        let request = |status| {
            let request = Request::get("/metrics").header("host", host);
            tenant
                .into_iter()
                .fold(request, |request, tenant| request.header("x-tenant-id", tenant))
                .body(status)
                .unwrap()
        };
        count(&mut service, request(200));
        for (call, status) in [200, 503, 429, 421, 200, 200, 200, 200].into_iter().enumerate() {
            let request = request(status);
            assert_eq!(count(&mut service, request), 0, "{host}, {tenant:?}, call {call}");
        }
    }
}

#[test]
fn partition_rule_1_a_host_from_the_header_allocates_nothing() {
    let mut service = CircuitBreakerLayer::new_for_http().partition_by(partition::host()).layer(service_fn(inner));
    for host in ["upstream.example:8080", "Upstream.Example:8080", &format!("{}.Example", "a".repeat(100))] {
        let request = || Request::get("/metrics").header("host", host).body(200).unwrap();
        count(&mut service, request());
        let request = request();
        assert_eq!(count(&mut service, request), 0, "{host}");
    }
}

#[test]
fn a_judged_body_allocates_nothing() {
    let slow = CircuitBreakerLayer::new_for_http().slow_calls(Duration::from_secs(1), 1.0);
    let mut service = slow.judge_body().layer(service_fn(|_: Request<u16>| {
        let body = Full::new(Bytes::from_static(b"metrics"));
        ready(Ok::<_, Infallible>(Response::new(body)))
    }));
    let mut cx = Context::from_waker(Waker::noop());
    // The breaker comes to life with its first call.
    assert!(pin!(service.call(Request::new(200))).poll(&mut cx).is_ready());
    for _ in 0..10 {
        let request = request(200, &HeaderValue::from_static("tenant-7"));
        let before = COUNT.get().allocations;
        let Poll::Ready(response) = pin!(service.call(request)).poll(&mut cx) else { panic!("ready at once") };
        let mut body = pin!(response.unwrap().into_body());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
            assert_eq!(frame.unwrap().into_data().unwrap(), "metrics");
        }
        assert_eq!(COUNT.get().allocations - before, 0);
    }
}

#[test]
fn rule_6_a_rejection_allocates_no_more_than_its_error() {
    let layer = CircuitBreakerLayer::new_for_http().minimum_calls(10);
    let layer = layer.partition_by(partition::header("x-tenant-id"));
    let tenant = HeaderValue::from_static("tenant-7");
    let mut service = layer.layer(service_fn(inner));
    for _ in 0..10 {
        count(&mut service, request(503, &tenant));
    }
    for _ in 0..10 {
        let request = request(200, &tenant);
        assert_eq!(count(&mut service, request), 1);
    }
}

/// Five of its words are the failures in a row, when the first of them ended, two of the totals, and later settings.
#[test]
fn a_partition_of_the_default_window_takes_at_most_312_bytes() {
    const KEYS: u64 = 65_536;
    let layer =
        CircuitBreakerLayer::new_for_http().partition_by(partition::by(|request: &Request<u64>| *request.body()));
    let mut service = layer.layer(service_fn(|_: Request<u64>| ready(Ok::<_, Infallible>(Response::new(())))));
    let mut cx = Context::from_waker(Waker::noop());
    let before = COUNT.get().live;
    for key in 0..KEYS {
        assert!(pin!(service.call(Request::new(key))).poll(&mut cx).is_ready());
    }
    assert_eq!(layer.handle().len(), KEYS as usize);
    let each = (COUNT.get().live - before) as f64 / KEYS as f64;
    println!("{each:.1} bytes a partition");
    assert!(each <= 312.0, "{each:.1} bytes");
}

#[test]
fn partition_rule_2_long_keys_take_no_more_than_short_ones() {
    const KEYS: u32 = 1_000;
    let layer = CircuitBreakerLayer::new_for_http().partition_by(partition::header("x-tenant-id"));
    let mut service = layer.layer(service_fn(inner));
    let tenant = |key: u32| HeaderValue::try_from(format!("{key:08192}")).unwrap();
    let before = COUNT.get().live;
    for key in 0..KEYS {
        count(&mut service, request(200, &tenant(key)));
    }
    assert_eq!(layer.handle().len(), KEYS as usize);
    let each = (COUNT.get().live - before) as f64 / f64::from(KEYS);
    println!("{each:.1} bytes a partition of a long key");
    assert!(each <= 432.0, "{each:.1} bytes");
    for key in 0..KEYS {
        let request = request(200, &tenant(key));
        assert_eq!(count(&mut service, request), 0, "a hit allocates nothing");
    }
    assert_eq!(layer.handle().len(), KEYS as usize);
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_two_million_keys_pass_through_the_default_cap_in_bounded_memory() {
    const CAP: usize = 65_536;
    const OPEN: u64 = 100;
    let layer = CircuitBreakerLayer::new_for_http()
        .partition_by(partition::by(|request: &Request<u64>| *request.body()))
        .window(Window::time(Duration::from_secs(10)))
        .minimum_calls(1)
        .open_for(Duration::from_secs(36_000));
    let breakers = layer.handle();
    let mut service = layer.layer(service_fn(|request: Request<u64>| {
        let mut response = Response::new(());
        if *request.body() < OPEN {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        ready(Ok::<_, Infallible>(response))
    }));
    let mut cx = Context::from_waker(Waker::noop());
    let before = COUNT.get().live;
    let (mut most, mut most_bytes) = (0, 0);
    for key in 0..2_000_000 {
        assert!(pin!(service.call(Request::new(key))).poll(&mut cx).is_ready());
        if key % 50_000 == 0 {
            most = most.max(breakers.len());
            most_bytes = most_bytes.max(COUNT.get().live - before);
            tokio::time::advance(Duration::from_secs(5)).await;
        }
    }
    println!("{most} partitions, {most_bytes} bytes");
    assert!(most <= CAP && most > CAP / 2, "{most}");
    // What is forgotten is freed a little later.
    assert!(most_bytes <= 316 * CAP as i64, "{most_bytes} bytes");
    for key in 0..OPEN {
        assert_eq!(breakers.state(&key), State::Open, "{key}");
    }
}
