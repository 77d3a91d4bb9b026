//! A client with middlewares inside a stack.

use std::time::Duration;

use reqwest_middleware::ClientBuilder;
use tokio::time::Instant;
use tower::ServiceBuilder;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitOpen, State, partition};
use tower_rampart::clients::reqwest::SendExt;
use tower_rampart::clients::reqwest_middleware::MiddlewareService;
use tower_rampart::retry::{Attempt, Deadline, GiveUp, RetryError, RetryReport};

use super::super::service::{Stack, breaker, retry};
use super::super::upstream::{Act, Upstream, answer};
use super::{Around, one_request};

#[derive(Clone)]
struct Numbered(u32);

#[tokio::test]
async fn a_503_is_followed_by_a_success_and_extensions_go_both_ways() {
    let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
    let reqwest = one_request(reqwest::Client::builder());
    let number = |_: &_, extensions: &mut http::Extensions| {
        let attempt = extensions.get().map_or(1, |attempt: &Attempt| attempt.number());
        assert!(extensions.get::<Deadline>().is_some());
        extensions.insert(Numbered(attempt));
    };
    let client = ClientBuilder::new(reqwest.client().clone()).with(Around(number, |_: &_, _: &mut _| {})).build();
    let stack = ServiceBuilder::new().layer(retry()).service(MiddlewareService::new(client));
    let request = reqwest.client().get(upstream.url()).timeout(Duration::from_secs(60));
    let url = upstream.url();
    let response = tokio::spawn(async move { stack.send(request).await }).await.unwrap().unwrap();
    assert_eq!(response.extensions().get::<RetryReport>().unwrap().attempts(), 2);
    assert_eq!(response.extensions().get::<Numbered>().unwrap().0, 2);
    assert_eq!((response.status().as_u16(), response.url().as_str()), (200, &*url));
}

#[tokio::test]
async fn its_failures_open_the_circuit() {
    let upstream = Upstream::start(|_, _| Act::Reset).await;
    let reqwest = one_request(reqwest::Client::builder());
    let breaker = breaker();
    let breakers = breaker.handle();
    let service = MiddlewareService::new(reqwest.client().clone().into());
    let stack = ServiceBuilder::new().layer(breaker).service(service);
    for _ in 0..2 {
        stack.send(reqwest.client().get(upstream.url())).await.unwrap_err();
    }
    assert_eq!(breakers.default_partition().state(), State::Open);
    let error = stack.send(reqwest.client().get(upstream.url())).await.unwrap_err();
    assert!(CircuitOpen::find(&*error).is_some());
    assert_eq!(upstream.count(), 2);
}

/// Retry and breaker over a client with middlewares, which sends one request a call, and what builds its requests.
fn stack(breaker: CircuitBreakerLayer) -> (Stack, reqwest::Client) {
    let reqwest = one_request(reqwest::Client::builder());
    let client = reqwest.client().clone();
    let inside = MiddlewareService::new(client.clone().into()).over(&reqwest);
    let breaker = breaker.partition_by(partition::header("x-tenant-id"));
    (Stack::new(ServiceBuilder::new().layer(retry()).layer(breaker).service(inside)), client)
}

#[tokio::test]
async fn rule_8_a_stream_is_replayed() {
    let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
    let (stack, client) = stack(breaker());
    let stream = http_body_util::Full::new(bytes::Bytes::from_static(b"hello world"));
    let request = client.put(upstream.url()).body(reqwest::Body::wrap(stream));
    assert_eq!(stack.send(request).await.unwrap().status(), 200);
    assert_eq!(upstream.seen().iter().map(|seen| &*seen.body).collect::<Vec<_>>(), [b"hello world"; 2]);
}

#[tokio::test]
async fn a_failing_tenant_opens_its_own_circuit_alone() {
    let script = |_, head: &str| answer(if head.contains("x-tenant-id: bad") { "500 Oops" } else { "200 OK" });
    let upstream = Upstream::start(script).await;
    let (stack, client) = stack(breaker());
    let call = |tenant| stack.send(client.get(upstream.url()).header("x-tenant-id", tenant));
    assert!(CircuitOpen::find(&*call("bad").await.unwrap_err()).is_some());
    assert_eq!(call("good").await.unwrap().status(), 200);
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn the_deadline_of_a_call_spans_its_attempts() {
    let upstream = Upstream::answers([answer("503 Service Unavailable"), Act::Hang]).await;
    let (stack, client) = stack(breaker());
    let start = Instant::now();
    let call = tokio::spawn(stack.send(client.get(upstream.url()).timeout(Duration::from_secs(60))));
    upstream.hangs().await;
    tokio::time::pause();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(RetryError::find(&*error).unwrap().kind(), GiveUp::Deadline);
    assert_eq!((start.elapsed().as_secs(), upstream.count()), (60, 2));
    upstream.is_left().await;
}

#[tokio::test]
async fn a_cancelled_call_closes_its_connection_and_is_no_failure() {
    let upstream = Upstream::answers([Act::Hang]).await;
    let (stack, client) = stack(breaker().consecutive_failures(1));
    let call = tokio::spawn(stack.send(client.get(upstream.url())));
    upstream.hangs().await;
    call.abort();
    upstream.is_left().await;
    assert_eq!((stack.send(client.get(upstream.url())).await.unwrap().status().as_u16(), upstream.count()), (200, 2));
}
