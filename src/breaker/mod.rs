//! Shall we try at all: a circuit breaker for every upstream, tenant or whatever a request tells.
//!
//! A breaker is **closed** as long as the upstream is well: calls go through, and their outcomes slide through a
//! [`Window`]. When too many of them fail or are slow it **opens**: calls are refused at once with [`CircuitOpen`],
//! without touching the inner service. After a time it is **half-open**: a few calls go through as probes, and either
//! close it or open it again, for longer if so set.
//!
//! # Rules
//!
//! - Every call that is let through settles exactly once, whether it returns, fails, panics or is dropped. A panic is a
//!   failure. A call ends with the head of its answer, or [with the body](CircuitBreakerLayer::judge_body) if asked to.
//! - A dropped call teaches nothing, with three exceptions. It has failed if it ran longer than [`Abandoned`] says; if a
//!   time limit of a [`RetryLayer`](crate::RetryLayer) around the breaker cut it; or if the
//!   [`Deadline`](crate::retry::Deadline) in the extensions of its HTTP request has passed, for example because some other
//!   timeout layer dropped it then. The last two also hold for a call that still waited for the inner service to be ready.
//!   So an upstream that hangs opens a breaker with all defaults under a retry layer with an attempt timeout.
//! - What a call teaches counts for the stretch of time it was let in. A probe of an earlier outage closes nothing.
//! - A probe holds its place only for a while, and one that a time limit cuts fails at once. No probe that hangs or gets lost keeps a healthy upstream shut out.
//! - A breaker that is open past its time reads as half-open before a call has come: the next one is a probe.
//! - The rates are looked at with every outcome, so that one of exactly the limit opens at once.
//! - A closed breaker takes no lock and allocates nothing, and reads the clock only if a setting asks for it: a window of
//!   time or slow calls.
//! - Partitions are bounded, and one is forgotten only when nothing is lost by it: see
//!   [`max_partitions`](CircuitBreakerLayer::max_partitions).
//!
//! The clock is that of tokio: it stands still in a test that pauses it.
//!
//! # Telemetry
//!
//! One `tracing` event for every change, with target `tower_rampart::breaker` and the fields `name`, `partition`, `from`,
//! `to`, `mode`, `cause`, `rate` and `calls`: a warning when it opens, information otherwise. One warning, at most every
//! minute, while partitions share a breaker for want of room. Nothing for a call. When a breaker around others opens by them,
//! `calls` is how many of them had calls lately, and `rate` the share of open ones.

mod config;
mod control;
mod core;
mod future;
mod layer;
#[cfg(all(test, rampart_loom))]
mod loom;
mod registry;
mod requests;
mod service;
mod state;

pub use self::config::Abandoned;
pub use self::control::{CircuitBreaker, CircuitOpen, Event, Events, Handle, Permit, Snapshot, Ticket, Watch};
pub use self::core::Window;
pub use self::future::ResponseFuture;
pub use self::layer::CircuitBreakerLayer;
pub use self::registry::partition;
pub use self::requests::{AnyRequests, HttpRequests, Requests};
pub use self::service::CircuitBreakerService;
pub use self::state::{Cause, Mode, State};
pub use crate::invalid_setting::InvalidSetting;
