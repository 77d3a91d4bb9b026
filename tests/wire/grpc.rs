//! gRPC as it looks on the wire, read by hyper-util's client.

use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_rampart::ClassifyLayer;
use tower_rampart::classify::{Class, Counters, Health, Processed, Verdict};

use crate::kit::client::{self, get};
use crate::kit::frames::{self, FIRST};
use crate::kit::server::{Server, stall};
use crate::kit::{Facts, facts};

const UNAVAILABLE: Facts = (Class::Transient, Processed::Maybe, Health::Failure, "grpc");
const UNCLEAR: Facts = (Class::Ambiguous, Processed::Maybe, Health::Failure, "grpc");

/// One empty message: not compressed, no bytes.
const MESSAGE: &[u8] = &[0; 5];

type Headers = &'static [(&'static str, &'static str)];

const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// What a head, and perhaps a message with trailers, are judged as: at the head, and at the end.
async fn judge(head: Headers, rest: Option<Headers>) -> (Facts, Verdict) {
    let server = Server::start(move |mut stream| async move {
        frames::accept_request(&mut stream).await;
        frames::headers(&mut stream, FIRST, &[&[(":status", "200")], head].concat(), rest.is_none()).await;
        if let Some(trailers) = rest {
            frames::send(&mut stream, frames::DATA, 0, FIRST, MESSAGE).await;
            frames::headers(&mut stream, FIRST, trailers, true).await;
        }
        stall(stream).await;
    })
    .await;
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let counters = Counters::new();
    let layer = {
        let told = told.clone();
        let tell = move |verdict: &Verdict| told.lock().unwrap().push(*verdict);
        ClassifyLayer::new_for_grpc().judge_body().counters(&counters).on_verdict(tell)
    };
    let response = layer.layer(client::http2()).oneshot(get(server.uri())).await.unwrap();
    let head = facts(Verdict::of(&response));
    response.into_body().collect().await.unwrap();
    let told = told.lock().unwrap();
    assert_eq!((told.len(), counters.class(told[0].class())), (1, 1));
    (head, told[0])
}

const SO_FAR: Facts = (Class::Success, Processed::Yes, Health::Success, "unknown");

#[tokio::test]
async fn trailers_only() {
    let (head, end) = judge(&[GRPC, ("grpc-status", "14"), ("grpc-retry-pushback-ms", "25")], None).await;
    assert_eq!((head, facts(end)), (UNAVAILABLE, UNAVAILABLE));
    assert_eq!(end.retry_after().unwrap().as_millis(), 25);
}

#[tokio::test]
async fn trailers_after_data() {
    let (head, end) = judge(&[GRPC], Some(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")])).await;
    assert_eq!((head, facts(end), end.should_retry()), (SO_FAR, UNAVAILABLE, Some(false)));
    let (head, end) = judge(&[GRPC], Some(&[("grpc-status", "0")])).await;
    assert_eq!((head, end), (SO_FAR, Verdict::success()));
}

#[tokio::test]
async fn missing_status() {
    let (head, end) = judge(&[GRPC], Some(&[("grpc-message", "oops")])).await;
    assert_eq!((head, facts(end), end.code()), (SO_FAR, UNCLEAR, Some(2)));
    let (head, end) = judge(&[GRPC], None).await;
    assert_eq!((head, facts(end), end.code()), (SO_FAR, UNCLEAR, Some(2)));
    // No gRPC at all.
    let (head, end) = judge(&[("content-type", "text/html")], None).await;
    assert_eq!((head, facts(end), end.code()), (UNCLEAR, UNCLEAR, Some(2)));
}
