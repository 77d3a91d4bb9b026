//! The rules on real sockets: hyper's client and server on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_rampart::classify::{Health, Reason};
use tower_rampart::retry::{Backoff, GiveUp, RetryReport};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::{Chunk, Chunks, SECOND, gave_up, report};

/// A request as the server saw it.
#[derive(Debug)]
struct Got {
    headers: HeaderMap,
    body: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

type Log = Arc<Mutex<Vec<Got>>>;

/// Answers request after request with these statuses and headers, the last one for ever.
async fn server(answers: &'static [(u16, &'static [(&'static str, &'static str)])]) -> (SocketAddr, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = Log::default();
    let seen = Arc::clone(&log);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            let service = service_fn(move |request: Request<Incoming>| {
                let seen = Arc::clone(&seen);
                async move {
                    let (head, body) = request.into_parts();
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(Got { headers: head.headers, body: None, trailers: None });
                        seen.len() - 1
                    };
                    if let Ok(body) = body.collect().await {
                        seen.lock().unwrap()[number].trailers = body.trailers().cloned();
                        seen.lock().unwrap()[number].body = Some(body.to_bytes());
                    }
                    let (status, headers) = answers[number.min(answers.len() - 1)];
                    let mut response = Response::builder().status(status);
                    for (name, value) in headers {
                        response = response.header(*name, *value);
                    }
                    Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
                }
            });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, log)
}

/// Gives every connection in turn, with its number, to a script.
async fn raw_server<F>(script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> (SocketAddr, Arc<Mutex<usize>>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(Mutex::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = *count.lock().unwrap();
            *count.lock().unwrap() += 1;
            tokio::spawn(script(number, stream));
        }
    });
    (address, connections)
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// RST instead of FIN.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
}

fn layer() -> RetryLayer {
    RetryLayer::new_for_http().backoff(Backoff::none()).no_budget()
}

async fn send<B>(layer: RetryLayer, request: Request<B>) -> Result<Response<Incoming>, BoxError>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let is_h2 = request.version() == Version::HTTP_2;
    let client = Client::builder(TokioExecutor::new()).http2_only(is_h2).build_http();
    ServiceBuilder::new().layer(layer).service(client).oneshot(request).await
}

fn to(address: SocketAddr, method: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://{address}/"))
}

/// hyper's client requires `Unpin` bodies.
fn boxed(body: Chunks) -> std::pin::Pin<Box<Chunks>> {
    Box::pin(body)
}

#[tokio::test]
async fn no_turbofish_is_needed_for_a_hyper_client() -> Result<(), BoxError> {
    let (address, _) = server(&[(503, &[]), (200, &[])]).await;
    let mut client = ServiceBuilder::new().layer(layer()).service(Client::builder(TokioExecutor::new()).build_http());
    let response = client.ready().await?.call(to(address, "GET").body(Full::<Bytes>::default())?).await?;
    assert_eq!((response.status().as_u16(), report(&response)), (200, (2, None)));
    Ok(())
}

#[tokio::test]
async fn rule_8_a_post_with_a_key_arrives_identically_twice() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let (address, log) = server(&[(503, &[]), (200, &[])]).await;
        let text = "amount=5;".repeat(4_000);
        let request = to(address, "POST")
            .version(version)
            .header("idempotency-key", "7f3a")
            .body(Full::new(Bytes::from(text.clone())))
            .unwrap();
        assert_eq!(send(layer(), request).await.unwrap().status(), 200);
        let log = log.lock().unwrap();
        assert_eq!(log.len(), 2, "{version:?}");
        for got in &*log {
            assert_eq!(got.body.as_deref(), Some(text.as_bytes()));
            assert_eq!(got.headers["content-length"], "36000");
            assert_eq!(got.headers["idempotency-key"], "7f3a");
        }
    }
}

