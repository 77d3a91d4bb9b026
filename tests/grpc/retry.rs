//! What is tried again, and what is not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_rampart::classify::{Class, GrpcClassifier, Verdict};
use tower_rampart::retry::{
    Backoff, GiveUp, GrpcIdempotency, Idempotency, OnRetry, ReplayBodies, RetryError, RetryEvent, RetryReport,
};
use tower_rampart::{BoxError, CircuitBreakerLayer, ClassifyLayer, RetryLayer};

use crate::frames::{self, FIRST};
use crate::server::{Server, stall, unused_address};
use crate::upstream::{Answer, MESSAGE, Metadata, Upstream, call, client};

const PULL: &str = "/billing.Metrics/Pull";
const CHARGE: &str = "/billing.Accounts/Charge";

/// Two attempts, without a wait of its own.
fn layer() -> RetryLayer<GrpcClassifier, ReplayBodies<GrpcIdempotency>> {
    RetryLayer::new_for_grpc().max_attempts(2).backoff(Backoff::none()).no_budget()
}

async fn send<I, N>(
    layer: &RetryLayer<GrpcClassifier, ReplayBodies<I>, N>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, BoxError>
where
    I: Idempotency<http::request::Parts> + Clone,
    N: OnRetry + Clone,
{
    layer.layer(client()).oneshot(request).await
}

fn code<B>(response: &Response<B>) -> &str {
    response.headers().get("grpc-status").map_or("none", |code| code.to_str().unwrap())
}

#[tokio::test]
async fn unavailable_is_final_by_default_because_it_may_have_been_processed() {
    let upstream = Upstream::start(|_| Answer::unavailable()).await;
    let response = send(&layer(), upstream.call(PULL)).await.unwrap();
    assert_eq!((code(&response), upstream.requests()), ("14", 1));
    let report = RetryReport::of(&response).unwrap();
    assert_eq!((report.attempts(), report.gave_up()), (1, Some(GiveUp::NotIdempotent)));
}

#[tokio::test]
async fn unavailable_is_retried_if_idempotent_by_word() {
    let upstream = Upstream::start(|n| if n == 0 { Answer::unavailable() } else { Answer::ok() }).await;
    let layer = layer().idempotent(|head| head.uri.path() == PULL);
    let mut pull = upstream.call(PULL);
    pull.headers_mut().insert("grpc-timeout", "2S".parse().unwrap());
    let response = send(&layer, pull).await.unwrap();
    assert_eq!((code(&response), RetryReport::of(&response).unwrap().attempts()), ("none", 2));
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");

    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_eq!(request.body()[..], *MESSAGE);
        // What remains of two seconds, in microseconds.
        let timeout = request.headers()["grpc-timeout"].to_str().unwrap();
        let micros: u32 = timeout.strip_suffix('u').unwrap().parse().unwrap();
        assert!((1_000_000..2_000_000).contains(&micros), "{timeout}");
    }
}

#[tokio::test]
async fn the_word_is_asked_for_each_request() {
    let upstream = Upstream::start(|_| Answer::unavailable()).await;
    let layer = layer().idempotent(|head| head.uri.path() == PULL);
    send(&layer, upstream.call(CHARGE)).await.unwrap();
    assert_eq!(upstream.requests(), 1);
    send(&layer, upstream.call(PULL)).await.unwrap();
    assert_eq!(upstream.requests(), 3);
}

#[tokio::test]
async fn an_idempotency_key_counts() {
    let upstream = Upstream::start(|n| if n == 0 { Answer::unavailable() } else { Answer::ok() }).await;
    let mut charge = upstream.call(CHARGE);
    charge.headers_mut().insert("idempotency-key", "7f3a".parse().unwrap());
    let response = send(&layer(), charge).await.unwrap();
    assert_eq!((RetryReport::of(&response).unwrap().attempts(), upstream.requests()), (2, 2));
}

/// Takes requests from the first connection and answers with a GOAWAY that says that none was processed.
async fn recycling() -> (Server, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let server = Server::start({
        let connections = connections.clone();
        move |mut stream| {
            let connection = connections.fetch_add(1, Ordering::SeqCst);
            async move {
                frames::accept_request(&mut stream).await;
                if connection == 0 {
                    frames::go_away(&mut stream, 0, frames::NO_ERROR).await;
                } else {
                    let head = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0")];
                    frames::headers(&mut stream, FIRST, &head, true).await;
                }
                stall(stream).await;
            }
        }
    })
    .await;
    (server, connections)
}

