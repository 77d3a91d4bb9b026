//! Streams in both directions, and servers that end them in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tower::{Layer, ServiceBuilder};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitBreaker, Window};
use tower_rampart::clients::tonic::{BoxTonicService, TonicService, boxed};
use tower_rampart::retry::{GiveUp, RetryError};

use super::upstream::{Answer, MESSAGE, Upstream};
use super::{Channel, over, retry};
use crate::kit::frames::{self, DATA, FIRST, INTERNAL_ERROR, NO_ERROR};
use crate::kit::server::{Server, fin, rst, stall};

/// Retries of idempotent calls over a breaker that judges trailers, and that breaker.
fn stack(channel: Channel) -> (BoxTonicService, CircuitBreaker) {
    let breaker = CircuitBreakerLayer::new_for_grpc().window(Window::count(100)).judge_body();
    let watched = breaker.breaker();
    let stack = ServiceBuilder::new().layer(retry().idempotent(|_| true)).layer(breaker).service(channel);
    (boxed(stack), watched)
}

fn counts(breaker: &CircuitBreaker) -> (u64, u64) {
    (breaker.snapshot().calls, breaker.snapshot().failures)
}

/// A server that sends each request back while it comes.
async fn echo() -> Server {
    let respond = |request: http::Request<Incoming>| async move {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        let body = request.into_body().with_trailers(async move { Some(Ok(trailers)) });
        let response = http::Response::builder().header("content-type", "application/grpc").body(body);
        Ok::<_, http::Error>(response.unwrap())
    };
    Server::start(move |stream| async move {
        let service = hyper::service::service_fn(respond);
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    })
    .await
}

struct Messages(mpsc::UnboundedReceiver<String>);

impl futures_core::Stream for Messages {
    type Item = HealthCheckRequest;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<HealthCheckRequest>> {
        self.0.poll_recv(cx).map(|service| Some(HealthCheckRequest { service: service? }))
    }
}

/// The answers come while the request is still being sent, which is then far larger than what is kept.
#[tokio::test]
async fn both_directions_stream_at_once_in_a_task() {
    let server = echo().await;
    let (stack, breaker) = stack(over(server.uri()));
    let (messages, sent) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let mut client = Grpc::new(stack);
        client.ready().await.unwrap();
        messages.send("first".to_owned()).unwrap();
        let codec = ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
        let call = client.streaming(Request::new(Messages(sent)), PathAndQuery::from_static("/Echo"), codec);
        let mut answers = call.await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap().unwrap().service, "first");
        for letter in ["a", "b", "c"] {
            let large = letter.repeat(1024 * 1024);
            messages.send(large.clone()).unwrap();
            assert_eq!(answers.message().await.unwrap().unwrap().service, large);
        }
        drop(messages);
        assert!(answers.message().await.unwrap().is_none());
    });
    task.await.unwrap();
    assert_eq!(counts(&breaker), (1, 0));
}

/// What a server does once the head and one message are sent.
#[derive(Clone, Copy, Debug)]
enum End {
    Reset,
    Rst,
    Fin,
    GoAwayAndTrailers,
    GoAwayAndFin,
}

async fn ending(end: End) -> (Server, Arc<AtomicUsize>) {
    let requests = Arc::<AtomicUsize>::default();
    let counted = requests.clone();
    let server = Server::start(move |mut stream| {
        let counted = counted.clone();
        async move {
            frames::accept_request(&mut stream).await;
            counted.fetch_add(1, SeqCst);
            let head = [(":status", "200"), ("content-type", "application/grpc")];
            frames::headers(&mut stream, FIRST, &head, false).await;
            frames::send(&mut stream, DATA, 0, FIRST, MESSAGE).await;
            // The client has the message before it learns of the end.
            while frames::next_frame(&mut stream).await.unwrap().kind != frames::SETTINGS {}
            match end {
                End::Reset => frames::reset_stream(&mut stream, FIRST, INTERNAL_ERROR).await,
                End::Rst => return rst(stream),
                End::Fin => return fin(stream),
                End::GoAwayAndTrailers => {
                    frames::go_away(&mut stream, FIRST, NO_ERROR).await;
                    frames::headers(&mut stream, FIRST, &[("grpc-status", "0")], true).await;
                }
                End::GoAwayAndFin => {
                    frames::go_away(&mut stream, FIRST, NO_ERROR).await;
                    return fin(stream);
                }
            }
            stall(stream).await;
        }
    });
    (server.await, requests)
}

