use std::time::Duration;

use crate::breaker::{Cause, Mode, State};
use crate::classify::Health;

/// What a breaker decided, or learned from a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// An admitted call ended, or was dropped.
    #[non_exhaustive]
    Ended {
        /// What the breaker learned.
        health: Health,
        /// How long the call took, until its head. Kept in whole microseconds, at most 12 days.
        took: Duration,
        /// The server's retry hint. Kept in whole milliseconds, at most four hours.
        retry_after: Option<Duration>,
        /// As what it counted.
        counted_as: CountedAs,
    },
    /// A call was rejected.
    #[non_exhaustive]
    Rejected {
        /// The state of the breaker that rejected it.
        state: State,
        /// Whether the breaker [around](crate::CircuitBreakerLayer::nested_in) this one did.
        by_outer: bool,
    },
    /// The breaker changed.
    #[non_exhaustive]
    Changed {
        /// The state before.
        from: State,
        /// The state after.
        to: State,
        /// The mode after.
        mode: Mode,
        /// What caused the change.
        cause: Cause,
    },
}

/// As what the end of a call counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CountedAs {
    /// An outcome in the window.
    Call,
    /// A probe of a half-open breaker.
    Probe,
    /// Nothing: the state that admitted the call had ended.
    Late,
    /// Nothing: the mode admits calls without counting them.
    Uncounted,
}

// Every value of what a decision is made of. Its place in the table stands for it in an entry.
pub(super) const HEALTHS: [Health; 4] = [Health::Success, Health::Failure, Health::Throttled, Health::Neutral];
pub(super) const KINDS_OF_COUNT: [CountedAs; 4] =
    [CountedAs::Call, CountedAs::Probe, CountedAs::Late, CountedAs::Uncounted];
pub(super) const STATES: [State; 3] = [State::Closed, State::Open, State::HalfOpen];
pub(super) const BY_OUTER: [bool; 2] = [false, true];
pub(super) const MODES: [Mode; 5] =
    [Mode::Automatic, Mode::ForcedOpen, Mode::Disabled, Mode::ObserveOnly, Mode::RejectRetriesOnly];
pub(super) const CAUSES: [Cause; 9] = [
    Cause::FailureRate,
    Cause::SlowRate,
    Cause::ConsecutiveFailures,
    Cause::Outage,
    Cause::PartitionsOpen,
    Cause::OpenTimeOver,
    Cause::ProbesSucceeded,
    Cause::ProbeFailed,
    Cause::ByHand,
];
