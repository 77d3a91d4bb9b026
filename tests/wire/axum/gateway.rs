//! What becomes of a request that a service forwards to its upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use bytes::Bytes;
use futures_core::Stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tower_rampart::breaker::{CircuitBreaker, State};

use super::service::{Gateway, send, serve, upstream};
use crate::kit::server::{Server, read_head, rst, unused_address};

fn counts(breaker: &CircuitBreaker) -> (u64, u64) {
    (breaker.snapshot().calls, breaker.snapshot().failures)
}

#[tokio::test]
async fn a_call_succeeds() {
    let (address, seen) = upstream(|_| 200).await;
    let answer = Gateway::start(address).await.call("GET", &[]).await;
    assert_eq!((answer.status, &answer.body[..], seen.requests()), (200, &b"rows of hunter2"[..], 1));
}

#[tokio::test]
async fn a_503_and_then_a_success_is_a_success() {
    let (address, seen) = upstream(|n| if n == 0 { 503 } else { 200 }).await;
    let answer = Gateway::start(address).await.call("GET", &[]).await;
    assert_eq!((answer.status, &answer.body[..], seen.requests()), (200, &b"rows of hunter2"[..], 2));
}

#[tokio::test]
async fn a_post_that_was_processed_is_not_repeated() {
    let (address, seen) = upstream(|_| 503).await;
    let answer = Gateway::start(address).await.call("POST", &[]).await;
    assert_eq!((answer.status, seen.requests()), (503, 1));

    // The upstream dies with the request in its hands.
    let requests = Arc::new(AtomicUsize::new(0));
    let server = Server::start({
        let requests = requests.clone();
        move |mut stream| {
            let requests = requests.clone();
            async move {
                read_head(&mut stream).await;
                requests.fetch_add(1, Ordering::SeqCst);
                rst(stream);
            }
        }
    })
    .await;
    let answer = Gateway::start(server.address()).await.call("POST", &[]).await;
    assert_eq!((answer.status, requests.load(Ordering::SeqCst)), (502, 1));
    assert_eq!((answer.header("x-should-retry"), answer.body.len()), (Some("false"), 0));
}

#[tokio::test]
async fn a_post_is_repeated_after_a_refused_connection() {
    let (address, seen) = upstream(|_| 200).await;
    let gateway = Gateway::start_over(vec![unused_address().await, address]).await;
    assert_eq!((gateway.call("POST", &[]).await.status, seen.requests()), (200, 1));
    assert_eq!(counts(&gateway.breaker("7")), (2, 1));
}

struct Chunks(mpsc::UnboundedReceiver<Bytes>);

impl Stream for Chunks {
    type Item = std::io::Result<Frame<Bytes>>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|chunk| Some(Ok(Frame::data(chunk?))))
    }
}

/// A PUT of this service, whose body comes through the channel.
fn upload(gateway: &Gateway) -> (mpsc::UnboundedSender<Bytes>, tokio::task::JoinHandle<super::service::Answer>) {
    let (chunks, body) = mpsc::unbounded_channel();
    let request = gateway.request("PUT").body(BodyExt::boxed(StreamBody::new(Chunks(body)))).unwrap();
    (chunks, tokio::spawn(send(request)))
}

#[tokio::test]
async fn an_upload_streams_through() {
    let (first, mut firsts) = mpsc::unbounded_channel();
    let routes = Router::new().fallback(move |request: Request| async move {
        let mut body = request.into_body();
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        first.send(frame).unwrap();
        body.collect().await.unwrap().to_bytes()
    });
    let gateway = Gateway::start(serve(routes).await).await;
    let (chunks, call) = upload(&gateway);
    chunks.send(Bytes::from_static(b"first")).unwrap();
    assert_eq!(firsts.recv().await.unwrap(), "first");
    chunks.send(Bytes::from_static(b"last")).unwrap();
    drop(chunks);
    let answer = call.await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"last"[..]));
}

#[tokio::test]
async fn an_upload_is_repeated_whole_or_not_at_all() {
    for (size, attempts) in [(64 * 1024, 2), (64 * 1024 + 1, 1)] {
        let (address, seen) = upstream(|n| if n == 0 { 503 } else { 200 }).await;
        let (chunks, call) = upload(&Gateway::start(address).await);
        let whole = Bytes::from(vec![7; size]);
        chunks.send(whole.slice(..100)).unwrap();
        chunks.send(whole.slice(100..)).unwrap();
        drop(chunks);
        assert_eq!(call.await.unwrap().status, if attempts == 2 { 200 } else { 503 });
        assert_eq!(seen.bodies(), vec![whole; attempts]);
    }
}

