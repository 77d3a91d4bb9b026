//! The app behind the proxy: acts on requests, writes them down, and answers a few milliseconds later.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ledger::Writer;
use crate::request::{GRPC, ID, LENGTH, SEND, is_intact};

pub type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// Serves HTTP/1.1 and HTTP/2 until standard input ends, then finishes the requests that it has received. It
/// ends with the process that started it, because standard input ends then.
pub async fn serve(address: SocketAddr, ledger: &Path) -> io::Result<()> {
    let ledger = Arc::new(Writer::open(ledger)?);
    let listener = TcpListener::bind(address).await?;
    let mut connections = JoinSet::new();
    let mut accept = |stream: tokio::net::TcpStream| {
        let ledger = ledger.clone();
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            let act = service_fn(move |request| {
                let ledger = ledger.clone();
                async move { act(&ledger, request).await }
            });
            // Ends when the proxy goes.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), act).await;
        });
    };
    let mut end = [0; 1];
    let mut input = tokio::io::stdin();
    loop {
        tokio::select! {
            stream = listener.accept() => accept(stream?.0),
            _ = input.read(&mut end) => break,
        }
    }
    // What the kernel has accepted may hold requests too.
    while let Ok(stream) = timeout(Duration::from_millis(50), listener.accept()).await {
        accept(stream?.0);
    }
    let _ = timeout(Duration::from_secs(5), async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Records the request once all of it is here, then takes 1 to 8 ms to answer. A request that does not arrive in full
/// is not acted on.
pub async fn act<B>(ledger: &Writer, request: Request<B>) -> Result<Response<Answer>, B::Error>
where
    B: Body,
{
    let (head, body) = request.into_parts();
    let number = |name| -> u64 { head.headers.get(name).and_then(|n| n.to_str().ok()?.parse().ok()).unwrap_or(0) };
    let (id, send, length) = (number(ID), number(SEND), number(LENGTH));
    let grpc = head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(GRPC.as_bytes()));
    let body = body.collect().await?.to_bytes();
    let intact = is_intact(id, usize::try_from(length).unwrap_or(usize::MAX), grpc, &body);
    // Without its ledger the app must not answer as if it had done its work.
    if ledger.record(id, send, intact).is_err() {
        return Ok(answer(StatusCode::INTERNAL_SERVER_ERROR, 0, false));
    }
    let micros = 1_000 + send.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 7_000;
    tokio::time::sleep(Duration::from_micros(micros)).await;
    Ok(answer(StatusCode::OK, id, grpc))
}

/// The id as text; over gRPC as a message. The text has a known length, so the answer a `Content-Length`: HAProxy 2.6
/// ends an HTTP/2 answer without one cleanly when its server dies after the head, and then no client can see that it
/// was cut.
fn answer(status: StatusCode, id: u64, grpc: bool) -> Response<Answer> {
    let text = id.to_string();
    let mut response = Response::new(if grpc { message(&text) } else { Full::from(text).boxed_unsync() });
    *response.status_mut() = status;
    if grpc {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    }
    response
}

fn message(text: &str) -> Answer {
    let mut message = vec![0, 0, 0, 0, u8::try_from(text.len()).unwrap_or(0)];
    message.extend(text.as_bytes());
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let frames = [Ok(Frame::data(Bytes::from(message))), Ok(Frame::trailers(trailers))];
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_cut_short_shows_by_its_length() {
        assert_eq!(answer(StatusCode::OK, 4_711, false).body().size_hint().exact(), Some(4));
    }
}
