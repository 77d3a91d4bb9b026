//! A generated client takes the stack as it is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::codegen::tokio_stream;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;
use tower::{Layer, service_fn};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitBreaker, CircuitOpen, State, partition};
use tower_rampart::classify::Verdict;
use tower_rampart::clients::tonic::TonicService;
use tower_rampart::retry::{GiveUp, RetryError};

use super::upstream::{Answer, Metadata, Upstream};
use super::{over, retry};
use crate::kit::frames::{self, FIRST};
use crate::kit::server::{Server, rst, stall, unused_address};

const SERVING: i32 = 1;

fn question() -> HealthCheckRequest {
    HealthCheckRequest { service: "billing".into() }
}

fn counts(breaker: &CircuitBreaker) -> (u64, u64) {
    (breaker.snapshot().calls, breaker.snapshot().failures)
}

#[tokio::test]
async fn unary_and_streaming_calls_succeed() {
    let upstream = Upstream::start(|_| Answer::ok()).await;
    let breaker = CircuitBreakerLayer::new_for_grpc().judge_body();
    let mut client = HealthClient::new(retry().layer(breaker.layer(upstream.channel())));

    let answer = client.check(question()).await.unwrap().into_inner();
    assert_eq!((answer.status, upstream.requests(), counts(&breaker.breaker())), (SERVING, 1, (1, 0)));

    let mut answers = client.watch(question()).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().status, SERVING);
    assert!(answers.message().await.unwrap().is_none());
    assert_eq!((upstream.requests(), counts(&breaker.breaker())), (2, (2, 0)));
}

#[tokio::test]
async fn unavailable_then_success_is_a_success_for_a_method_that_may_be_repeated() {
    let upstream = Upstream::start(|n| if n == 0 { Answer::unavailable() } else { Answer::ok() }).await;
    let retry = retry().idempotent(|head| head.uri.path().ends_with("/Check"));
    let mut client = HealthClient::new(retry.layer(upstream.channel()));
    let mut request = Request::new(question());
    request.set_timeout(Duration::from_secs(2));
    assert_eq!(client.check(request).await.unwrap().into_inner().status, SERVING);
    assert_eq!(upstream.requests(), 2);
    for attempt in upstream.seen() {
        assert_eq!(attempt.body()[..], *b"\0\0\0\0\x09\x0a\x07billing");
        // What remains of two seconds, in microseconds.
        let timeout = attempt.headers()["grpc-timeout"].to_str().unwrap();
        let micros: u32 = timeout.strip_suffix('u').unwrap().parse().unwrap();
        assert!((1_000_000..2_000_000).contains(&micros), "{timeout}");
    }
}

#[tokio::test]
async fn what_was_processed_is_not_repeated() {
    let upstream = Upstream::start(|_| Answer::unavailable()).await;
    let mut client = HealthClient::new(retry().layer(upstream.channel()));
    let status = client.check(question()).await.unwrap_err();
    assert_eq!((status.code(), upstream.requests()), (Code::Unavailable, 1));

    // The server dies with the request in its hands.
    let requests = Arc::new(AtomicUsize::new(0));
    let server = Server::start({
        let requests = requests.clone();
        move |mut stream| {
            let requests = requests.clone();
            async move {
                frames::accept_request(&mut stream).await;
                requests.fetch_add(1, Ordering::SeqCst);
                rst(stream);
            }
        }
    })
    .await;
    let mut client = HealthClient::new(retry().layer(over(server.uri())));
    let status = client.check(question()).await.unwrap_err();
    let gave_up = RetryError::find(&status).unwrap();
    assert_eq!((gave_up.kind(), gave_up.attempts()), (GiveUp::NotIdempotent, 1));
    assert_eq!((status.code(), requests.load(Ordering::SeqCst)), (Code::Unavailable, 1));
}

