//! Three [`tower`] layers for outbound calls that can fail. For every attempt of a call they answer:
//!
//! - **what happened**: [`ClassifyLayer`] turns a response or an error into a [`Verdict`](classify::Verdict);
//! - **shall we try again**: [`RetryLayer`];
//! - **shall we try at all**: [`CircuitBreakerLayer`], one breaker per tenant, host or whatever a request tells.
//!
//! The order, from the caller to the wire, is retry, breaker, classify, client. Each layer also works alone. The
//! README shows the whole stack; the modules explain the rules each layer keeps.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `hyper` | yes | tells apart what the hyper client says of a failed call |
//! | `h2` | yes | tells refused streams, GOAWAY and resets of HTTP/2 apart |
//! | `rustls` | no | tells failures of rustls 0.23 apart by their type, not only by the io error around them |
//! | `reqwest` | no | tells apart what reqwest says of a failed call |
//! | `tonic` | no | tells apart what tonic's transport says of a failed call |
//! | `tower-http` | no | classifiers of tower-http as ours, and ours in its `TraceLayer` |
//!
//! [`tower`]: https://docs.rs/tower
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod attempt;
mod backoff;
pub mod breaker;
pub mod classify;
mod cut;
mod deadline;
mod invalid_setting;
pub mod retry;
mod sync;

#[doc(inline)]
pub use breaker::CircuitBreakerLayer;
#[doc(inline)]
pub use classify::ClassifyLayer;
pub use invalid_setting::InvalidSetting;
#[doc(inline)]
pub use retry::RetryLayer;

/// The error type of the layers: the same type as `tower::BoxError`.
///
/// What went wrong underneath stays reachable through [`source`](std::error::Error::source).
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
