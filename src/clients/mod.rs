//! What a client or a server framework needs beside the layers.
//!
//! - [`UpstreamFailure`] is the answer of a server whose own call to an upstream failed. With the feature `axum`, a
//!   handler returns it as its error.
//! - `reqwest` (feature `reqwest`): the client of reqwest as a service, and `send` for its request builders.
//! - `reqwest_middleware` (feature `reqwest-middleware`): a stack as a middleware, and a client with middlewares as a
//!   service.
//! - `tonic` (feature `tonic`) puts the stack over a channel, and under the clients that tonic generates.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(feature = "reqwest-middleware")]
pub mod reqwest_middleware;
#[cfg(feature = "tonic")]
pub mod tonic;
mod upstream_failure;

pub use self::upstream_failure::UpstreamFailure;
