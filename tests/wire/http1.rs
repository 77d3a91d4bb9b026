//! HTTP/1.1 on a connection that stands.

use std::io::{self, Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;
use tower::ServiceExt;
use tower_rampart::ClassifyLayer;
use tower_rampart::classify::{Class, ClassifiedError, Health, Processed, Reason, Verdict};

use crate::kit::client::{self, failure, get, post_body_failing_with, post_failing_body, send};
use crate::kit::server::{Server, fin, read_head, rst, say, stall};
use crate::kit::{Facts, facts_of, find};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

const fn in_flight(reason: &'static str) -> Facts {
    (Class::Transient, Processed::Maybe, Health::Failure, reason)
}

#[tokio::test]
async fn fin_before_the_status_line() {
    let server = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        fin(stream);
    })
    .await;
    let error = failure(&client::http1(), get(server.uri())).await;
    assert_eq!(facts_of(&*error), in_flight("incomplete"));
    // The other half of `connection_dies_in_its_handshake`.
    assert!(find::<ClientError>(&*error).unwrap().connect_info().is_some());
}

#[tokio::test]
async fn fin_inside_the_head() {
    let server = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-le").await;
        fin(stream);
    })
    .await;
    let error = failure(&client::http1(), get(server.uri())).await;
    assert_eq!(facts_of(&*error), in_flight("incomplete"));
}

#[tokio::test]
async fn rst_before_the_status_line() {
    let server = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        rst(stream);
    })
    .await;
    let error = failure(&client::http1(), get(server.uri())).await;
    assert_eq!(facts_of(&*error), in_flight("reset"));
}

#[tokio::test]
async fn rst_inside_the_head() {
    let server = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-le").await;
        rst(stream);
    })
    .await;
    let error = failure(&client::http1(), get(server.uri())).await;
    assert_eq!(facts_of(&*error), in_flight("reset"));
}

/// The second request is on its way when the server ends a connection that was kept alive.
#[tokio::test]
async fn keep_alive_race() {
    let server = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, OK).await;
        read_head(&mut stream).await;
        fin(stream);
    })
    .await;
    let client = client::http1();
    send(&client, get(server.uri())).await.unwrap().into_body().collect().await.unwrap();
    let error = failure(&client, get(server.uri())).await;
    assert_eq!(facts_of(&*error), in_flight("incomplete"));
}

/// The server has ended the connection, and the client is about to notice when it queues the second request.
///
/// The end of the connection and a byte on another one arrive while the client's thread is held up, so its runtime
/// learns of both at once. It then runs the test, which waits for the byte, before the task of the connection.
#[tokio::test]
async fn pooled_connection_closed_before_the_write() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let uri: http::Uri = format!("http://{address}/").parse().unwrap();
    let (close, may_close) = mpsc::channel::<()>();
    let (closed, has_closed) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let (mut signal, _) = listener.accept().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        stream.write_all(OK).unwrap();
        may_close.recv().unwrap();
        drop(stream);
        signal.write_all(b"!").unwrap();
        closed.send(()).unwrap();
    });

    let signal = TcpStream::connect(address).await.unwrap();
    let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
    send(&client, get(uri.clone())).await.unwrap().into_body().collect().await.unwrap();
    // Lets the connection go back to the pool.
    tokio::task::yield_now().await;
    close.send(()).unwrap();
    has_closed.recv().unwrap();
    signal.readable().await.unwrap();
    let error = failure(&client, get(uri)).await;
    assert_eq!(facts_of(&*error), (Class::Transient, Processed::No, Health::Failure, "canceled"));
}

/// The connection is gone before the client could hand it the request.
#[tokio::test]
async fn connection_dies_in_its_handshake() {
    for end in [fin, rst] {
        let server = Server::start(move |stream| async move { end(stream) }).await;
        let error = failure(&client::over(client::patient_connector()), get(server.uri())).await;
        assert_eq!(facts_of(&*error), (Class::Transient, Processed::No, Health::Failure, "connect"));
        let client = find::<ClientError>(&*error).unwrap();
        assert!(!client.is_connect() && client.connect_info().is_none(), "{client:?}");
    }
}

