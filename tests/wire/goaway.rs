//! Servers that go away now and then and answer every stream nevertheless: no keyless POST is processed twice.
//!
//! Hyper sends a request and then hands the connection's GOAWAY to the stream that it has just opened. The server
//! answers that stream, so sending the request again would double it. The race needs the client's tasks on several
//! threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::{ServiceBuilder, ServiceExt};
use tower_rampart::{CircuitBreakerLayer, ClassifyLayer, RetryLayer};

use crate::kit::frames::{self, HEADERS, NO_ERROR};
use crate::kit::server::Server;

/// How many streams a connection takes before the server goes away.
const STREAMS: usize = 50;

const POSTS: usize = 4_000;

const PATIENCE: Duration = Duration::from_secs(2);

/// For a run by hand: `RAMPART_POSTS=60000 cargo test --release --test wire goaway::`.
fn posts() -> usize {
    std::env::var("RAMPART_POSTS").map_or(POSTS, |posts| posts.parse().unwrap())
}

/// How often the server acted on each request.
#[derive(Clone, Default)]
struct Processed(Arc<Mutex<HashMap<String, usize>>>);

impl Processed {
    fn count(&self, id: String) {
        *self.0.lock().unwrap().entry(id).or_default() += 1;
    }
}

/// The name of a request that stays readable on the wire: see [`id_in`].
fn id(n: usize) -> String {
    (0..12).rev().map(|digit| char::from(b'0' + (n / 3_usize.pow(digit) % 3) as u8)).collect()
}

/// Sends POSTs, 16 at once, through the whole stack with its defaults, and counts those that were processed twice.
async fn doubled(start: impl AsyncFnOnce(Processed) -> Server) {
    let processed = Processed::default();
    let server = start(processed.clone()).await;
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new_for_http())
        .layer(CircuitBreakerLayer::new_for_http())
        .layer(ClassifyLayer::new_for_http())
        .service(Client::builder(TokioExecutor::new()).http2_only(true).build_http());
    let posts = posts();
    let callers = (0..16).map(|caller| {
        let (service, uri) = (service.clone(), server.uri());
        tokio::spawn(async move {
            let mut answered = Vec::new();
            for n in (caller..posts).step_by(16) {
                let mut value = HeaderValue::from_str(&id(n)).unwrap();
                value.set_sensitive(true);
                let request = Request::post(uri.clone()).header("x-request-id", value).body(Empty::<Bytes>::new());
                // Rarely, hyper-util's client never answers a call that waits for a connection which goes away. It
                // would hold the test up for good.
                let call = timeout(PATIENCE, service.clone().oneshot(request.unwrap()));
                if let Ok(Ok(response)) = call.await {
                    response.into_body().collect().await.unwrap();
                    answered.push(id(n));
                }
            }
            answered
        })
    });
    let mut answered = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        answered.extend(caller.await.unwrap());
    }
    let processed = processed.0.lock().unwrap();
    let doubled = processed.values().filter(|times| **times > 1).count();
    println!("{posts} POSTs, {} answered, {} processed, {doubled} doubled", answered.len(), processed.len());
    assert_eq!(doubled, 0);
    assert!(answered.iter().all(|id| processed.contains_key(id)));
    // Most calls end well, or there would be nothing to double.
    assert!(answered.len() > posts * 9 / 10, "{} of {posts}", answered.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_post_is_doubled_by_graceful_shutdowns_of_h2() {
    doubled(async |processed| {
        Server::start(move |stream| {
            let processed = processed.clone();
            async move {
                // Ends in an error when the client closes the connection first.
                let _ = serve_h2(stream, processed).await;
            }
        })
        .await
    })
    .await;
}

async fn serve_h2(stream: TcpStream, processed: Processed) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    let mut streams = 0;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted?;
        processed.count(request.headers()["x-request-id"].to_str().unwrap().to_owned());
        respond.send_response(Response::builder().status(204).body(()).unwrap(), true)?;
        streams += 1;
        if streams == STREAMS {
            connection.graceful_shutdown();
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_post_is_doubled_by_a_server_that_only_announces_to_go_away() {
    doubled(async |processed| {
        Server::start(move |stream| {
            let processed = processed.clone();
            async move {
                let _ = serve_frames(stream, processed).await;
            }
        })
        .await
    })
    .await;
}

/// Announces to go away after a number of streams, and answers every one until the client has closed the connection.
async fn serve_frames(mut stream: TcpStream, processed: Processed) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    frames::greet(&mut stream).await;
    let mut streams = 0;
    loop {
        let frame = frames::next_frame(&mut stream).await?;
        if frame.kind != HEADERS {
            continue;
        }
        processed.count(id_in(&frame.payload));
        streams += 1;
        if streams == STREAMS {
            frames::go_away(&mut stream, u32::MAX >> 1, NO_ERROR).await;
        }
        frames::headers(&mut stream, frame.id, &[(":status", "204")], true).await;
    }
}

/// The request id in a block of headers (RFC 7541): the only value that is marked sensitive, so that it stands there as
/// a literal that is never indexed. Its digits are those whose Huffman codes are their values in five bits.
fn id_in(mut block: &[u8]) -> String {
    loop {
        match block[0] {
            // Indexed.
            0x80.. => drop(integer(&mut block, 7)),
            // The size of the table.
            0x20..=0x3f => drop(integer(&mut block, 5)),
            first => {
                let bits = if first & 0x40 == 0 { 4 } else { 6 };
                if integer(&mut block, bits) == 0 {
                    string(&mut block);
                }
                let value = string(&mut block);
                if first & 0xf0 == 0x10 {
                    let bits = value.iter().fold(0, |bits: u64, byte| bits << 8 | u64::from(*byte));
                    let digits = (0..12).map(|digit| bits >> (64 - 5 * (digit + 1)) & 0x1f);
                    return digits.map(|digit| char::from(b'0' + u8::try_from(digit).unwrap())).collect();
                }
            }
        }
    }
}

/// An integer with a prefix of so many bits (section 5.1).
fn integer(block: &mut &[u8], bits: u32) -> usize {
    let mut next = || {
        let (&byte, rest) = block.split_first().unwrap();
        *block = rest;
        usize::from(byte)
    };
    let most = (1 << bits) - 1;
    let mut value = next() & most;
    if value == most {
        for shift in (0..).step_by(7) {
            let byte = next();
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    value
}

/// The bytes of a string (section 5.2), Huffman coded or not.
fn string<'a>(block: &mut &'a [u8]) -> &'a [u8] {
    let length = integer(block, 7);
    let (string, rest) = block.split_at(length);
    *block = rest;
    string
}
