//! A client that follows redirects hides what happened, so they stay off.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::RetryLayer;
use tower_rampart::retry::{Backoff, Budget, ReplayBody};

use crate::kit::server::{Server, fin, nobody, read_head, say};

/// The client of `docs/CLIENTS.md`, without redirects. If reqwest followed them, the refused GET would make the POST
/// look unsent.
#[tokio::test]
async fn redirected_a_processed_post_is_sent_once() {
    let location = format!("http://{}/", nobody().await);
    let posts = Arc::new(AtomicU32::new(0));
    let counted = posts.clone();
    let upstream = Server::start(move |mut stream| {
        let head = format!("HTTP/1.1 303 See Other\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        counted.fetch_add(1, Relaxed);
        async move {
            read_head(&mut stream).await;
            say(&mut stream, head.as_bytes()).await;
            fin(stream);
        }
    })
    .await;
    let reqwest = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let client = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
        let reqwest = reqwest.clone();
        async move {
            let request = reqwest::Request::try_from(request.map(reqwest::Body::wrap))?;
            Ok::<Response<reqwest::Body>, reqwest::Error>(reqwest.execute(request).await?.into())
        }
    });
    let retry = RetryLayer::new_for_http().backoff(Backoff::none()).budget(Budget::unlimited());
    let post = Request::post(upstream.uri()).body(Full::<Bytes>::default()).unwrap();
    let response = ServiceBuilder::new().layer(retry).service(client).oneshot(post).await.unwrap();
    assert_eq!((response.status().as_u16(), posts.load(Relaxed)), (303, 1));
}
