//! What a client or a server framework needs beside the layers.
//!
//! - [`UpstreamFailure`] is the answer of a server whose own call to an upstream failed. With the feature `axum`, a
//!   handler returns it as its error.
//! - `tonic` (feature `tonic`) puts the stack over a channel, and under the clients that tonic generates.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "tonic")]
pub mod tonic;
mod upstream_failure;

pub use self::upstream_failure::UpstreamFailure;
