//! gRPC through the layers, spoken with a real HTTP/2 server on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod breaker;
#[path = "../wire/kit/frames.rs"]
#[allow(dead_code)]
mod frames;
mod retry;
#[path = "../wire/kit/server.rs"]
#[allow(dead_code)]
mod server;
#[path = "../support/steady.rs"]
mod steady;
mod upstream;
