use std::fmt;

/// What a circuit breaker does with calls. No other state will be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Admits all calls and counts them.
    Closed,
    /// Rejects all calls.
    Open,
    /// Admits a few calls as probes, which close it or open it again. An open breaker also reads as half-open once its
    /// open time is over, before a call has come: the next call is a probe. If time alone ends the half-open period, as
    /// on a [ramp](super::CircuitBreakerLayer::ramp), the breaker closes with the next call.
    HalfOpen,
}

/// What decides the state of a circuit breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Mode {
    /// The outcomes of the calls.
    #[default]
    Automatic,
    /// Forced open: rejects every call until the mode is changed.
    ForcedOpen,
    /// Disabled: admits every call and counts none.
    Disabled,
    /// Counts, opens, closes and reports as if automatic, but rejects no call.
    ObserveOnly,
    /// The outcomes of the calls, but an open breaker rejects retries only: it admits first attempts without counting
    /// them, so that callers see the upstream as it is while retries do not add to its load. The requests must show
    /// which calls are retries: see
    /// [`CircuitBreakerLayer::reject_retries_only`](super::CircuitBreakerLayer::reject_retries_only).
    RejectRetriesOnly,
}

impl State {
    /// All variants in the order of their declaration.
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The state in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Automatic => "automatic",
            Mode::ForcedOpen => "forced open",
            Mode::Disabled => "disabled",
            Mode::ObserveOnly => "observe only",
            Mode::RejectRetriesOnly => "reject retries only",
        })
    }
}

/// What made a circuit breaker change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Too large a share of the calls failed, in the window or in a step of the ramp.
    FailureRate,
    /// Too large a share of the calls was slow, in the window or among the probes.
    SlowRate,
    /// Too many calls failed in a row.
    ConsecutiveFailures,
    /// Every call failed, for longer than chance explains.
    Outage,
    /// Too many of the partitions [within](super::CircuitBreakerLayer::nested_in) failed.
    PartitionsOpen,
    /// The open time was over, and a call came.
    OpenTimeOver,
    /// Enough probes succeeded, and the ramp is over if there is one.
    ProbesSucceeded,
    /// A probe failed.
    ProbeFailed,
    /// The mode was set, or the breaker was reset.
    ByHand,
}

impl Cause {
    /// All variants in the order of their declaration.
    pub(crate) const ALL: [Self; 9] = [
        Self::FailureRate,
        Self::SlowRate,
        Self::ConsecutiveFailures,
        Self::Outage,
        Self::PartitionsOpen,
        Self::OpenTimeOver,
        Self::ProbesSucceeded,
        Self::ProbeFailed,
        Self::ByHand,
    ];

    /// The cause in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::FailureRate => "failure rate",
            Cause::SlowRate => "slow-call rate",
            Cause::ConsecutiveFailures => "consecutive failures",
            Cause::Outage => "outage",
            Cause::PartitionsOpen => "partitions open",
            Cause::OpenTimeOver => "open time over",
            Cause::ProbesSucceeded => "probes succeeded",
            Cause::ProbeFailed => "probe failed",
            Cause::ByHand => "by hand",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_the_variants_in_order() {
        assert!(Cause::ALL.iter().enumerate().all(|(place, cause)| *cause as usize == place));
        assert!(State::ALL.iter().enumerate().all(|(place, state)| *state as usize == place));
    }
}