#[tokio::test]
async fn rule_8_a_streamed_body_arrives_identically_with_its_trailers() {
    let trailers = HeaderMap::from_iter([("checksum".parse().unwrap(), "1f3a".parse().unwrap())]);
    for (version, trailers) in [Version::HTTP_11, Version::HTTP_2]
        .into_iter()
        .flat_map(|version| [(version, Some(&trailers)), (version, None)])
    {
        let (address, log) = server(&[(503, &[]), (503, &[]), (200, &[])]).await;
        let body = Chunks::of(["one ", "two ", "three"]);
        let body = trailers.cloned().into_iter().fold(body, |body, trailers| body.then(Chunk::Trailers(trailers)));
        let request = to(address, "PUT").version(version).header("trailer", "checksum").body(boxed(body)).unwrap();
        assert_eq!(send(layer(), request).await.unwrap().status(), 200);
        let log = log.lock().unwrap();
        assert_eq!(log.len(), 3);
        for got in &*log {
            let expected = (Some(&b"one two three"[..]), trailers);
            assert_eq!((got.body.as_deref(), got.trailers.as_ref()), expected, "{version:?}");
            assert!(!got.headers.contains_key("content-length"), "framed as the first");
        }
    }
}

#[tokio::test]
async fn rule_1_a_post_that_got_503_is_not_sent_again() {
    let (address, log) = server(&[(503, &[]), (200, &[])]).await;
    let response = send(layer(), to(address, "POST").body(Full::<Bytes>::from("5 euros")).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), log.lock().unwrap().len()), (503, 1));
    let report = RetryReport::of(&response).unwrap();
    assert_eq!((report.attempts(), report.gave_up()), (1, Some(GiveUp::NotIdempotent)));
}

#[tokio::test]
async fn rule_1_a_reset_get_is_sent_again_and_a_reset_post_is_not() {
    for (method, connections) in [("GET", 2), ("POST", 1)] {
        let (address, count) = raw_server(|number, mut stream| async move {
            read_head(&mut stream).await;
            if number == 0 {
                reset(stream);
            } else {
                say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            }
        })
        .await;
        let outcome = send(layer(), to(address, method).body(Full::<Bytes>::default()).unwrap()).await;
        assert_eq!(*count.lock().unwrap(), connections, "{method}");
        match outcome {
            Ok(response) => assert_eq!(report(&response), (2, None)),
            Err(error) => assert_eq!(gave_up(&error).kind(), GiveUp::NotIdempotent),
        }
    }
}

#[tokio::test]
async fn rule_1_a_post_whose_connection_was_refused_is_sent_again() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let got = Arc::new(Mutex::new(None));
    let client = Client::builder(TokioExecutor::new()).build_http();
    // The server comes up while the client waits.
    let layer = layer().on_retry(|event| {
        assert_eq!((event.attempt(), event.verdict().reason()), (1, Reason::CONNECT));
        let listener = std::net::TcpListener::bind(address).unwrap();
        let got = Arc::clone(&got);
        listener.set_nonblocking(true).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = TcpListener::from_std(listener).unwrap().accept().await.unwrap();
            read_head(&mut stream).await;
            let mut body = vec![0; 7];
            stream.read_exact(&mut body).await.unwrap();
            *got.lock().unwrap() = Some(String::from_utf8(body).unwrap());
            say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        });
    });
    let request = to(address, "POST").body(Full::<Bytes>::from("5 euros")).unwrap();
    let response = ServiceBuilder::new().layer(layer).service(client).oneshot(request).await.unwrap();
    assert_eq!(report(&response), (2, None));
    assert_eq!(got.lock().unwrap().as_deref(), Some("5 euros"));
}

#[tokio::test]
async fn rule_2_a_hint_of_zero_and_a_past_date_mean_no_wait() {
    let (address, log) = server(&[
        (429, &[("retry-after", "0")]),
        (503, &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]),
        (503, &[("retry-after", "61")]),
        (200, &[]),
    ])
    .await;
    let response =
        send(layer().max_attempts(9), to(address, "GET").body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (503, (3, Some(GiveUp::RetryAfterTooLong))));
    assert_eq!(log.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn rule_8_an_answer_that_overtakes_the_body_is_final() {
    let (address, count) = raw_server(|_, mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
        // Keeps reading, as a server does that answers early.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let body = Chunks::of(["one"]).then(Chunk::Stall);
    let response = send(layer(), to(address, "PUT").body(boxed(body)).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), *count.lock().unwrap()), (503, 1));
}

