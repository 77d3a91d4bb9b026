//! The rules of retry, each with tests named after it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backoff;
mod bodies;
mod budgets;
mod cancel;
mod cut;
mod differential;
mod grpc;
mod hedge;
mod hostile;
mod jitter;
mod model;
mod observers;
mod readiness;
mod reports;
mod resend;
mod rules;
mod seed;
mod settings;
mod spread;
mod support;
mod telemetry;
mod time;
mod traits;
mod wire;