#[tokio::test]
async fn garbage_instead_of_http() {
    let server = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, b"\x00\x01SSH-2.0-dropbear\r\n\r\n").await;
        stall(stream).await;
    })
    .await;
    let error = failure(&client::http1(), get(server.uri())).await;
    assert_eq!(facts_of(&*error), (Class::Ambiguous, Processed::Maybe, Health::Failure, "protocol"));
}

#[tokio::test]
async fn own_request_body_failed() {
    let server = Server::start(stall).await;
    let error = failure(&client::http1(), post_failing_body(server.uri())).await;
    // All that tells the failure of a body that is no replay body from a request that hyper dropped.
    assert_eq!(find::<hyper::Error>(&*error).unwrap().to_string(), "error from user's Body stream");
    assert_eq!(facts_of(&*error), (Class::Terminal, Processed::Maybe, Health::Neutral, "user"));
}

/// The body of the request is the answer of another call, which failed and was judged. That says nothing of this one.
#[tokio::test]
async fn own_request_body_failed_for_reasons_that_were_judged() {
    let server = Server::start(stall).await;
    let other = ClassifiedError::new(Verdict::transient().with_processed(Processed::No).with_reason(Reason::GOAWAY));
    let error = failure(&client::http1(), post_body_failing_with(server.uri(), io::Error::other(other))).await;
    assert_eq!(facts_of(&*error), (Class::Terminal, Processed::Maybe, Health::Neutral, "user"));
}

/// The connection lives on a runtime of its own, which ends while the call is under way.
#[test]
fn runtime_shut_down_under_the_client() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (calling, connections) = (runtime(), runtime());
    let (arrived, has_arrived) = mpsc::channel::<()>();
    let server = calling.block_on(Server::start(move |mut stream| {
        let arrived = arrived.clone();
        async move {
            read_head(&mut stream).await;
            arrived.send(()).unwrap();
            stall(stream).await;
        }
    }));

    let client = Client::builder(OnRuntime(connections.handle().clone())).build_http();
    let call = calling.spawn({
        let (client, request) = (client, get(server.uri()));
        async move { failure(&client, request).await }
    });
    has_arrived.recv().unwrap();
    connections.shutdown_timeout(Duration::from_secs(30));
    let error = calling.block_on(call).unwrap();
    // Hyper's word for what the request body failed with, too.
    assert!(find::<hyper::Error>(&*error).unwrap().is_user());
    assert_eq!(facts_of(&*error), (Class::Transient, Processed::Maybe, Health::Neutral, "dispatch_gone"));
}

/// Timeouts around the call: tower's and tokio's. The clock stands still but for them from the moment the server has
/// the request.
#[tokio::test]
async fn timeout_after_sending() {
    let (server, mut arrived) = stalling_server().await;
    let call = tower::ServiceBuilder::new()
        .layer(ClassifyLayer::new_for_http())
        .timeout(Duration::from_secs(3600))
        .service(client::http1())
        .oneshot(get(server.uri()));
    let call = tokio::spawn(call);
    arrived.recv().await.unwrap();
    tokio::time::pause();
    let error = call.await.unwrap().map(|_| ()).unwrap_err();
    assert_eq!(facts_of(&*error), in_flight("timeout"));
    assert!(find::<tower::timeout::error::Elapsed>(&*error).is_some());

    tokio::time::resume();
    let client = client::http1();
    let uri = server.uri();
    let call =
        tokio::spawn(async move { tokio::time::timeout(Duration::from_secs(3600), send(&client, get(uri))).await });
    arrived.recv().await.unwrap();
    tokio::time::pause();
    let elapsed = call.await.unwrap().map(|_| ()).unwrap_err();
    assert_eq!(facts_of(&elapsed), in_flight("timeout"));
}

async fn stalling_server() -> (Server, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let (arrived, has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let arrived = arrived.clone();
        async move {
            read_head(&mut stream).await;
            arrived.send(()).unwrap();
            stall(stream).await;
        }
    })
    .await;
    (server, has_arrived)
}

#[derive(Clone)]
struct OnRuntime(tokio::runtime::Handle);

impl<F> hyper::rt::Executor<F> for OnRuntime
where
    F: std::future::Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        drop(self.0.spawn(future));
    }
}