#[tokio::test]
async fn goaway_proves_nothing_so_only_what_is_idempotent_goes_out_again() {
    let (server, connections) = recycling().await;
    let error = send(&layer(), call(&server, CHARGE)).await.unwrap_err();
    let gave_up = RetryError::find(&*error).unwrap();
    assert_eq!((gave_up.kind(), connections.load(Ordering::SeqCst)), (GiveUp::NotIdempotent, 1));

    let (server, connections) = recycling().await;
    let layer = layer().idempotent(|head| head.uri.path() == PULL);
    let response = send(&layer, call(&server, PULL)).await.unwrap();
    // At once, as the same attempt.
    assert_eq!((code(&response), RetryReport::of(&response).unwrap().attempts()), ("0", 1));
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn refused_connections_are_retried_by_default() {
    let uri = format!("http://{}{CHARGE}", unused_address().await);
    let error = send(&layer(), Request::post(uri).body(Full::default()).unwrap()).await.unwrap_err();
    let gave_up = RetryError::find(&*error).unwrap();
    assert_eq!((gave_up.kind(), gave_up.attempts()), (GiveUp::Exhausted, 2));
}

#[tokio::test]
async fn only_unavailable_and_deadline_exceeded_are_worth_another_attempt() {
    const CODES: [Metadata; 18] = [
        &[("grpc-status", "0")],
        &[("grpc-status", "1")],
        &[("grpc-status", "2")],
        &[("grpc-status", "3")],
        &[("grpc-status", "4")],
        &[("grpc-status", "5")],
        &[("grpc-status", "6")],
        &[("grpc-status", "7")],
        &[("grpc-status", "8")],
        &[("grpc-status", "9")],
        &[("grpc-status", "10")],
        &[("grpc-status", "11")],
        &[("grpc-status", "12")],
        &[("grpc-status", "13")],
        &[("grpc-status", "14")],
        &[("grpc-status", "15")],
        &[("grpc-status", "16")],
        &[("grpc-status", "17")],
    ];
    let layer = layer().idempotent(|_| true);
    for (code, head) in CODES.into_iter().enumerate() {
        let upstream = Upstream::start(move |_| Answer::TrailersOnly(head)).await;
        send(&layer, upstream.call(PULL)).await.unwrap();
        assert_eq!(upstream.requests(), if [4, 14].contains(&code) { 2 } else { 1 }, "{code}");
    }
}

// The clock is paused, and moves on its own while everything waits.
#[tokio::test(start_paused = true)]
async fn pushback_is_waited_for() {
    const EXHAUSTED: Metadata = &[("grpc-status", "8"), ("grpc-retry-pushback-ms", "7000")];
    const NOW: Metadata = &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "0")];
    for (head, wait) in [(EXHAUSTED, Duration::from_secs(7)), (NOW, Duration::ZERO)] {
        let upstream = Upstream::start(move |n| if n == 0 { Answer::TrailersOnly(head) } else { Answer::ok() }).await;
        let waits = Mutex::new(Vec::new());
        let layer =
            layer().idempotent(|_| true).on_retry(|event: &RetryEvent<'_>| waits.lock().unwrap().push(event.wait()));
        let started = Instant::now();
        send(&layer, upstream.call(PULL)).await.unwrap();
        assert_eq!((waits.lock().unwrap().as_slice(), upstream.requests()), (&[wait][..], 2));
        assert_eq!(started.elapsed().as_secs(), wait.as_secs());
    }
}

#[tokio::test]
async fn pushback_forbids_another_attempt() {
    const FORBIDDING: [Metadata; 4] = [
        &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")],
        &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "soon")],
        &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "")],
        &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "10"), ("grpc-retry-pushback-ms", "10")],
    ];
    let layer = layer().idempotent(|_| true);
    for head in FORBIDDING {
        let upstream = Upstream::start(move |_| Answer::TrailersOnly(head)).await;
        let response = send(&layer, upstream.call(PULL)).await.unwrap();
        assert_eq!((code(&response), upstream.requests()), ("14", 1), "{head:?}");
    }
}

#[tokio::test]
async fn resource_exhausted_without_a_hint_is_final() {
    let upstream = Upstream::start(|_| Answer::TrailersOnly(&[("grpc-status", "8")])).await;
    let response = send(&layer().idempotent(|_| true), upstream.call(PULL)).await.unwrap();
    assert_eq!((code(&response), upstream.requests()), ("8", 1));
}

/// A stream is the caller's from its head on, whatever its trailers say.
#[tokio::test]
async fn a_stream_is_never_retried() {
    let upstream = Upstream::start(|_| Answer::Stream(Some(&[("grpc-status", "14")]))).await;
    let response = send(&layer().idempotent(|_| true), upstream.call(PULL)).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "14");
    assert_eq!(upstream.requests(), 1);
}

/// Through all three layers: the server sends its first message only when the caller has the head.
#[tokio::test]
async fn a_streaming_head_is_never_held_back() {
    let (go, held) = oneshot::channel();
    let mut held = Some(held);
    let upstream = Upstream::start(move |_| match held.take() {
        Some(held) => Answer::Held(held, &[("grpc-status", "0")]),
        None => Answer::unavailable(),
    })
    .await;
    let breaker = CircuitBreakerLayer::new_for_grpc().judge_body();
    let one = breaker.breaker();
    let service = ServiceBuilder::new()
        .layer(layer().idempotent(|_| true))
        .layer(breaker)
        .layer(ClassifyLayer::new_for_grpc().judge_body())
        .service(client());

    let response = service.oneshot(upstream.call(PULL)).await.unwrap();
    assert_eq!((Verdict::of(&response).class(), one.snapshot().calls), (Class::Success, 0));
    go.send(()).unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), MESSAGE);
    assert_eq!((one.snapshot().calls, one.snapshot().failures), (1, 0));
}

/// Every attempt is a call of the breaker, and each settles once: at its head, or at the end of its body.
#[tokio::test]
async fn retry_outside_a_breaker_that_judges_bodies() {
    let upstream = Upstream::start(|n| if n == 0 { Answer::unavailable() } else { Answer::ok() }).await;
    let breaker = CircuitBreakerLayer::new_for_grpc().judge_body();
    let one = breaker.breaker();
    let counts = || (one.snapshot().calls, one.snapshot().failures);
    let service = ServiceBuilder::new().layer(layer().idempotent(|_| true)).layer(breaker).service(client());
    let response = service.oneshot(upstream.call(PULL)).await.unwrap();
    assert_eq!((RetryReport::of(&response).unwrap().attempts(), counts()), (2, (1, 1)));
    response.into_body().collect().await.unwrap();
    assert_eq!(counts(), (2, 1));
}
