//! The stack under test, and two clients without it that the audit must catch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_rampart::retry::ReplayBody;
use tower_rampart::{BoxError, CircuitBreakerLayer, ClassifyLayer, RetryLayer};

use crate::certificate::Certificate;
use crate::proxy::Protocol;
use crate::request::{GET_METHOD, SEND};

/// Longer than any answer here takes, however busy the machine.
const ATTEMPT: Duration = Duration::from_secs(5);

pub type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;
pub type HttpService = BoxCloneSyncService<Request<Full<Bytes>>, Response<AnswerBody>, BoxError>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stack {
    /// Retry over breaker over classify over hyper, all defaults.
    Http,
    /// The same, with a limit for each attempt. hyper-util's client now and then holds a request for ever that it takes
    /// while its connection ends, also without these layers: only a time limit helps.
    HttpTimed,
    /// The same as `HttpTimed`, and bodies of 100 KB are kept for a replay.
    HttpBulk,
    /// The same as `HttpTimed`, but a refused stream counts as maybe processed.
    HttpDistrusting,
    /// The gRPC forms of the layers, with the same limit; one method is idempotent.
    Grpc,
    /// No layers; sends everything again, up to twice, after any error or 5xx.
    Naive,
    /// No layers, no retries.
    Bare,
}

#[derive(Clone)]
pub struct Client {
    service: HttpService,
    reset: Arc<dyn Fn() + Send + Sync>,
}

impl Client {
    /// hyper-util's client under the stack.
    #[must_use]
    pub fn new(stack: Stack, protocol: Protocol, certificate: Option<&Certificate>) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        let mut builder = HyperClient::builder(TokioExecutor::new());
        match protocol {
            Protocol::Http1 => Self::over_hyper(stack, &builder, http),
            Protocol::H2c => Self::over_hyper(stack, builder.http2_only(true), http),
            Protocol::H2Tls => {
                http.enforce_http(false);
                let config = certificate.expect("a certificate to trust").client_config();
                let connector = HttpsConnectorBuilder::new()
                    .with_tls_config(config)
                    .https_only()
                    .enable_http2()
                    .wrap_connector(http);
                Self::over_hyper(stack, builder.http2_only(true), connector)
            }
        }
    }

    fn over_hyper<C>(stack: Stack, builder: &hyper_util::client::legacy::Builder, connector: C) -> Self
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        match stack {
            Stack::Naive => Self::without_layers(naive(stamped(builder.build(connector)))),
            Stack::Bare => Self::without_layers(stamped(builder.build(connector))),
            _ => Self::over(stack, builder.build(connector)),
        }
    }

    /// The stack over any client.
    ///
    /// # Panics
    ///
    /// If the stack has no layers.
    pub fn over<S, B>(stack: Stack, client: S) -> Self
    where
        S: Service<Request<ReplayBody<Full<Bytes>>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError> + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // A macro and not a function: each setting changes the type of its layer.
        macro_rules! stacked {
            ($retry:expr, $breaker:expr, $classify:expr) => {{
                let breaker = $breaker;
                let handle = breaker.handle();
                let service = ServiceBuilder::new()
                    .layer($retry)
                    .layer(breaker)
                    .layer($classify)
                    .map_request(stamp)
                    .service(client)
                    .map_response(|response| response.map(|body| body.map_err(Into::into).boxed_unsync()));
                Self { service: BoxCloneSyncService::new(service), reset: Arc::new(move || handle.reset_all()) }
            }};
        }
        match stack {
            Stack::Http => {
                stacked!(RetryLayer::new_for_http(), CircuitBreakerLayer::new_for_http(), ClassifyLayer::new_for_http())
            }
            Stack::HttpBulk => stacked!(
                RetryLayer::new_for_http().attempt_timeout(ATTEMPT).max_replay_bytes(128 * 1024),
                CircuitBreakerLayer::new_for_http(),
                ClassifyLayer::new_for_http()
            ),
            Stack::HttpTimed => stacked!(
                RetryLayer::new_for_http().attempt_timeout(ATTEMPT),
                CircuitBreakerLayer::new_for_http(),
                ClassifyLayer::new_for_http()
            ),
            Stack::HttpDistrusting => stacked!(
                RetryLayer::new_for_http().attempt_timeout(ATTEMPT).distrust_refusals(),
                CircuitBreakerLayer::new_for_http().distrust_refusals(),
                ClassifyLayer::new_for_http().distrust_refusals()
            ),
            Stack::Grpc => stacked!(
                RetryLayer::new_for_grpc().attempt_timeout(ATTEMPT).idempotent(|head| head.uri.path() == GET_METHOD),
                CircuitBreakerLayer::new_for_grpc(),
                ClassifyLayer::new_for_grpc()
            ),
            Stack::Naive | Stack::Bare => panic!("has no layers"),
        }
    }

    fn without_layers<S>(service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<AnswerBody>, Error = BoxError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Self { service: BoxCloneSyncService::new(service), reset: Arc::new(|| {}) }
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<AnswerBody>, BoxError> {
        self.service.clone().oneshot(request).await
    }

    /// What an operator does when an outage is over, instead of waiting for the probes: closes the breakers.
    pub fn reset(&self) {
        (self.reset)();
    }
}

/// Numbers each attempt that leaves the stack. Two lines of the ledger with one number are the doing of something
/// below.
fn stamp<B>(mut request: Request<B>) -> Request<B> {
    static SENDS: AtomicU64 = AtomicU64::new(1);
    request.headers_mut().insert(SEND, HeaderValue::from(SENDS.fetch_add(1, Ordering::Relaxed)));
    request
}

fn stamped<C>(
    client: HyperClient<C, Full<Bytes>>,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<AnswerBody>,
    Error = BoxError,
    Future = impl Future<Output = Result<Response<AnswerBody>, BoxError>> + Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static
where
    C: Connect + Clone + Send + Sync + 'static,
{
    tower::service_fn(move |request| {
        let client = client.clone();
        async move {
            // The client may hold a request for ever, here as under the stack.
            let response = timeout(ATTEMPT, client.request(stamp(request))).await??;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        }
    })
}

/// What this crate exists to replace.
fn naive<S>(
    service: S,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<AnswerBody>,
    Error = BoxError,
    Future = impl Future<Output = Result<Response<AnswerBody>, BoxError>> + Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static
where
    S: Service<Request<Full<Bytes>>, Response = Response<AnswerBody>, Error = BoxError> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    tower::service_fn(move |request: Request<Full<Bytes>>| {
        let service = service.clone();
        async move {
            for _ in 0..2 {
                match service.clone().oneshot(request.clone()).await {
                    Ok(response) if !response.status().is_server_error() => return Ok(response),
                    Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
            service.oneshot(request).await
        }
    })
}
