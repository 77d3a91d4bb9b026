//! HTTP/2 on a connection that stands.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tower_rampart::classify::{Class, Health, Processed};

use crate::kit::client::{self, failure, get, post_failing_body, send};
use crate::kit::frames::{self, FIRST};
use crate::kit::server::{Server, fin, rst, stall};
use crate::kit::{Facts, facts_of, find};

const fn in_flight(reason: &'static str) -> Facts {
    (Class::Transient, Processed::Maybe, Health::Failure, reason)
}

const fn unprocessed(health: Health, reason: &'static str) -> Facts {
    (Class::Transient, Processed::No, health, reason)
}

/// A GOAWAY proves nothing, although these are told only of streams beyond the last one: see `goaway`.
const fn going_away(health: Health) -> Facts {
    (Class::Transient, Processed::Maybe, health, "goaway")
}

/// What a call meets whose stream the server resets with this code.
async fn on_reset_stream(code: u32) -> Facts {
    let server = Server::start(move |mut stream| async move {
        frames::accept_request(&mut stream).await;
        frames::reset_stream(&mut stream, FIRST, code).await;
        stall(stream).await;
    })
    .await;
    facts_of(&*failure(&client::http2(), get(server.uri())).await)
}

/// What a call meets on stream 1 when the server goes away, with this last stream and code, and then ends the
/// connection or not.
async fn on_go_away(last_id: u32, code: u32, end: Option<fn(TcpStream)>) -> Facts {
    let server = Server::start(move |mut stream| async move {
        frames::accept_request(&mut stream).await;
        frames::go_away(&mut stream, last_id, code).await;
        match end {
            Some(end) => end(stream),
            None => stall(stream).await,
        }
    })
    .await;
    facts_of(&*failure(&client::http2(), get(server.uri())).await)
}

/// A client that starts on a connection only when the server has something to say.
fn patient_http2() -> Client<impl Connect + Clone + Send + Sync + 'static, client::Body> {
    Client::builder(TokioExecutor::new()).http2_only(true).build(client::patient_connector())
}

#[tokio::test]
async fn refused_stream() {
    assert_eq!(on_reset_stream(frames::REFUSED_STREAM).await, unprocessed(Health::Neutral, "refused_stream"));
}

#[tokio::test]
async fn remote_reset() {
    assert_eq!(on_reset_stream(frames::CANCEL).await, in_flight("reset"));
    assert_eq!(on_reset_stream(frames::INTERNAL_ERROR).await, in_flight("reset"));
}

/// Nothing says that the stream was not acted on, but what is asked for is plain.
#[tokio::test]
async fn remote_reset_to_calm_down() {
    let throttled = (Class::Transient, Processed::Maybe, Health::Throttled, "reset");
    assert_eq!(on_reset_stream(frames::ENHANCE_YOUR_CALM).await, throttled);
}

#[tokio::test]
async fn go_away_beyond_the_last_id() {
    for code in [frames::NO_ERROR, frames::INTERNAL_ERROR] {
        assert_eq!(on_go_away(0, code, None).await, going_away(Health::Neutral));
        assert_eq!(on_go_away(0, code, Some(fin)).await, going_away(Health::Neutral));
    }
}

#[tokio::test]
async fn go_away_to_calm_down() {
    assert_eq!(on_go_away(0, frames::ENHANCE_YOUR_CALM, None).await, going_away(Health::Throttled));
}

#[tokio::test]
async fn go_away_that_covers_the_stream() {
    for code in [frames::NO_ERROR, frames::INTERNAL_ERROR, frames::ENHANCE_YOUR_CALM] {
        assert_eq!(on_go_away(FIRST, code, Some(fin)).await, in_flight("reset"), "{code}");
    }
}

/// The server sends its settings and goes away at once, before the first request of a fresh connection.
#[tokio::test]
async fn go_away_on_connect() {
    let server = Server::start(|mut stream| async move {
        frames::settings(&mut stream).await;
        frames::go_away(&mut stream, 0, frames::NO_ERROR).await;
        stream.shutdown().await.unwrap();
        stall(stream).await;
    })
    .await;
    let error = failure(&patient_http2(), get(server.uri())).await;
    assert_eq!(facts_of(&*error), unprocessed(Health::Failure, "canceled"));
}

