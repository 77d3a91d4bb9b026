//! A service that forwards its requests to an upstream, and those who call it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::{CircuitBreaker, partition};
use tower_rampart::clients::UpstreamFailure;
use tower_rampart::retry::{Backoff, DeadlineHeader, InboundRetries, RetryGuard};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

use crate::kit;

type Breakers = tower_rampart::breaker::Handle<http::HeaderValue>;

#[derive(Clone)]
struct App {
    client: BoxCloneSyncService<Request, http::Response<hyper::body::Incoming>, BoxError>,
}

pub(super) struct Gateway {
    pub(super) uri: Uri,
    breakers: Breakers,
}

/// What a caller got.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

async fn forward(State(app): State<App>, inbound: Request) -> Result<Response, UpstreamFailure> {
    let (mut head, body) = inbound.into_parts();
    head.uri = Uri::from_static("http://upstream/rows");
    let retries = InboundRetries::from_headers(&head.headers);
    head.extensions.insert(retries);
    if let Some(deadline) = DeadlineHeader::milliseconds("x-request-timeout-ms").read(&head.headers) {
        head.extensions.insert(deadline);
    }
    let answer = app.client.oneshot(Request::from_parts(head, body)).await?;
    if !answer.status().is_success() {
        return Err(UpstreamFailure::of_response(&answer));
    }
    Ok(answer.map(Body::new))
}

impl Gateway {
    pub(super) async fn start(upstream: SocketAddr) -> Self {
        Self::start_over(vec![upstream]).await
    }

    /// Connects to these addresses in turn, and then to the last one.
    pub(super) async fn start_over(upstreams: Vec<SocketAddr>) -> Self {
        let upstreams = Arc::new(Mutex::new(upstreams));
        let connector = service_fn(move |_: Uri| {
            let address = {
                let mut upstreams = upstreams.lock().unwrap();
                if upstreams.len() > 1 { upstreams.remove(0) } else { upstreams[0] }
            };
            Box::pin(async move { Ok::<_, io::Error>(TokioIo::new(TcpStream::connect(address).await?)) })
        });
        let breaker = CircuitBreakerLayer::new_for_http()
            .partition_by(partition::header("x-tenant-id"))
            .consecutive_failures(2)
            .open_for(Duration::from_secs(30));
        let breakers = breaker.handle();
        let stack = ServiceBuilder::new()
            .layer(RetryLayer::new_for_http().backoff(Backoff::none()).no_budget().guard(RetryGuard::new()))
            .layer(breaker)
            .service(Client::builder(TokioExecutor::new()).build(connector));
        let app = App { client: BoxCloneSyncService::new(stack) };
        let address = serve(Router::new().fallback(forward).with_state(app)).await;
        Self { uri: format!("http://{address}/").parse().unwrap(), breakers }
    }

    pub(super) fn request(&self, method: &str) -> http::request::Builder {
        Request::builder().method(method).uri(self.uri.clone()).header("x-tenant-id", "7")
    }

    pub(super) async fn call(&self, method: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = kit::client::get(self.uri.clone());
        *request.method_mut() = method.parse().unwrap();
        *request.headers_mut() = self.request(method).body(()).unwrap().headers().clone();
        for &(name, value) in headers {
            request.headers_mut().insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        send(request).await
    }

    pub(super) fn breaker(&self, tenant: &'static str) -> CircuitBreaker {
        self.breakers.get(&http::HeaderValue::from_static(tenant)).unwrap()
    }
}

pub(super) async fn send(request: http::Request<kit::client::Body>) -> Answer {
    let (head, body) = kit::client::http1().request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Serves the routes until the test ends.
pub(super) async fn serve(routes: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, routes).await });
    address
}

/// An upstream that answers its n-th request with this status, and the bodies that it got.
pub(super) async fn upstream(status: impl Fn(usize) -> u16 + Send + Sync + 'static) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let (state, status) = (seen.clone(), Arc::new(status));
    let routes = Router::new().fallback(move |request: Request| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let number = state.push(body);
        (StatusCode::from_u16(status(number)).unwrap(), "rows of hunter2")
    });
    (serve(routes).await, seen)
}

#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<Bytes>>>);

impl Seen {
    fn push(&self, body: Bytes) -> usize {
        let mut bodies = self.0.lock().unwrap();
        bodies.push(body);
        bodies.len() - 1
    }

    pub(super) fn requests(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(super) fn bodies(&self) -> Vec<Bytes> {
        self.0.lock().unwrap().clone()
    }
}
