//! What a breaker learns from gRPC, by the head and by the whole body.

use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitBreaker, CircuitOpen, State};
use tower_rampart::classify::{Class, GrpcClassifier};

use crate::frames::{self, FIRST};
use crate::server::{Server, stall};
use crate::steady::steady;
use crate::upstream::{Answer, Metadata, Upstream, call, client};

const PULL: &str = "/billing.Metrics/Pull";

fn counts(breaker: &CircuitBreaker) -> (u64, u64) {
    (breaker.snapshot().calls, breaker.snapshot().failures)
}

/// What a breaker that judges bodies has counted before and after the body of one answer was read.
async fn judged(answer: impl FnMut(usize) -> Answer + Send + 'static) -> [(u64, u64); 2] {
    judged_by(GrpcClassifier::new(), answer).await
}

async fn judged_by(
    classifier: GrpcClassifier,
    answer: impl FnMut(usize) -> Answer + Send + 'static,
) -> [(u64, u64); 2] {
    let upstream = Upstream::start(answer).await;
    let layer = CircuitBreakerLayer::new(classifier).judge_body();
    let response = layer.layer(client()).oneshot(upstream.call(PULL)).await.unwrap();
    let before = counts(&layer.breaker());
    response.into_body().collect().await.unwrap();
    [before, counts(&layer.breaker())]
}

#[tokio::test]
async fn a_stream_that_ends_unavailable_is_a_failure_for_who_judges_bodies() {
    let upstream = Upstream::start(|_| Answer::Stream(Some(&[("grpc-status", "14")]))).await;
    let layer = steady(CircuitBreakerLayer::new_for_grpc()).minimum_calls(10).judge_body();
    let (service, breaker) = (layer.layer(client()), layer.breaker());
    for call in 0..10 {
        assert_eq!((breaker.state(), counts(&breaker)), (State::Closed, (call, call)));
        let response = service.clone().oneshot(upstream.call(PULL)).await.unwrap();
        assert_eq!(counts(&breaker), (call, call));
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(breaker.state(), State::Open);
    let error = service.oneshot(upstream.call(PULL)).await.map(|_| ()).unwrap_err();
    assert!(CircuitOpen::find(&*error).is_some());
    assert_eq!(upstream.requests(), 10);
}

#[tokio::test]
async fn a_stream_that_ends_unavailable_is_a_success_for_who_looks_at_the_head() {
    let upstream = Upstream::start(|_| Answer::Stream(Some(&[("grpc-status", "14")]))).await;
    let layer = CircuitBreakerLayer::new_for_grpc();
    let service = layer.layer(client());
    for _ in 0..10 {
        let response = service.clone().oneshot(upstream.call(PULL)).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!((layer.breaker().state(), counts(&layer.breaker())), (State::Closed, (10, 0)));
}

#[tokio::test]
async fn trailers_only_settles_at_the_head() {
    assert_eq!(judged(|_| Answer::unavailable()).await, [(1, 1); 2]);
    assert_eq!(judged(|_| Answer::TrailersOnly(&[("grpc-status", "0")])).await, [(1, 0); 2]);
}

#[tokio::test]
async fn trailers_decide() {
    const OK: Metadata = &[("grpc-status", "0")];
    const CANCELLED: Metadata = &[("grpc-status", "1")];
    const NOT_FOUND: Metadata = &[("grpc-status", "5")];
    const RESOURCE_EXHAUSTED: Metadata = &[("grpc-status", "8")];
    const INTERNAL: Metadata = &[("grpc-status", "13")];
    for (trailers, expected) in
        [(OK, (1, 0)), (CANCELLED, (0, 0)), (NOT_FOUND, (1, 0)), (RESOURCE_EXHAUSTED, (1, 1)), (INTERNAL, (1, 1))]
    {
        assert_eq!(judged(move |_| Answer::Stream(Some(trailers))).await, [(0, 0), expected], "{trailers:?}");
    }
}

#[tokio::test]
async fn a_missing_status_is_a_failure() {
    assert_eq!(judged(|_| Answer::Stream(Some(&[("grpc-message", "oops")]))).await, [(0, 0), (1, 1)]);
    assert_eq!(judged(|_| Answer::Stream(None)).await, [(0, 0), (1, 1)]);
    // Not even a message: the stream has ended with its head, and so has the call.
    assert_eq!(judged(|_| Answer::TrailersOnly(&[])).await, [(1, 1); 2]);
}

#[tokio::test]
async fn overrides_hold_for_trailers() {
    let lenient = GrpcClassifier::new().code(13, Class::Terminal);
    let [_, after] = judged_by(lenient, |_| Answer::Stream(Some(&[("grpc-status", "13")]))).await;
    assert_eq!(after, (1, 0));
}

/// All messages were read, but the code was not.
#[tokio::test]
async fn dropped_before_its_trailers_is_neutral() {
    let upstream = Upstream::start(|_| Answer::ok()).await;
    let layer = CircuitBreakerLayer::new_for_grpc().judge_body();
    let response = layer.layer(client()).oneshot(upstream.call(PULL)).await.unwrap();
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    drop(body);
    assert_eq!(counts(&layer.breaker()), (0, 0));
}

#[tokio::test]
async fn a_stream_that_is_reset_is_a_failure() {
    let server = Server::start(|mut stream| async move {
        frames::accept_request(&mut stream).await;
        let head = [(":status", "200"), ("content-type", "application/grpc")];
        frames::headers(&mut stream, FIRST, &head, false).await;
        frames::reset_stream(&mut stream, FIRST, frames::INTERNAL_ERROR).await;
        stall(stream).await;
    })
    .await;
    let layer = CircuitBreakerLayer::new_for_grpc().judge_body();
    let response = layer.layer(client()).oneshot(call(&server, PULL)).await.unwrap();
    assert_eq!(counts(&layer.breaker()), (0, 0));
    response.into_body().collect().await.map(|_| ()).unwrap_err();
    assert_eq!(counts(&layer.breaker()), (1, 1));
}
