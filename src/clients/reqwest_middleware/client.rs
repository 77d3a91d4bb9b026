use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use reqwest::Body;
use reqwest_middleware::{ClientWithMiddleware, Error, Result};
use tower_service::Service;

use super::inside::Inside;
use crate::BoxError;
use crate::clients::reqwest::ReqwestService;

/// A client with middlewares as a service, for the inside of a stack.
///
/// Its middlewares find the extensions of the request, and the caller finds theirs in those of the response.
///
/// ```no_run
/// use reqwest_middleware::ClientWithMiddleware;
/// use tower::ServiceBuilder;
/// use tower_rampart::clients::reqwest::SendExt;
/// use tower_rampart::clients::reqwest_middleware::MiddlewareService;
/// use tower_rampart::{BoxError, RetryLayer};
///
/// # async fn run(client: ClientWithMiddleware) -> Result<(), BoxError> {
/// let stack = ServiceBuilder::new().layer(RetryLayer::new_for_http()).service(MiddlewareService::new(client));
/// let response = stack.send(reqwest::Client::new().get("http://billing.example/v1/usage")).await?;
/// # let _ = response;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MiddlewareService {
    client: ClientWithMiddleware,
    inside: Inside,
}

/// The future of [`MiddlewareService`].
#[must_use = "futures do nothing unless polled"]
pub struct MiddlewareFuture {
    // Boxed as every call of a middleware is.
    call: Pin<Box<dyn Future<Output = Result<http::Response<Body>>> + Send>>,
}

impl MiddlewareService {
    /// Wraps the client.
    #[must_use]
    pub fn new(client: ClientWithMiddleware) -> Self {
        Self { client, inside: Inside::default() }
    }

    /// Declares that the client inside is that of this service, and that every middleware inside sends one request.
    ///
    /// So a failed connection and a 429 prove that the request [was not processed](super#what-counts-as-unprocessed).
    #[must_use]
    pub fn over(mut self, service: &ReqwestService) -> Self {
        self.inside = Inside::of(service);
        self
    }
}

impl<B> Service<http::Request<B>> for MiddlewareService
where
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = MiddlewareFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> MiddlewareFuture {
        let Self { client, inside } = self.clone();
        let mut extensions = request.extensions().clone();
        let request = inside.request(request);
        let call = async move {
            let outcome = client.execute_with_extensions(request?, &mut extensions).await;
            let mut response = inside.outcome(outcome)?;
            extensions.extend(mem::take(response.extensions_mut()));
            *response.extensions_mut() = extensions;
            Ok(response)
        };
        MiddlewareFuture { call: Box::pin(call) }
    }
}

impl Future for MiddlewareFuture {
    type Output = Result<http::Response<Body>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.call.as_mut().poll(cx)
    }
}

impl fmt::Debug for MiddlewareFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiddlewareFuture").finish_non_exhaustive()
    }
}