#[tokio::test]
async fn a_stream_that_ends_in_the_middle_is_an_error_once_and_a_failure() {
    for end in [End::Reset, End::Rst, End::Fin, End::GoAwayAndTrailers, End::GoAwayAndFin] {
        let (server, requests) = ending(end).await;
        let (stack, breaker) = stack(over(server.uri()));
        let mut client = HealthClient::new(stack);
        let outcome = async {
            let mut answers = client.watch(HealthCheckRequest::default()).await?.into_inner();
            while answers.message().await?.is_some() {}
            Ok::<_, Status>(())
        };
        let is_whole = matches!(end, End::GoAwayAndTrailers);
        assert_eq!((outcome.await.is_ok(), requests.load(SeqCst)), (is_whole, 1), "{end:?}");
        assert_eq!(counts(&breaker), (1, u64::from(!is_whole)), "{end:?}");
    }
}

#[tokio::test]
async fn message_details_and_metadata_of_a_status_reach_the_caller() {
    let upstream = Upstream::start(|_| {
        Answer::TrailersOnly(&[
            ("grpc-status", "9"),
            ("grpc-message", "no%20tenant"),
            ("grpc-status-details-bin", "CAkSAm5v"),
            ("x-tenant-id", "7"),
        ])
    })
    .await;
    let (stack, breaker) = stack(upstream.channel());
    let status = HealthClient::new(stack).check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "no tenant"));
    assert_eq!(
        (status.details(), status.metadata().get("x-tenant-id").unwrap().as_bytes()),
        (&b"\x08\x09\x12\x02no"[..], &b"7"[..])
    );
    assert_eq!((upstream.requests(), counts(&breaker)), (1, (1, 0)));
}

/// That of the endpoint limits each attempt, the one of the request the whole call.
#[tokio::test]
async fn the_timeout_of_the_channel_is_that_of_an_attempt() {
    for (seconds, kind, attempts, after) in [(3_600, GiveUp::Exhausted, 3, 30), (15, GiveUp::Deadline, 2, 15)] {
        let (arrived, mut has_arrived) = mpsc::unbounded_channel();
        let server = Server::start(move |mut stream| {
            let arrived = arrived.clone();
            async move {
                frames::accept_request(&mut stream).await;
                arrived.send(()).unwrap();
                stall(stream).await;
            }
        })
        .await;
        let endpoint = Endpoint::from(server.uri()).timeout(Duration::from_secs(10));
        let (stack, breaker) = stack(TonicService::new(endpoint.connect_lazy()));
        let mut request = Request::new(HealthCheckRequest::default());
        request.set_timeout(Duration::from_secs(seconds));
        let start = Instant::now();
        let call = tokio::spawn(async { HealthClient::new(stack).check(request).await });
        has_arrived.recv().await.unwrap();
        tokio::time::pause();
        let status = call.await.unwrap().unwrap_err();
        let gave_up = RetryError::find(&status).unwrap();
        assert_eq!((gave_up.kind(), gave_up.attempts(), start.elapsed().as_secs()), (kind, attempts, after));
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(counts(&breaker), (u64::from(attempts), u64::from(attempts)));
        tokio::time::resume();
    }
}

#[tokio::test]
async fn rule_1_a_call_dropped_at_any_moment_was_made_at_most_once() {
    for polls in 1.. {
        let (server, requests) = ending(End::Rst).await;
        let mut client = HealthClient::new(boxed(retry().layer(over(server.uri()))));
        let mut call = Box::pin(client.check(HealthCheckRequest::default()));
        let mut left = polls;
        let has_ended = std::future::poll_fn(|cx| {
            left -= 1;
            let is_ready = call.as_mut().poll(cx).is_ready();
            if is_ready || left == 0 { Poll::Ready(is_ready) } else { Poll::Pending }
        })
        .await;
        drop(call);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(requests.load(SeqCst) <= 1, "{polls}");
        if has_ended {
            assert_eq!(requests.load(SeqCst), 1);
            break;
        }
    }
}
