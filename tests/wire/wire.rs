//! What really happens on the wire, and what becomes of it: one test for each row of the table in `classify`.
//!
//! Everything here is real: sockets on loopback, hyper-util's client, TLS, HTTP/2 frames. The servers misbehave as they
//! are told to and stop by themselves. What has to happen before something else is waited for, never slept for; where a
//! timer is the point, the clock is paused once nothing but the timer is left to happen.

// The facts that most rows rest on; both features are on by default.
#![cfg(all(feature = "hyper", feature = "h2"))]
// A test that cannot go on ends in a panic; clippy knows only those that are marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(feature = "axum")]
mod axum;
mod body;
mod connect;
mod goaway;
mod grpc;
mod http1;
mod http2;
mod kit;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "status-page")]
mod status_page;
mod tls;
#[cfg(feature = "tonic")]
mod tonic;
#[cfg(feature = "tonic")]
use kit::server;
