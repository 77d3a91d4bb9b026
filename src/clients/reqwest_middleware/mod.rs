//! Layers and the middlewares of reqwest-middleware 0.5, in each other.
//!
//! - [`LayerMiddleware`] is a layer, or a whole `ServiceBuilder` stack, as a middleware.
//! - [`MiddlewareService`] is a client with middlewares as a service, for the inside of a stack.
//!
//! ```no_run
//! use reqwest_middleware::ClientBuilder;
//! use tower::ServiceBuilder;
//! use tower_rampart::clients::reqwest::ReqwestService;
//! use tower_rampart::clients::reqwest_middleware::LayerMiddleware;
//! use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};
//!
//! # async fn run() -> Result<(), BoxError> {
//! let reqwest = ReqwestService::from_builder(reqwest::Client::builder())?;
//! let layers = ServiceBuilder::new().layer(RetryLayer::new_for_http()).layer(CircuitBreakerLayer::new_for_http());
//! let client = ClientBuilder::new(reqwest.client().clone()).with(LayerMiddleware::new(layers).over(&reqwest)).build();
//!
//! let response = client.get("http://billing.example/v1/metrics").send().await?;
//! # let _ = response;
//! # Ok(())
//! # }
//! ```
//!
//! # What counts as unprocessed
//!
//! A client may [send several requests](super::reqwest#one-call-one-request) in one call, and so may a middleware
//! inside, such as one that retries. Then "not connected" or a 429 is about the last of them alone. So by default
//! nothing that comes from inside proves that a request was not processed: it may have been, and a POST without an
//! `Idempotency-Key` is sent once; its body is passed as a stream, which reqwest cannot send again. With `over`, which
//! takes the [`ReqwestService`](super::reqwest::ReqwestService) whose client is inside, the usual proofs count.
//!
//! # What passes through
//!
//! - **Extensions.** The layers find those of the middlewares outside in the extensions of the request, and the
//!   middlewares inside those and what the layers added, such as [`Attempt`](crate::retry::Attempt). Afterwards the
//!   middlewares outside find those of the attempt whose response is returned, or of the last one if the call failed.
//! - **Bodies.** Any body is sent. One that cannot be replayed is sent once.
//! - **Timeouts.** That of a request is the [`Deadline`](crate::retry::Deadline) of its call, unless the extensions
//!   have one.
//! - **Errors.** An error of reqwest that no layer has wrapped stays a `reqwest_middleware::Error::Reqwest`. Any other
//!   is a `Middleware`, and `RetryError::find(&error)` or `CircuitOpen::find(&error)` searches its chain.
//!
//! Put retry and breaker into one stack. In two middlewares the breaker learns of a timeout from the
//! [`AttemptDeadline`](crate::retry::AttemptDeadline) alone, and takes a hedge for a call like any other.

mod client;
mod error;
mod inside;
mod layer;
mod next;

pub use self::client::{MiddlewareFuture, MiddlewareService};
pub use self::layer::LayerMiddleware;
pub use self::next::{NextFuture, NextService};
