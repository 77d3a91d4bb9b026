//! The client of reqwest 0.13 in a stack.
//!
//! [`ReqwestService`] is the client as a service. [`SendExt::send`] sends what a
//! [`RequestBuilder`](::reqwest::RequestBuilder) holds through a stack, and returns a
//! [`Response`](::reqwest::Response).
//!
//! ```no_run
//! use tower::ServiceBuilder;
//! use tower_rampart::clients::reqwest::{ReqwestService, SendExt};
//! use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};
//!
//! # async fn run() -> Result<(), BoxError> {
//! let reqwest = ReqwestService::from_builder(reqwest::Client::builder())?;
//! let client = reqwest.client().clone();
//! let stack = ServiceBuilder::new()
//!     .layer(RetryLayer::new_for_http())
//!     .layer(CircuitBreakerLayer::new_for_http())
//!     .service(reqwest);
//!
//! let response = stack.send(client.get("http://billing.example/v1/metrics")).await?;
//! println!("{}", response.text().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # One call, one request
//!
//! A layer takes a call of the client for one request. The defaults of reqwest break that in two ways, and both would
//! send a POST twice:
//!
//! 1. **Redirects.** A POST is processed and answered with 303, and the GET that follows cannot connect: the error of
//!    reqwest says "not connected" and names the URL of the POST. It looks unsent.
//! 2. **Retries of its own.** Over HTTP/2 reqwest sends a request with a body in memory again after a GOAWAY. A GOAWAY
//!    does not prove that the request was not processed.
//!
//! [`ReqwestService::from_builder`] turns both off. [`ReqwestService::new`] takes a client that was built elsewhere and
//! [rejects](FollowsRedirects) it unless its redirects are off; it passes every body as a stream, which reqwest cannot
//! send again. Follow redirects outside the retry layer, for example with tower-http.

mod body;
mod redirects;
mod send;
mod service;

pub(super) use self::body::{into_bytes_or_stream, into_stream};
pub use self::redirects::FollowsRedirects;
#[cfg(feature = "reqwest-middleware")]
pub(super) use self::send::into_call;
pub use self::send::{SendExt, SendFuture};
#[cfg(feature = "reqwest-middleware")]
pub(super) use self::service::{OrFailed, into_http};
pub use self::service::{ReqwestFuture, ReqwestService};
