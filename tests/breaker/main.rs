//! The circuit breaker as its users see it, on a paused clock. Every rule of the design has tests named after it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod control;
mod model;
mod nested;
mod partitions;
mod states;
#[path = "../support/steady.rs"]
mod steady;
mod support;
