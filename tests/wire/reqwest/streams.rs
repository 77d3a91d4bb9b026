//! Long bodies in both directions: nothing is kept beyond the replay limit, and what is dropped is gone.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use reqwest::Client;
use tokio::io::AsyncReadExt;
use tower::{ServiceBuilder, ServiceExt};
use tower_rampart::clients::reqwest::{ReqwestService, SendExt};

use super::service::{breaker, retry};
use super::upstream::{Upstream, answer};
use crate::kit::server::{Server, read_head, say};

const CHUNK: usize = 16 * 1024;

/// Makes chunks as they are read, and counts those that are alive.
struct Counted {
    left: usize,
    alive: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct Chunk(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.1.fetch_sub(1, SeqCst);
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        self.most.fetch_max(self.alive.fetch_add(1, SeqCst) + 1, SeqCst);
        let chunk = Chunk(vec![7; CHUNK], self.alive.clone());
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(chunk)))))
    }
}

/// 64 MiB, of which at most the replay limit and what the socket's writer holds are alive.
#[tokio::test]
async fn rule_8_a_long_upload_is_not_kept() {
    let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
    let reqwest = ReqwestService::from_builder(Client::builder()).unwrap();
    let stack = ServiceBuilder::new().layer(retry()).layer(breaker()).service(reqwest);
    let (alive, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let body = Counted { left: 4096, alive: alive.clone(), most: most.clone() };
    let response = stack.oneshot(http::Request::put(upstream.url()).body(body).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), upstream.count(), upstream.seen()[0].body.len()), (503, 1, 4096 * CHUNK));
    assert_eq!(alive.load(SeqCst), 0);
    assert!(most.load(SeqCst) <= 64, "{} chunks", most.load(SeqCst));
}

/// A server that begins a body of 10 bytes, and reports when the client has closed the connection.
async fn half() -> (Server, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let (gone, is_gone) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let gone = gone.clone();
        async move {
            read_head(&mut stream).await;
            say(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf ").await;
            let _ = stream.read_u8().await;
            gone.send(()).unwrap();
        }
    })
    .await;
    (server, is_gone)
}

#[tokio::test]
async fn a_response_dropped_in_the_middle_closes_its_connection_and_is_no_failure() {
    let (server, mut is_gone) = half().await;
    let breaker = breaker().judge_body();
    let breakers = breaker.handle();
    let mut response = {
        let reqwest = ReqwestService::from_builder(Client::builder()).unwrap();
        let request = reqwest.client().get(server.uri().to_string());
        ServiceBuilder::new().layer(retry()).layer(breaker).service(reqwest).send(request).await.unwrap()
    };
    assert_eq!(response.chunk().await.unwrap().unwrap(), "half ");
    drop(response);
    is_gone.recv().await.unwrap();
    assert_eq!(breakers.default_partition().snapshot().failures, 0);
}

#[tokio::test]
async fn a_call_goes_on_when_its_stack_and_client_are_dropped() {
    let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
    let call = {
        let reqwest = ReqwestService::from_builder(Client::builder()).unwrap();
        let request = reqwest.client().get(upstream.url());
        ServiceBuilder::new().layer(retry()).service(reqwest).send(request)
    };
    assert_eq!((call.await.unwrap().status().as_u16(), upstream.count()), (200, 2));
}
