//! tonic: the stack over a channel, and under a generated client.
//!
//! ```
//! use tonic::transport::Endpoint;
//! use tower::ServiceBuilder;
//! use tower_rampart::clients::tonic::{BoxTonicService, TonicService, boxed};
//! use tower_rampart::{CircuitBreakerLayer, RetryLayer};
//!
//! /// A client that tonic generates has the stack as its type parameter: `BillingClient<BoxTonicService>`.
//! struct App {
//!     billing: tonic::client::Grpc<BoxTonicService>,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let channel = Endpoint::from_static("http://127.0.0.1:50051").connect_lazy();
//! let stack = ServiceBuilder::new()
//!     .layer(RetryLayer::new_for_grpc())
//!     .layer(CircuitBreakerLayer::new_for_grpc().judge_body())
//!     .service(TonicService::new(channel));
//! let app = App { billing: tonic::client::Grpc::new(boxed(stack)) };
//! # let _ = app.billing;
//! # }
//! ```

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tonic::Status;
use tonic::body::Body;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_service::Service;

use crate::BoxError;
use crate::retry::StopRetries;

/// Takes requests with any body for a service that takes tonic's own, such as a `Channel`.
///
/// It belongs right around the channel, because the retry layer hands on a
/// [`ReplayBody`](crate::retry::ReplayBody).
#[derive(Clone, Copy, Debug, Default)]
pub struct TonicService<S> {
    inner: S,
}

/// A stack of any type, made by [`boxed`]: for the field of a struct, and for calls in spawned tasks.
///
/// Its error is the status that a generated client returns. The error of the stack is the source of that status, where
/// [`CircuitOpen::find`](crate::breaker::CircuitOpen::find) and [`RetryError::find`](crate::retry::RetryError::find)
/// see it. If the server's answer is the last of several attempts in vain, the status has the metadata of
/// [`StopRetries`]: a server that calls others passes it on by [`StopRetries::after_error`].
pub type BoxTonicService = BoxCloneSyncService<Request<Body>, Response<Body>, Status>;

/// Boxes a stack.
///
/// tower's boxes alone do not work below a generated client in a spawned task: there the compiler forgets that their
/// error, a [`BoxError`], is `'static`.
#[must_use]
pub fn boxed<S, B>(stack: S) -> BoxTonicService
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let stack = stack.map_response(|mut response: Response<B>| {
        StopRetries::mark_for_tonic(&mut response);
        response.map(Body::new)
    });
    BoxCloneSyncService::new(stack.map_err(|error| Status::from_error(error.into())))
}

impl<S> TonicService<S> {
    /// Wraps a channel, or a service around one.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, B> Service<Request<B>> for TonicService<S>
where
    S: Service<Request<Body>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        self.inner.call(request.map(Body::new))
    }
}