/// Answers 503 as soon as the head is there and drops the body unread, which over HTTP/2 resets its stream.
#[tokio::test]
async fn rule_8_a_server_that_drops_the_body_unread_gets_a_post_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            let service = service_fn(move |_: Request<Incoming>| {
                *count.lock().unwrap() += 1;
                std::future::ready(Ok::<_, Infallible>(
                    Response::builder().status(503).body(Full::<Bytes>::default()).unwrap(),
                ))
            });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let body = Chunks::of(["one"]).then(Chunk::Stall);
        let response = send(layer(), to(address, "PUT").version(version).body(boxed(body)).unwrap()).await.unwrap();
        // Sent again if the connection has dropped the body by then. Otherwise the first response is final.
        let sent = std::mem::take(&mut *requests.lock().unwrap());
        let (attempts, gave_up) = report(&response);
        assert_eq!((response.status().as_u16(), sent), (503, attempts), "{version:?}");
        assert!(matches!(gave_up, Some(GiveUp::Exhausted | GiveUp::BodyNotReplayable)), "{gave_up:?}");
        // A POST is sent once, however large its body and whatever the transport makes of the early end.
        let body = Full::<Bytes>::from(vec![b'x'; 4 << 20]);
        let _ = send(layer(), to(address, "POST").version(version).body(body).unwrap()).await;
        assert_eq!(std::mem::take(&mut *requests.lock().unwrap()), 1, "{version:?}");
    }
}

#[tokio::test]
async fn rule_8_a_failed_request_body_is_not_the_servers_fault_on_both_versions() {
    for (version, attempts) in
        [(Version::HTTP_11, 3), (Version::HTTP_2, 3), (Version::HTTP_11, 1), (Version::HTTP_2, 1)]
    {
        let (address, log) = server(&[(200, &[])]).await;
        let body = Chunks::of(["one", "two"]).then(Chunk::Fail);
        let request = to(address, "PUT").version(version).body(boxed(body)).unwrap();
        // Also if the first attempt is the only one, whose body nothing keeps.
        let error = send(layer().max_attempts(attempts), request).await.unwrap_err();
        assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::BodyFailed, 1), "{version:?}");
        let verdict = gave_up(&error).verdict();
        assert_eq!((verdict.health(), verdict.reason()), (Health::Neutral, Reason::USER));
        assert!(log.lock().unwrap().len() <= 1);
        assert!(log.lock().unwrap().iter().all(|got| got.body.is_none()), "half a body passed for a whole one");
    }
}

/// An abandoned connection continues to send and must not read the body of the next attempt.
#[tokio::test]
async fn rule_8_a_body_moves_from_a_connection_that_died_to_the_next() {
    let (whole, mut wholes) = tokio::sync::mpsc::unbounded_channel();
    let second = Arc::new(Notify::new());
    let is_there = Arc::clone(&second);
    let (address, count) = raw_server(move |number, mut stream| {
        let (whole, is_there) = (whole.clone(), Arc::clone(&is_there));
        async move {
            read_head(&mut stream).await;
            if number > 0 {
                is_there.notify_waiters();
            }
            let mut body = vec![0; if number == 0 { 3 } else { 6 }];
            stream.read_exact(&mut body).await.unwrap();
            if number == 0 {
                reset(stream);
            } else {
                whole.send(body).unwrap();
                say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    let body = Chunks::of(["one"]).then(Chunk::Until(second)).then(Chunk::Data("two".into())).exact();
    let response = send(layer().deadline(60 * SECOND), to(address, "PUT").body(boxed(body)).unwrap()).await.unwrap();
    assert_eq!((report(&response), *count.lock().unwrap()), ((2, None), 2));
    assert_eq!(wholes.recv().await.unwrap(), b"onetwo");
}
