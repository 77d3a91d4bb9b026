//! Our layers under and over those of tower and tower-http: what each order comes to, in numbers.
//!
//! What a limit inside means is tested with readiness: `tests/retry/attempts/readiness.rs` (a wait holds no permit),
//! `tests/retry/limits/cut.rs` (a POST that still waited is unsent) and `tests/breaker/calls/readiness.rs` (a rejection
//! gives the permit back at once).

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/steady.rs"]
mod steady;
#[path = "../retry/support.rs"]
#[allow(dead_code)]
mod support;

mod balance;
mod boxed;
mod buffer;
mod concurrency_limit;
mod follow_redirect;
mod load_shed;
mod switched_off;
mod timeout;
mod trace;

use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::CircuitBreaker;

use self::steady::steady;

/// A breaker that opens at half of ten calls, and what it has seen.
fn breaker() -> (CircuitBreakerLayer, CircuitBreaker) {
    let layer = steady(CircuitBreakerLayer::new_for_http()).minimum_calls(10);
    let breaker = layer.breaker();
    (layer, breaker)
}

fn calls_and_failures(breaker: &CircuitBreaker) -> (u64, u64) {
    let snapshot = breaker.snapshot();
    (snapshot.calls, snapshot.failures)
}