#[tokio::test]
async fn a_refused_connection_is_repeated() {
    let upstream = Upstream::start(|_| Answer::ok()).await;
    let there = upstream.call("/").uri().authority().unwrap().to_string();
    let addresses = Arc::new(std::sync::Mutex::new(vec![there, unused_address().await.to_string()]));
    let connects = Arc::new(AtomicUsize::new(0));
    let connector = service_fn({
        let connects = connects.clone();
        move |_: Uri| {
            connects.fetch_add(1, Ordering::SeqCst);
            let address = addresses.lock().unwrap().pop();
            async move { Ok::<_, io::Error>(TokioIo::new(TcpStream::connect(address.unwrap()).await?)) }
        }
    });
    let channel = Endpoint::from_static("http://billing.example").connect_with_connector_lazy(connector);
    let mut client = HealthClient::new(retry().layer(TonicService::new(channel)));
    assert_eq!(client.check(question()).await.unwrap().into_inner().status, SERVING);
    assert_eq!((upstream.requests(), connects.load(Ordering::SeqCst)), (1, 2));
}

async fn upload(upstream: &Upstream, cap: usize) -> Result<HealthCheckResponse, Status> {
    let retry = retry().idempotent(|_| true).max_replay_bytes(cap);
    let mut client = Grpc::new(retry.layer(upstream.channel()));
    client.ready().await.unwrap();
    let parts = tokio_stream::iter(["a", "b", "c"].map(|part| HealthCheckRequest { service: part.into() }));
    let codec = ProstCodec::default();
    let answer = client.client_streaming(Request::new(parts), PathAndQuery::from_static("/Upload"), codec).await?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn a_streaming_upload_is_replayed_whole_or_not_at_all() {
    const PARTS: &[u8] = b"\0\0\0\0\x03\x0a\x01a\0\0\0\0\x03\x0a\x01b\0\0\0\0\x03\x0a\x01c";
    let upstream = Upstream::start(|n| if n < 2 { Answer::unavailable() } else { Answer::ok() }).await;
    assert_eq!(upload(&upstream, PARTS.len()).await.unwrap().status, SERVING);
    let seen = upstream.seen();
    assert_eq!(seen.iter().map(|request| &request.body()[..]).collect::<Vec<_>>(), [PARTS; 3]);

    // One byte more than is kept: the answer is final.
    let upstream = Upstream::start(|_| Answer::unavailable()).await;
    let status = upload(&upstream, PARTS.len() - 1).await.unwrap_err();
    assert_eq!((status.code(), upstream.requests()), (Code::Unavailable, 1));
    assert_eq!(upstream.seen()[0].body()[..], *PARTS);
}

#[tokio::test]
async fn a_code_in_the_trailers_of_a_stream_is_final_and_counts() {
    let upstream = Upstream::start(|_| Answer::Stream(Some(&[("grpc-status", "14")]))).await;
    let breaker = CircuitBreakerLayer::new_for_grpc().judge_body();
    let mut client = HealthClient::new(retry().idempotent(|_| true).layer(breaker.layer(upstream.channel())));
    let mut answers = client.watch(question()).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().status, SERVING);
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!((upstream.requests(), counts(&breaker.breaker())), (1, (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn pushback_is_waited_for_and_reaches_the_caller() {
    const LATER: Metadata = &[("grpc-status", "8"), ("grpc-retry-pushback-ms", "7000")];
    const NEVER: Metadata = &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")];
    let upstream = Upstream::start(|n| [Answer::TrailersOnly(LATER), Answer::ok()].into_iter().nth(n).unwrap()).await;
    let mut client = HealthClient::new(retry().idempotent(|_| true).layer(upstream.channel()));
    let start = Instant::now();
    client.check(question()).await.unwrap();
    assert_eq!((start.elapsed().as_secs(), upstream.requests()), (7, 2));

    let upstream = Upstream::start(|_| Answer::TrailersOnly(NEVER)).await;
    let mut client = HealthClient::new(retry().idempotent(|_| true).layer(upstream.channel()));
    let status = client.check(question()).await.unwrap_err();
    assert_eq!((status.code(), upstream.requests()), (Code::Unavailable, 1));
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
}

#[tokio::test]
async fn tenants_have_circuits_of_their_own() {
    let upstream = Upstream::start(|n| if n < 2 { Answer::unavailable() } else { Answer::ok() }).await;
    let breaker = CircuitBreakerLayer::new_for_grpc()
        .partition_by(partition::header("x-tenant-id"))
        .consecutive_failures(2)
        .judge_body();
    let mut client = HealthClient::new(retry().layer(breaker.layer(upstream.channel())));
    let mut check = async |tenant: &'static str| {
        let mut request = Request::new(question());
        request.metadata_mut().insert("x-tenant-id", tenant.parse().unwrap());
        client.check(request).await
    };
    for _ in 0..2 {
        assert!(CircuitOpen::find(&check("7").await.unwrap_err()).is_none());
    }
    let status = check("7").await.unwrap_err();
    let open = CircuitOpen::find(&status).unwrap();
    assert_eq!((status.code(), open.partition(), upstream.requests()), (Code::Unavailable, "7", 2));
    check("8").await.unwrap();
    assert_eq!(upstream.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_says_when_to_come_back() {
    let upstream = Upstream::start(|_| Answer::unavailable()).await;
    let breaker = CircuitBreakerLayer::new_for_grpc().consecutive_failures(1).open_for(Duration::from_secs(30));
    let mut client = HealthClient::new(retry().layer(breaker.layer(upstream.channel())));
    client.check(question()).await.unwrap_err();
    tokio::time::advance(Duration::from_millis(12_500)).await;
    let status = client.check(question()).await.unwrap_err();
    assert_eq!((status.code(), upstream.requests()), (Code::Unavailable, 1));
    assert_eq!(CircuitOpen::find(&status).unwrap().retry_after(), Some(Duration::from_millis(17_500)));
    assert_eq!(RetryError::find(&status).unwrap().kind(), GiveUp::CircuitOpen);
}

/// A server that takes a request and never answers, and what becomes of that request.
async fn silent() -> (Server, mpsc::UnboundedReceiver<&'static str>) {
    let (event, events) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let event = event.clone();
        async move {
            frames::accept_request(&mut stream).await;
            event.send("arrived").unwrap();
            while let Ok(frame) = frames::next_frame(&mut stream).await {
                if frame.kind == frames::RST_STREAM && frame.id == FIRST && frame.payload[3] == frames::CANCEL as u8 {
                    let _ = event.send("cancelled");
                }
            }
            stall(stream).await;
        }
    })
    .await;
    (server, events)
}

#[tokio::test]
async fn grpc_timeout_is_the_deadline_of_the_call() {
    let (server, mut events) = silent().await;
    let breaker = CircuitBreakerLayer::new_for_grpc();
    let mut client = HealthClient::new(retry().layer(breaker.layer(over(server.uri()))));
    let mut request = Request::new(question());
    request.set_timeout(Duration::from_secs(3_600));
    let call = tokio::spawn(async move { client.check(request).await });
    assert_eq!(events.recv().await, Some("arrived"));
    tokio::time::pause();
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(Verdict::of_error(&status).reason().as_str(), "timeout");
    assert_eq!(counts(&breaker.breaker()), (1, 1));
}

#[tokio::test]
async fn a_caller_who_leaves_cancels_the_attempt_and_is_no_failure_of_the_upstream() {
    let (server, mut events) = silent().await;
    let breaker = CircuitBreakerLayer::new_for_grpc().consecutive_failures(1);
    let mut client = HealthClient::new(retry().layer(breaker.layer(over(server.uri()))));
    let call = tokio::spawn(async move { client.check(question()).await });
    assert_eq!(events.recv().await, Some("arrived"));
    call.abort();
    assert_eq!(events.recv().await, Some("cancelled"));
    assert_eq!((breaker.breaker().state(), counts(&breaker.breaker())), (State::Closed, (0, 0)));
}
