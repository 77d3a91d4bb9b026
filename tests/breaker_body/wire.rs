//! Bodies that break off on a real socket.

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::{Layer, ServiceExt};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitOpen, State};

use crate::server::{Server, fin, read_head, say};
use crate::{counts, layer};

const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf ";
const CHUNK: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf \r\n";
const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole";
/// The answer to a HEAD: the length of a body that does not come.
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";

/// A server that sends this and then closes the connection.
async fn saying(words: &'static [u8]) -> Server {
    Server::start(move |mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, words).await;
        fin(stream);
    })
    .await
}

fn client() -> Client<HttpConnector, Empty<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

fn get(uri: Uri) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn truncated_bodies_open_a_breaker_that_judges_bodies() {
    for words in [HALF, CHUNK] {
        let server = saying(words).await;
        let layer = layer().minimum_calls(10);
        let service = layer.layer(client());
        for call in 0..10 {
            let response = service.clone().oneshot(get(server.uri())).await.unwrap();
            assert_eq!((layer.breaker().state(), counts(&layer.breaker())), (State::Closed, (call, call)));
            response.into_body().collect().await.map(|_| ()).unwrap_err();
        }
        assert_eq!(layer.breaker().state(), State::Open);
        let error = service.oneshot(get(server.uri())).await.map(|_| ()).unwrap_err();
        assert!(CircuitOpen::find(&*error).is_some());
    }
}

#[tokio::test]
async fn truncated_bodies_are_successes_for_a_breaker_that_looks_at_the_head() {
    let server = saying(HALF).await;
    let layer = CircuitBreakerLayer::new_for_http();
    let service = layer.layer(client());
    for _ in 0..10 {
        let response = service.clone().oneshot(get(server.uri())).await.unwrap();
        response.into_body().collect().await.map(|_| ()).unwrap_err();
    }
    assert_eq!((layer.breaker().state(), counts(&layer.breaker())), (State::Closed, (10, 0)));
}

#[tokio::test]
async fn whole_bodies_are_successes() {
    let server = saying(WHOLE).await;
    let layer = layer();
    let service = layer.layer(client());
    for call in 1..=10 {
        let response = service.clone().oneshot(get(server.uri())).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "whole");
        assert_eq!(counts(&layer.breaker()), (call, 0));
    }
}

#[tokio::test]
async fn the_answer_to_a_head_request_is_whole_without_a_body() {
    let server = saying(HEAD).await;
    let layer = layer();
    let mut request = get(server.uri());
    *request.method_mut() = http::Method::HEAD;
    let response = layer.layer(client()).oneshot(request).await.unwrap();
    assert_eq!(counts(&layer.breaker()), (1, 0));
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    assert_eq!(counts(&layer.breaker()), (1, 0));
}
