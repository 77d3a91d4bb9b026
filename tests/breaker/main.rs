//! The circuit breaker as its users see it, on a paused clock. Every rule of the design has tests named after it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod cancellation;
mod circuit_open;
mod defaults;
mod eviction;
mod half_open;
mod hierarchy;
mod host_places;
mod hostile;
mod minorities;
mod model;
mod news;
mod outage;
mod partitions;
mod probes;
mod ramp;
mod readiness;
mod seed;
mod service;
mod settings;
#[path = "../support/steady.rs"]
mod steady;
mod support;
mod telemetry;
mod timeouts;
mod turns;
mod types;
mod votes;
mod waiting;
mod watch;
mod window;
