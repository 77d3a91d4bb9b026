//! The rules of retry, each with tests named after it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod attempt_timeout;
mod backoff;
mod bodies;
mod budgets;
mod cancel;
mod cut;
mod deadline_header;
mod differential;
mod function;
mod grpc;
mod guard;
mod hostile;
mod jitter;
mod model;
mod observers;
mod outcome;
mod partitions;
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
