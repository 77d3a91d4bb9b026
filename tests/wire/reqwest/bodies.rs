//! Request bodies: bytes where they are in memory, else streams that are sent once or replayed.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use reqwest::Client;
use tower::{ServiceBuilder, ServiceExt};
use tower_rampart::RetryLayer;
use tower_rampart::clients::reqwest::{ReqwestService, SendExt};
use tower_rampart::retry::{Backoff, Budget, RetryReport};

use super::upstream::{Seen, Upstream, answer};

/// A body of chunks that says how long it is, if it knows.
struct Chunks {
    chunks: std::slice::Iter<'static, &'static [u8]>,
    has_length: bool,
}

fn chunks(chunks: &'static [&'static [u8]], has_length: bool) -> Chunks {
    Chunks { chunks: chunks.iter(), has_length }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.chunks.next().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk)))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.chunks.as_slice().iter().map(|chunk| chunk.len() as u64).sum();
        if self.has_length { SizeHint::with_exact(length) } else { SizeHint::default() }
    }
}

/// The requests that arrive if the first is answered with 503, and the last status.
async fn put(body: reqwest::Body) -> (Vec<Seen>, u16) {
    let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
    let reqwest = ReqwestService::from_builder(Client::builder()).unwrap();
    let request = reqwest.client().put(upstream.url()).body(body);
    let retry = RetryLayer::new_for_http().backoff(Backoff::none()).budget(Budget::unlimited());
    let response = ServiceBuilder::new().layer(retry).service(reqwest).send(request).await.unwrap();
    (upstream.seen(), response.status().as_u16())
}

#[track_caller]
fn sent_twice((seen, status): (Vec<Seen>, u16), header: (&str, &str)) {
    assert_eq!((seen.len(), status), (2, 200));
    for seen in seen {
        assert_eq!((seen.header(header.0), seen.body.as_slice()), (Some(header.1), &b"hello world"[..]));
    }
}

#[tokio::test]
async fn rule_8_a_body_in_memory_is_sent_again_with_its_length() {
    sent_twice(put("hello world".into()).await, ("content-length", "11"));
}

#[tokio::test]
async fn rule_8_a_stream_of_known_length_is_replayed_with_its_length() {
    let body = reqwest::Body::wrap(chunks(&[b"hello ", b"world"], true));
    sent_twice(put(body).await, ("content-length", "11"));
}

#[tokio::test]
async fn rule_8_a_stream_of_unknown_length_is_replayed_in_chunks() {
    let body = reqwest::Body::wrap(chunks(&[b"hello ", b"world"], false));
    sent_twice(put(body).await, ("transfer-encoding", "chunked"));
}

#[tokio::test]
async fn rule_8_a_stream_over_the_cap_is_sent_once() {
    static LARGE: [u8; 64 * 1024] = [7; 64 * 1024];
    static CHUNKS: [&[u8]; 2] = [b"+", &LARGE];
    for has_length in [false, true] {
        let (seen, status) = put(reqwest::Body::wrap(chunks(&CHUNKS, has_length))).await;
        assert_eq!((seen.len(), status), (1, 503));
        assert_eq!((seen[0].body.len(), seen[0].body[0], seen[0].body[LARGE.len()]), (LARGE.len() + 1, b'+', 7));
    }
}

/// Any body goes in, and without a retry layer, too.
#[tokio::test]
async fn a_body_of_another_type_is_sent() {
    let upstream = Upstream::answers([]).await;
    let reqwest = ReqwestService::from_builder(Client::builder()).unwrap();
    for has_length in [true, false] {
        let request = http::Request::put(upstream.url()).body(chunks(&[b"one", b"two"], has_length)).unwrap();
        let response = reqwest.clone().oneshot(request).await.unwrap();
        assert!(response.extensions().get::<RetryReport>().is_none());
    }
    let seen = upstream.seen();
    assert_eq!([&*seen[0].body, &*seen[1].body], [b"onetwo"; 2]);
    assert_eq!([0, 1].map(|n: usize| seen[n].header("content-length")), [Some("6"), None]);
}

/// That of axum is not `Sync`. A service passes it on to its upstream.
#[tokio::test]
async fn an_inbound_body_of_axum_is_replayed_with_its_length() {
    let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
    let reqwest = ReqwestService::from_builder(Client::builder()).unwrap();
    let retry = RetryLayer::new_for_http().backoff(Backoff::none()).budget(Budget::unlimited());
    let stack = ServiceBuilder::new().layer(retry).service(reqwest);
    let body = axum::body::Body::new(chunks(&[b"hello ", b"world"], true));
    let call = tokio::spawn(stack.oneshot(http::Request::put(upstream.url()).body(body).unwrap()));
    let status = call.await.unwrap().unwrap().status().as_u16();
    sent_twice((upstream.seen(), status), ("content-length", "11"));
}
