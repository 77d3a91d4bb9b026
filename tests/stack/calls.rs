//! Whole calls of hyper's client: streaming uploads, the deadline, and callers who leave.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{Empty, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_rampart::breaker::State;
use tower_rampart::retry::{GiveUp, RetryError};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

use super::upstream::{Answer, Upstream};

fn client<B>(
    retry: RetryLayer,
    breaker: CircuitBreakerLayer,
) -> impl Service<Request<B>, Response = Response<Incoming>, Error = BoxError, Future: Send> + Clone
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build_http();
    ServiceBuilder::new().layer(retry.backoff(Duration::ZERO)).layer(breaker).service(client)
}

fn get(upstream: &Upstream) -> Request<Empty<Bytes>> {
    Request::get(upstream.uri()).body(Empty::new()).unwrap()
}

/// Waits until so many requests have arrived.
async fn arrived(upstream: &Upstream, requests: usize) {
    while upstream.requests() < requests {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_streaming_upload_is_replayed_whole_and_one_over_the_cap_is_sent_once() {
    for (chunks, attempts) in [(65, 2), (66, 1)] {
        let upstream = Upstream::start(|n| if n == 0 { Answer::status(503) } else { Answer::json() }).await;
        let frames = (0..chunks).map(|n| Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{n:0>1000}")))));
        let request = Request::put(upstream.uri()).header("content-length", 1_000 * chunks);
        let request = request.body(StreamBody::new(stream::iter(frames))).unwrap();
        let client = client(RetryLayer::new_for_http(), CircuitBreakerLayer::new_for_http());
        let response = client.oneshot(request).await.unwrap();
        assert_eq!(response.status(), if attempts == 2 { 200 } else { 503 });
        let body: String = (0..chunks).map(|n| format!("{n:0>1000}")).collect();
        assert_eq!(upstream.bodies(), vec![body; attempts]);
    }
}

#[tokio::test]
async fn the_deadline_of_a_call_spans_its_attempts() {
    let upstream = Upstream::start(|n| if n == 0 { Answer::status(503) } else { Answer::Hang }).await;
    let retry = RetryLayer::new_for_http().deadline(Duration::from_secs(60));
    let call = tokio::spawn(client(retry, CircuitBreakerLayer::new_for_http()).oneshot(get(&upstream)));
    arrived(&upstream, 2).await;
    tokio::time::pause();
    let error = call.await.unwrap().unwrap_err();
    let gave_up = RetryError::find(&*error).unwrap();
    assert_eq!((gave_up.kind(), gave_up.attempts(), upstream.requests()), (GiveUp::Deadline, 2, 2));
}

#[tokio::test]
async fn a_caller_who_leaves_is_no_failure_of_the_upstream() {
    let upstream = Upstream::start(|n| if n == 0 { Answer::Hang } else { Answer::json() }).await;
    let breaker = CircuitBreakerLayer::new_for_http().consecutive_failures(1);
    let breakers = breaker.handle();
    let client = client(RetryLayer::new_for_http(), breaker);
    let call = tokio::spawn(client.clone().oneshot(get(&upstream)));
    arrived(&upstream, 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(
        (breakers.default_partition().snapshot().calls, breakers.default_partition().state()),
        (0, State::Closed)
    );
    assert_eq!((client.oneshot(get(&upstream)).await.unwrap().status().as_u16(), upstream.requests()), (200, 2));
}
