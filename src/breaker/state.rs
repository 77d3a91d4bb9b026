use std::fmt;

/// What a circuit breaker does with calls at the moment. No other state will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Calls go through and are counted.
    Closed,
    /// Calls are refused.
    Open,
    /// A few calls go through, as probes: they decide whether to close or to open again. An open breaker also reads as
    /// half-open when it is due, before a call has come: the next one is a probe.
    HalfOpen,
}

/// Who decides what a circuit breaker does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// The outcomes of the calls.
    #[default]
    Automatic,
    /// Somebody's hand: every call is refused until another mode is set.
    ForcedOpen,
    /// Somebody's hand: every call goes through and none is counted.
    Disabled,
    /// Nobody yet: it counts, opens and closes as if it were automatic, and reports that, but refuses no call.
    ObserveOnly,
    /// The outcomes of the calls, but an open breaker rejects retries only: it admits first attempts without counting them,
    /// so that callers see the upstream as it is while retries do not add to its load. The requests must show which calls
    /// are retries: see [`CircuitBreakerLayer::reject_retries_only`](super::CircuitBreakerLayer::reject_retries_only).
    RejectRetriesOnly,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        })
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
    /// Too large a share of the calls failed.
    FailureRate,
    /// Too large a share of the calls was slow.
    SlowRate,
    /// Too many calls failed in a row.
    ConsecutiveFailures,
    /// Too large a share of the partitions [within](super::CircuitBreakerLayer::nested_in) was open.
    PartitionsOpen,
    /// It had been open for long enough, and a call came.
    OpenTimeOver,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// A probe failed.
    ProbeFailed,
    /// Somebody set its mode or reset it.
    ByHand,
}

impl Cause {
    /// The cause in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::FailureRate => "failure rate",
            Cause::SlowRate => "slow-call rate",
            Cause::ConsecutiveFailures => "consecutive failures",
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
