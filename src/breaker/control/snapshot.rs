use std::time::Duration;

use crate::breaker::{Mode, State};

/// All that can be read of a circuit breaker, at one instant.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// What it does with calls. Half-open as soon as the open time is over, although the change itself, with a new
    /// generation and an event, comes only with the next call.
    pub state: State,
    /// Who decides that.
    pub mode: Mode,
    /// Changes with every change of the state.
    pub generation: u32,
    /// Calls in the window.
    pub calls: u64,
    /// Failed and throttled ones among them.
    pub failures: u64,
    /// Slow ones among them, if slow calls are watched.
    pub slow: u64,
    /// Failures among the calls, from 0 to 1; 0 if there was no call.
    pub failure_rate: f64,
    /// Slow calls among the calls, from 0 to 1; 0 if there was no call.
    pub slow_rate: f64,
    /// Failures in a row, if they are watched.
    pub consecutive_failures: u32,
    /// Calls refused since it was made or reset.
    pub rejected: u64,
    /// How long until an open breaker admits a probe. None once that time is over, and while it is forced open.
    pub retry_after: Option<Duration>,
    /// How long ago it last changed its state.
    pub unchanged_for: Duration,
}
