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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Bench {
        tally: Arc<Tally>,
        plan: Arc<Plan>,
        upstream: Upstream,
    }

    impl Bench {
        async fn start() -> Self {
            let plan = Arc::new(Plan::new(1, 40));
            let tally = Arc::new(Tally::new(&plan));
            let upstream = Upstream::start(Arc::clone(&plan), Arc::clone(&tally)).await.unwrap();
            Self { tally, plan, upstream }
        }

        /// Sends a request on a connection of its own.
        async fn send(&self, id: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.upstream.address()).await.unwrap();
            let request = format!("GET /v1/tenants/{id}/metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        }

        /// All that comes, to the end of the connection.
        async fn get(&self, id: &str) -> io::Result<String> {
            let mut received = String::new();
            self.send(id).await.read_to_string(&mut received).await.map(|_| received)
        }
    }

    #[tokio::test]
    async fn each_group_gets_the_treatment_of_the_plan() {
        let bench = Bench::start().await;
        assert!(bench.get("down-01").await.unwrap().starts_with("HTTP/1.1 503 "));
        assert!(bench.get("unauthorized-01").await.unwrap().starts_with("HTTP/1.1 401 "));
        assert!(bench.get("nobody-01").await.unwrap().starts_with("HTTP/1.1 404 "));

        assert!(bench.get("throttled-01").await.unwrap().starts_with("HTTP/1.1 200 "));
        for _ in 0..4 {
            let throttled = bench.get("throttled-01").await.unwrap();
            assert!(throttled.starts_with("HTTP/1.1 429 ") && throttled.contains("\r\nretry-after: 1\r\n"));
        }
        assert!(bench.get("throttled-01").await.unwrap().starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn every_second_connection_is_reset_and_not_closed() {
        let bench = Bench::start().await;
        for _ in 0..3 {
            assert!(bench.get("resetting-01").await.unwrap().starts_with("HTTP/1.1 200 "));
            // A FIN would end in an empty string.
            assert_eq!(bench.get("resetting-01").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    }

    #[tokio::test]
    async fn truncated_answers_announce_more_than_they_bring() {
        let bench = Bench::start().await;
        for _ in 0..20 {
            let received = bench.get("truncated-01").await.unwrap();
            let (head, body) = received.split_once("\r\n\r\n").expect("a whole head");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert_eq!(body.len(), length.parse::<usize>().unwrap() / 2);
        }
    }

    #[tokio::test]
    async fn a_hanging_tenant_hears_nothing_until_the_server_stops() {
        let bench = Bench::start().await;
        let mut waiting = bench.send("hanging-01").await;
        let tenant = bench.plan.find("hanging-01").unwrap();
        while bench.tally.of_group(&bench.plan, tenant.group) == 0 {
            tokio::task::yield_now().await;
        }
        // The server has it; another tenant is served meanwhile.
        assert!(bench.get("down-01").await.unwrap().starts_with("HTTP/1.1 503 "));
        let mut buffer = [0];
        assert_eq!(waiting.try_read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);

        let address = bench.upstream.address();
        drop(bench);
        assert_eq!(waiting.read(&mut buffer).await.unwrap_or(0), 0);
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn requests_are_counted_as_they_come_in() {
        let bench = Bench::start().await;
        for id in ["down-01", "down-01", "down-02", "unauthorized-01", "nobody-01"] {
            bench.get(id).await.unwrap();
        }
        let counts = super::super::plan::Group::ALL.map(|group| bench.tally.of_group(&bench.plan, group));
        assert_eq!(counts, [0, 3, 0, 0, 0, 1, 0]);
    }
}
