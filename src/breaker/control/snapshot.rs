use std::time::Duration;

use crate::breaker::{Mode, State};

/// The state and counts of a circuit breaker at one instant.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The state. Half-open as soon as the open time is over, although the change itself, with a new generation and an
    /// event, comes only with the next call.
    pub state: State,
    /// The mode.
    pub mode: Mode,
    /// Changes with every change of the state.
    pub generation: u32,
    /// Calls in the window. Of a breaker [around others](crate::CircuitBreakerLayer::nested_in): their votes.
    pub calls: u64,
    /// Failed and throttled ones among them; bad votes.
    pub failures: u64,
    /// Slow ones among them, if slow calls are watched.
    pub slow: u64,
    /// Failures among the calls, from 0 to 1; 0 if there was no call.
    pub failure_rate: f64,
    /// Slow calls among the calls, from 0 to 1; 0 if there was no call.
    pub slow_rate: f64,
    /// Failures in a row, if they are watched.
    pub consecutive_failures: u32,
    /// Calls rejected since the breaker was made or reset.
    pub rejected: u64,
    /// Time until an open breaker admits a probe. None once the open time is over, and while it is forced open.
    pub retry_after: Option<Duration>,
    /// Time since the last change of state.
    pub unchanged_for: Duration,
}
