//! The embedded billing API: a real hyper server on loopback that misbehaves as the plan says.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::payload::{Metric, Metrics};
use super::plan::{Answer, Plan, Tenant};
use super::tally::Tally;

/// Serves until it is dropped, and ends all its connections then.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Upstream {
    /// Listens on a free port. Every request is counted in `tally` as it comes in.
    pub(crate) async fn start(plan: Arc<Plan>, tally: Arc<Tally>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, Arc::new(BillingApi { plan, tally }))).abort_handle();
        Ok(Self { address, accepting })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, api: Arc<BillingApi>) {
    // Aborts its tasks when it is dropped with this one.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&api)))),
            // Out of file descriptors, most likely: some will come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, api: Arc<BillingApi>) {
    // Small answers must not wait for the acknowledgement of earlier ones. If it cannot be set they are late, no more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { api.serve(request).await }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let Err(error) = (&mut connection).await else { return };
    if std::error::Error::source(&error).is_some_and(|source| source.is::<ConnectionReset>()) {
        let stream = connection.into_parts().io.into_inner();
        // Closing a socket that must not linger sends RST instead of FIN.
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

#[derive(Debug)]
struct BillingApi {
    plan: Arc<Plan>,
    tally: Arc<Tally>,
}

impl BillingApi {
    async fn serve(&self, request: Request<Incoming>) -> Result<Response<Payload>, ConnectionReset> {
        let id = request.uri().path().strip_prefix("/v1/tenants/").and_then(|rest| rest.strip_suffix("/metrics"));
        let Some(tenant) = id.and_then(|id| self.plan.find(id)) else { return Ok(status(StatusCode::NOT_FOUND)) };
        let nth = self.tally.count(tenant);
        if request.method() != Method::GET {
            return Ok(status(StatusCode::METHOD_NOT_ALLOWED));
        }
        match self.plan.answer(tenant, nth) {
            Answer::Metrics => Ok(metrics(tenant, nth, 1)),
            Answer::Truncated => Ok(metrics(tenant, nth, 2)),
            Answer::Unavailable => Ok(status(StatusCode::SERVICE_UNAVAILABLE)),
            Answer::Unauthorized => Ok(status(StatusCode::UNAUTHORIZED)),
            Answer::Throttled => {
                let mut response = status(StatusCode::TOO_MANY_REQUESTS);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                Ok(response)
            }
            Answer::Silence => std::future::pending().await,
            Answer::Reset => Err(ConnectionReset),
        }
    }
}

fn status(status: StatusCode) -> Response<Payload> {
    let mut response = Response::new(Payload::default());
    *response.status_mut() = status;
    response
}

/// The metrics of a tenant, of which one part in `parts` is sent, whatever Content-Length says.
fn metrics(tenant: &Tenant, nth: u64, parts: usize) -> Response<Payload> {
    let metric = |name: &str, quantity| Metric { name: name.to_owned(), quantity };
    let metrics = Metrics {
        tenant: tenant.id.clone(),
        period: "2026-10".to_owned(),
        metrics: vec![
            metric("requests", 1_000.0 * (nth + 1) as f64),
            metric("storage_gib_hours", 12.5 * (tenant.number + 1) as f64),
        ],
    };
    let Ok(mut json) = serde_json::to_vec(&metrics) else { return status(StatusCode::INTERNAL_SERVER_ERROR) };
    let length = HeaderValue::from(json.len());
    json.truncate(json.len() / parts);
    let mut response = Response::new(Payload { data: Some(Bytes::from(json)), sent: false });
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

/// One chunk, and then the end.
#[derive(Debug, Default)]
struct Payload {
    data: Option<Bytes>,
    sent: bool,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            self.sent = true;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if std::mem::take(&mut self.sent) {
            // hyper closes the connection of a body that ends too early without sending what it holds back, so it is
            // given a turn to send the head and the chunk.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && !self.sent
    }
}

/// Makes hyper drop the connection without an answer.
#[derive(Debug)]
struct ConnectionReset;

impl fmt::Display for ConnectionReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the plan resets this connection")
    }
}

impl std::error::Error for ConnectionReset {}
