//! What a call through the breaker costs: closed with each window, by host and by header, and rejected.

#![allow(clippy::expect_used)]

#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Request, StatusCode, Uri};
use tower::Layer;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Window, partition};
use tower_rampart::classify::HttpClassifier;

use self::support::{Body, Inner, call, request};

const HOSTS: usize = 1_000;

fn breaker() -> CircuitBreakerLayer<HttpClassifier> {
    CircuitBreakerLayer::new_for_http().open_for(Duration::from_secs(3_600))
}

fn closed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker/closed");
    group.bench_function("bare", |bencher| {
        let mut service = Inner(StatusCode::OK);
        bencher.iter(|| call(&mut service, request()));
    });
    let windows = [
        ("last 100", Window::count(100)),
        ("last 10,000", Window::count(10_000)),
        ("60 s", Window::time(Duration::from_secs(60))),
        ("60 s in 60 buckets", Window::time(Duration::from_secs(60)).buckets(60)),
    ];
    for (name, window) in windows {
        let mut service = breaker().window(window).layer(Inner(StatusCode::OK));
        group.bench_function(name, |bencher| bencher.iter(|| call(&mut service, request())));
    }
    let slow = breaker().slow_calls(Duration::from_secs(1), 0.9).consecutive_failures(5);
    let mut service = slow.layer(Inner(StatusCode::OK));
    group.bench_function("60 s, slow calls and rows", |bencher| bencher.iter(|| call(&mut service, request())));
    group.finish();
}

fn partitioned(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker/partitioned");
    let hosts: Vec<_> = (0..HOSTS).map(to_host).collect();
    let mut host = hosts.iter().cycle();
    group.bench_function("bare by host", |bencher| {
        let mut service = Inner(StatusCode::OK);
        bencher.iter(|| call(&mut service, next(&mut host)));
    });
    let mut service = breaker().partition_by(partition::host()).layer(Inner(StatusCode::OK));
    group.bench_function("by host", |bencher| bencher.iter(|| call(&mut service, next(&mut host))));

    let tenants: Vec<_> = (0..HOSTS).map(of_tenant).collect();
    let mut tenant = tenants.iter().cycle();
    group.bench_function("bare by header", |bencher| {
        let mut service = Inner(StatusCode::OK);
        bencher.iter(|| call(&mut service, next(&mut tenant)));
    });
    let mut service = breaker().partition_by(partition::header("x-tenant-id")).layer(Inner(StatusCode::OK));
    group.bench_function("by header", |bencher| bencher.iter(|| call(&mut service, next(&mut tenant))));
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let layer = breaker();
    assert!(call(&mut layer.layer(Inner(StatusCode::OK)), request()).is_ok());
    let mut service = layer.layer(Inner(StatusCode::SERVICE_UNAVAILABLE));
    let rejected = (0..100).filter(|_| call(&mut service, request()).is_err()).count();
    assert!(rejected > 50, "half of eleven calls have failed by then, but only {rejected} were rejected");
    criterion.bench_function("breaker/open", |bencher| bencher.iter(|| call(&mut service, request())));
}

fn to_host(number: usize) -> Request<Body> {
    let uri = format!("http://tenant-{number:06}.api.example.com/");
    let mut request = request();
    *request.uri_mut() = Uri::try_from(uri).expect("a host makes a URI");
    request
}

fn of_tenant(number: usize) -> Request<Body> {
    let value = HeaderValue::try_from(format!("tenant-{number:06}")).expect("text makes a value");
    let mut request = request();
    request.headers_mut().insert("x-tenant-id", value);
    request
}

fn next<'a>(requests: &mut impl Iterator<Item = &'a Request<Body>>) -> Request<Body> {
    requests.next().expect("they go round").clone()
}

criterion_group!(benches, closed, partitioned, open);
criterion_main!(benches);