/// The server allows one stream at a time. The last request waits for its stream when the server goes away and answers
/// the stream that is open, as nginx does after `keepalive_requests`. Hyper drops the request that waits.
#[tokio::test]
async fn go_away_drops_a_request_that_waits_for_its_stream() {
    const ONE_STREAM: &[u8] = &[0, 3, 0, 0, 0, 1];
    let (go_away, may_go_away) = tokio::sync::mpsc::unbounded_channel::<()>();
    let may_go_away = std::sync::Arc::new(tokio::sync::Mutex::new(may_go_away));
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let (may_go_away, arrived) = (may_go_away.clone(), arrived.clone());
        async move {
            frames::accept_request(&mut stream).await;
            frames::send(&mut stream, frames::SETTINGS, 0, 0, ONE_STREAM).await;
            frames::headers(&mut stream, FIRST, &[(":status", "204")], true).await;
            frames::next_request(&mut stream).await;
            arrived.send(()).unwrap();
            may_go_away.lock().await.recv().await.unwrap();
            frames::go_away(&mut stream, u32::MAX >> 1, frames::NO_ERROR).await;
            frames::headers(&mut stream, FIRST + 2, &[(":status", "204")], true).await;
            stall(stream).await;
        }
    })
    .await;
    let client = client::http2();
    // By its answer the client knows the limit.
    send(&client, get(server.uri())).await.unwrap();
    let call = || {
        tokio::spawn({
            let (client, request) = (client.clone(), get(server.uri()));
            async move { send(&client, request).await }
        })
    };
    let open = call();
    has_arrived.recv().await.unwrap();
    let waiting = call();
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    go_away.send(()).unwrap();
    let error = waiting.await.unwrap().map(|_| ()).unwrap_err();
    assert!(find::<hyper::Error>(&*error).unwrap().is_user());
    assert_eq!(facts_of(&*error), (Class::Transient, Processed::Maybe, Health::Neutral, "dispatch_gone"));
    assert_eq!(open.await.unwrap().unwrap().status(), 204);
}

#[tokio::test]
async fn connection_dies_in_its_handshake() {
    let server = Server::start(|stream| async move { rst(stream) }).await;
    let error = failure(&patient_http2(), get(server.uri())).await;
    assert_eq!(facts_of(&*error), unprocessed(Health::Failure, "connect"));
    assert!(find::<ClientError>(&*error).unwrap().connect_info().is_none());

    // The client's half of an HTTP/2 handshake needs no answer, so hyper finds the end only when it has a request to
    // hand over.
    let server = Server::start(|stream| async move { fin(stream) }).await;
    let error = failure(&patient_http2(), get(server.uri())).await;
    assert_eq!(facts_of(&*error), unprocessed(Health::Failure, "canceled"));
}

#[tokio::test]
async fn eof_in_flight() {
    let server = Server::start(|mut stream| async move {
        frames::accept_request(&mut stream).await;
        fin(stream);
    })
    .await;
    let error = failure(&client::http2(), get(server.uri())).await;
    assert_eq!(facts_of(&*error), in_flight("reset"));
}

#[tokio::test]
async fn rst_in_flight() {
    let server = Server::start(|mut stream| async move {
        frames::accept_request(&mut stream).await;
        rst(stream);
    })
    .await;
    let error = failure(&client::http2(), get(server.uri())).await;
    assert_eq!(facts_of(&*error), in_flight("reset"));
}

/// Of a body hyper does not say itself that the connection failed, but h2 underneath does.
#[tokio::test]
async fn rst_inside_the_body() {
    let (read, has_read) = tokio::sync::mpsc::unbounded_channel::<()>();
    let has_read = std::sync::Arc::new(tokio::sync::Mutex::new(has_read));
    let server = Server::start(move |mut stream| {
        let has_read = has_read.clone();
        async move {
            frames::accept_request(&mut stream).await;
            frames::headers(&mut stream, FIRST, &[(":status", "200")], false).await;
            has_read.lock().await.recv().await.unwrap();
            rst(stream);
        }
    })
    .await;
    let response = send(&client::http2(), get(server.uri())).await.unwrap();
    read.send(()).unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(facts_of(&error), in_flight("reset"));
}

/// DATA on stream 0, which belongs to the connection.
#[tokio::test]
async fn peer_at_fault() {
    let server = Server::start(|mut stream| async move {
        frames::accept_request(&mut stream).await;
        frames::send(&mut stream, frames::DATA, 0, 0, b"junk").await;
        stall(stream).await;
    })
    .await;
    let error = failure(&client::http2(), get(server.uri())).await;
    assert_eq!(facts_of(&*error), in_flight("protocol"));
}

#[tokio::test]
async fn own_request_body_failed() {
    let server = Server::start(|mut stream| async move {
        frames::accept_request(&mut stream).await;
        stall(stream).await;
    })
    .await;
    let error = failure(&client::http2(), post_failing_body(server.uri())).await;
    assert_eq!(facts_of(&*error), (Class::Terminal, Processed::Maybe, Health::Neutral, "user"));
}

/// The server answers no ping. The clock is paused once it has the request, so that only the keep-alive can happen.
#[tokio::test]
async fn keep_alive_timeout() {
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let arrived = arrived.clone();
        async move {
            frames::accept_request(&mut stream).await;
            arrived.send(()).unwrap();
            stall(stream).await;
        }
    })
    .await;
    let client = Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_only(true)
        .http2_keep_alive_interval(Duration::from_secs(3600))
        .http2_keep_alive_timeout(Duration::from_secs(3600))
        .build_http();
    let uri = server.uri();
    let call = tokio::spawn(async move { failure(&client, get(uri)).await });
    has_arrived.recv().await.unwrap();
    tokio::time::pause();
    assert_eq!(facts_of(&*call.await.unwrap()), in_flight("timeout"));
}
