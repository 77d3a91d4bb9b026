use std::time::Duration;

use crate::breaker::{Mode, State, Trip};

/// What a circuit breaker has counted since it was made, for counters of a metrics system. A reset and the window
/// change nothing in it.
///
/// They belong to the breaker of one partition: it loses them when it is
/// [evicted](crate::CircuitBreakerLayer::max_partitions) or [removed](crate::breaker::Handle::remove). So the sum over
/// all partitions can shrink, and a new breaker begins at 0. The [metrics](crate::metrics) of the layer lose nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Calls whose outcome counted, in the window or as a probe: those that succeeded or failed. Neutral ones, those of
    /// a disabled breaker and those that outlived the state in which they began are not among them.
    ///
    /// Always 0 for a breaker [around others](crate::CircuitBreakerLayer::nested_in), which takes votes.
    pub calls: u64,
    /// Successes among the calls. With a window of [`count`](crate::breaker::Window::count), a failure can show here
    /// for an instant while it is recorded.
    pub succeeded: u64,
    /// Failed and throttled ones among the calls.
    pub failed: u64,
    /// Calls that were rejected. They are not among `calls`.
    pub rejected: u64,
    /// Changes of the state. Each reset is one, and so is each change into and out of the modes
    /// [`ForcedOpen`](Mode::ForcedOpen) and [`Disabled`](Mode::Disabled). The same as the
    /// [`generation`](Snapshot::generation).
    pub transitions: u64,
}

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
    /// Time until an open breaker admits a probe. None once the open time is over, and while it is forced open.
    pub retry_after: Option<Duration>,
    /// Probes that a half-open breaker would admit now. None in the other states, and on a
    /// [ramp](crate::CircuitBreakerLayer::ramp), which admits a share of the calls.
    pub remaining_probes: Option<u32>,
    /// Time since the last change of state.
    pub unchanged_for: Duration,
    /// What opened it. `None` while closed.
    pub trip: Option<Trip>,
    /// Time since then, in whole seconds; since it was forced open, if it is. `None` while closed.
    pub open_since: Option<Duration>,
    /// How often it has opened since it was last closed. 0 while it is forced open.
    pub openings: u32,
    /// What it has counted since it was made.
    pub totals: Totals,
}
