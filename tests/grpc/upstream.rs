//! A gRPC server that answers its n-th request, counted over all connections, as told.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::oneshot;

use crate::server::Server;

/// One message: not compressed, two bytes. To a health check it says "serving".
pub(crate) const MESSAGE: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

pub(crate) type Metadata = &'static [(&'static str, &'static str)];

pub(crate) struct Upstream {
    server: Server,
    seen: Arc<Mutex<Vec<Request<Bytes>>>>,
}

pub(crate) enum Answer {
    /// The code and all there is to say stand in the head.
    TrailersOnly(Metadata),
    /// A message, and then these trailers if there are any.
    Stream(Option<Metadata>),
    /// The same, but the message is held back until the test says so.
    Held(oneshot::Receiver<()>, Metadata),
}

impl Answer {
    pub(crate) const fn ok() -> Self {
        Self::Stream(Some(&[("grpc-status", "0")]))
    }

    pub(crate) const fn unavailable() -> Self {
        Self::TrailersOnly(&[("grpc-status", "14")])
    }
}

impl Upstream {
    pub(crate) async fn start(answer: impl FnMut(usize) -> Answer + Send + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(answer));
        let server = Server::start({
            let seen = seen.clone();
            move |stream| {
                let (seen, answer) = (seen.clone(), answer.clone());
                let respond = service_fn(move |request: Request<Incoming>| {
                    let (seen, answer) = (seen.clone(), answer.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let number = {
                            let mut seen = seen.lock().unwrap();
                            seen.push(Request::from_parts(head, body));
                            seen.len() - 1
                        };
                        let answer = (answer.lock().unwrap())(number);
                        Ok::<_, hyper::Error>(respond(answer))
                    }
                });
                async move {
                    stream.set_nodelay(true).unwrap();
                    // Ends when the client goes, or the test.
                    let _ =
                        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), respond).await;
                }
            }
        })
        .await;
        Self { server, seen }
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The requests as they came.
    pub(crate) fn seen(&self) -> Vec<Request<Bytes>> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn call(&self, path: &str) -> Request<Full<Bytes>> {
        call(&self.server, path)
    }
}

/// A unary call of this method.
pub(crate) fn call(server: &Server, path: &str) -> Request<Full<Bytes>> {
    let mut uri = server.uri().into_parts();
    uri.path_and_query = Some(path.parse().unwrap());
    Request::post(http::Uri::from_parts(uri).unwrap())
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::from(MESSAGE))
        .unwrap()
}

/// HTTP/2 with prior knowledge, whatever the body of its requests is.
pub(crate) fn client<B>() -> Client<HttpConnector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut connector = HttpConnector::new();
    // Small frames need not wait for the server to acknowledge the one before.
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).http2_only(true).build(connector)
}

fn respond(answer: Answer) -> Response<Reply> {
    let mut response = Response::new(Reply::default());
    match answer {
        Answer::TrailersOnly(head) => *response.headers_mut() = metadata(head),
        Answer::Stream(trailers) => {
            *response.body_mut() = Reply::of_message(trailers.map(metadata), None);
        }
        Answer::Held(signal, trailers) => {
            *response.body_mut() = Reply::of_message(Some(metadata(trailers)), Some(signal));
        }
    }
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn metadata(fields: Metadata) -> HeaderMap {
    fields.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

#[derive(Default)]
struct Reply {
    signal: Option<oneshot::Receiver<()>>,
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Reply {
    fn of_message(trailers: Option<HeaderMap>, signal: Option<oneshot::Receiver<()>>) -> Self {
        Self { signal, message: Some(Bytes::from_static(MESSAGE)), trailers }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(signal) = &mut self.signal {
            // A test that has gone wants no more of it either.
            let _ = ready!(Pin::new(signal).poll(cx));
            self.signal = None;
        }
        let message = self.message.take().map(Frame::data);
        Poll::Ready(message.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }
}
