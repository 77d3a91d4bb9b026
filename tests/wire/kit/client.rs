use std::error::Error;
use std::future::Future;
use std::io;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower::{ServiceExt, service_fn};
use tower_rampart::{BoxError, ClassifyLayer};

pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// What every test does: one request through `ClassifyLayer` on hyper-util's client.
pub(crate) async fn send<C>(client: &Client<C, Body>, request: Request<Body>) -> Result<Response<Incoming>, BoxError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let service = tower::ServiceBuilder::new().layer(ClassifyLayer::new_for_http()).service(client.clone());
    service.oneshot(request).await
}

/// [`send`] that has to fail.
pub(crate) async fn failure<C>(client: &Client<C, Body>, request: Request<Body>) -> Box<dyn Error + Send + Sync>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    send(client, request).await.map(|response| response.status()).expect_err("the call should have failed")
}

pub(crate) fn get(uri: Uri) -> Request<Body> {
    Request::get(uri).body(Empty::new().map_err(|never| match never {}).boxed()).unwrap()
}

/// A request whose body fails after its first chunk.
pub(crate) fn post_failing_body(uri: Uri) -> Request<Body> {
    post_body_failing_with(uri, io::Error::other("the file is gone"))
}

pub(crate) fn post_body_failing_with(uri: Uri, error: io::Error) -> Request<Body> {
    let chunks = [Ok(Frame::data(Bytes::from_static(b"half a"))), Err(error)];
    let body = StreamBody::new(Chunks(Vec::from(chunks).into_iter()));
    Request::post(uri).body(BodyExt::boxed(body)).unwrap()
}

/// HTTP/1.1, as hyper-util makes it by default.
pub(crate) fn http1() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// HTTP/2 with prior knowledge.
pub(crate) fn http2() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

/// A connector that hands over its connection only when the server has something to tell: bytes, its end or a reset.
pub(crate) fn patient_connector() -> impl Connect + Clone + Send + Sync + 'static {
    service_fn(|uri: Uri| {
        Box::pin(async move {
            let stream = TcpStream::connect((uri.host().unwrap(), uri.port_u16().unwrap())).await?;
            // A reset shows as an error here, and again to the next reader.
            let _ = stream.peek(&mut [0]).await;
            Ok::<_, io::Error>(TokioIo::new(stream))
        })
    })
}

/// A connector that fails as told, for what loopback cannot do.
pub(crate) fn failing_connector<F, Fut, E>(fail: F) -> impl Connect + Clone + Send + Sync + 'static
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = E> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    service_fn(move |_: Uri| {
        let failing = fail();
        Box::pin(async move { Err::<TokioIo<TcpStream>, BoxError>(failing.await.into()) })
    })
}

pub(crate) fn over<C>(connector: C) -> Client<C, Body>
where
    C: Connect + Clone,
{
    Client::builder(TokioExecutor::new()).build(connector)
}

struct Chunks(std::vec::IntoIter<Result<Frame<Bytes>, io::Error>>);

impl futures_core::Stream for Chunks {
    type Item = Result<Frame<Bytes>, io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}