#[tokio::test]
async fn tenants_have_circuits_of_their_own() {
    let (address, seen) = upstream(|n| if n < 2 { 503 } else { 200 }).await;
    let gateway = Gateway::start(address).await;
    // Both failures in one call; the open circuit then ends it.
    assert_eq!(gateway.call("GET", &[]).await.status, 503);
    assert_eq!((gateway.call("GET", &[]).await.status, seen.requests()), (503, 2));
    let answer = gateway.call("GET", &[("x-tenant-id", "8")]).await;
    assert_eq!((answer.status, seen.requests()), (200, 3));
    assert_eq!((gateway.breaker("7").state(), gateway.breaker("8").state()), (State::Open, State::Closed));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_503_with_the_true_wait() {
    let (address, seen) = upstream(|_| 503).await;
    let gateway = Gateway::start(address).await;
    gateway.call("GET", &[]).await;
    assert_eq!((gateway.breaker("7").state(), seen.requests()), (State::Open, 2));
    for (millis, expected) in [(12_500, "18"), (500, "17"), (16_001, "1")] {
        tokio::time::advance(Duration::from_millis(millis)).await;
        let answer = gateway.call("GET", &[]).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some(expected)));
        assert_eq!((answer.header("x-should-retry"), answer.body.len()), (Some("false"), 0));
    }
    gateway.breaker("7").force_open();
    let answer = gateway.call("GET", &[]).await;
    assert_eq!((answer.status, answer.header("retry-after"), seen.requests()), (503, None, 2));
}

/// An upstream that takes a request and never answers, and what becomes of its connection.
async fn silent() -> (Server, mpsc::UnboundedReceiver<&'static str>) {
    let (event, events) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let event = event.clone();
        async move {
            read_head(&mut stream).await;
            event.send("arrived").unwrap();
            let _ = stream.read_u8().await;
            let _ = event.send("gone");
        }
    })
    .await;
    (server, events)
}

#[tokio::test]
async fn the_deadline_of_the_caller_is_504() {
    let (server, mut events) = silent().await;
    let gateway = Gateway::start(server.address()).await;
    let call = gateway.call("GET", &[("x-request-timeout-ms", "3600000")]);
    let (answer, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(3_601), call), async {
        assert_eq!(events.recv().await, Some("arrived"));
        tokio::time::pause();
    });
    let answer = answer.expect("the deadline has passed");
    assert_eq!((answer.status, answer.header("x-should-retry")), (504, Some("false")));
    assert_eq!(counts(&gateway.breaker("7")), (1, 1));
}

#[tokio::test]
async fn a_caller_who_leaves_cancels_the_attempt_and_is_no_failure_of_the_upstream() {
    let (server, mut events) = silent().await;
    let gateway = Gateway::start(server.address()).await;
    let request = gateway.request("GET").body(http_body_util::Empty::new().map_err(|never| match never {}).boxed());
    let call = tokio::spawn(send(request.unwrap()));
    assert_eq!(events.recv().await, Some("arrived"));
    call.abort();
    assert_eq!(events.recv().await, Some("gone"));
    let breaker = gateway.breaker("7");
    assert_eq!((breaker.state(), counts(&breaker)), (State::Closed, (0, 0)));
}

#[tokio::test]
async fn the_retries_of_the_caller_are_not_multiplied() {
    let (address, seen) = upstream(|_| 429).await;
    let gateway = Gateway::start(address).await;
    // The service has retried in vain: its callers must not.
    let answer = gateway.call("GET", &[]).await;
    assert_eq!((answer.status, answer.header("x-should-retry"), seen.requests()), (503, Some("false"), 3));
    // The caller retries: the service does not.
    let answer = gateway.call("GET", &[("x-retry-attempt", "2")]).await;
    assert_eq!((answer.status, answer.header("x-should-retry"), seen.requests()), (503, None, 4));
}

#[tokio::test]
async fn an_answer_that_is_not_passed_on_leaks_nothing() {
    let (address, _) = upstream(|_| 404).await;
    let answer = Gateway::start(address).await.call("GET", &[]).await;
    let names: Vec<_> = answer.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!((answer.status, names, answer.body.len()), (502, vec!["content-length", "date"], 0));
}
