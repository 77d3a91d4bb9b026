//! Bodies that break off under a head that was fine.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpStream;
use tower::{Layer, ServiceExt};
use tower_rampart::ClassifyLayer;
use tower_rampart::classify::{Class, Counters, Health, Processed, Reason, Verdict};

use crate::kit::client::{self, Body, get};
use crate::kit::frames::{self, FIRST};
use crate::kit::server::{Server, fin, read_head, rst, say, stall};
use crate::kit::{Facts, facts};

const BROKEN: Facts = (Class::Ambiguous, Processed::Maybe, Health::Failure, "body");

/// Reads the body of the only answer, and asserts that its error and the layer say the same of it.
async fn read(client: Client<HttpConnector, Body>, server: &Server) -> Result<Bytes, Facts> {
    let counters = Counters::new();
    let service = ClassifyLayer::new_for_http().judge_body().counters(&counters).layer(client);
    let response = service.oneshot(get(server.uri())).await.unwrap();
    assert_eq!(Verdict::of(&response), Verdict::success());
    assert_eq!(counters.iter().count(), 0);

    let body = response.into_body().collect().await;
    let (class, reason) = match &body {
        Ok(_) => (Class::Success, Reason::UNKNOWN),
        Err(_) => (Class::Ambiguous, Reason::BODY),
    };
    assert_eq!(counters.iter().collect::<Vec<_>>(), [(class, reason, 1)]);
    body.map(|body| body.to_bytes()).map_err(|error| facts(Verdict::of_error(&*error)))
}

/// A server that says this and then ends the connection so.
async fn http1(says: &'static [u8], end: fn(TcpStream)) -> Server {
    Server::start(move |mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, says).await;
        end(stream);
    })
    .await
}

const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf ";
const CHUNK: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf \r\n";
const JUNK: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf \r\nxyz\r\n";
const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole";

#[tokio::test]
async fn fin_inside_the_body() {
    assert_eq!(read(client::http1(), &http1(HALF, fin).await).await, Err(BROKEN));
    assert_eq!(read(client::http1(), &http1(CHUNK, fin).await).await, Err(BROKEN));
}

#[tokio::test]
async fn rst_inside_the_body() {
    assert_eq!(read(client::http1(), &http1(CHUNK, rst).await).await, Err(BROKEN));
}

#[tokio::test]
async fn garbage_inside_the_body() {
    assert_eq!(read(client::http1(), &http1(JUNK, fin).await).await, Err(BROKEN));
}

#[tokio::test]
async fn whole_body() {
    assert_eq!(read(client::http1(), &http1(WHOLE, fin).await).await, Ok(Bytes::from_static(b"whole")));
}

/// A body without any length ends where the connection does, so here nothing can be told from everything.
#[tokio::test]
async fn body_without_length_ends_with_the_connection() {
    let server = http1(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nwhole", fin).await;
    assert_eq!(read(client::http1(), &server).await, Ok(Bytes::from_static(b"whole")));
}

#[tokio::test]
async fn stream_reset_inside_the_body() {
    let server = Server::start(|mut stream| async move {
        frames::accept_request(&mut stream).await;
        frames::headers(&mut stream, FIRST, &[(":status", "200")], false).await;
        frames::send(&mut stream, frames::DATA, 0, FIRST, b"half ").await;
        frames::reset_stream(&mut stream, FIRST, frames::INTERNAL_ERROR).await;
        stall(stream).await;
    })
    .await;
    assert_eq!(read(client::http2(), &server).await, Err(BROKEN));
}
