use crate::breaker::Cause;

/// What happened to a probe, or to a call on the ramp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeOutcome {
    /// Its head was good and its body follows. A second outcome comes later, perhaps never.
    HeadSucceeded {
        slow: bool,
    },
    /// After `HeadSucceeded`: the body ended well, or its reader dropped it.
    BodySucceeded,
    Success {
        slow: bool,
    },
    Failure,
    /// Teaches nothing.
    Neutral,
}

impl ProbeOutcome {
    /// Whether a call that has ended failed. `None` if it has not ended, or teaches nothing.
    pub(crate) fn failed(self) -> Option<bool> {
        match self {
            Self::Success { .. } | Self::BodySucceeded => Some(false),
            Self::Failure => Some(true),
            Self::HeadSucceeded { .. } | Self::Neutral => None,
        }
    }
}

/// What an outcome does to the half-open period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Continues,
    /// The breaker closes.
    Done,
    /// The breaker opens again.
    Failed(Cause),
}

/// The rates at which a period fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) failure_rate: f64,
    /// `None` if slow calls are not watched.
    pub(crate) slow_rate: Option<f64>,
}

/// How the calls of one period have ended: of the probes, or of a step of the ramp.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) ended: u32,
    pub(super) failed: u32,
    pub(super) slow: u32,
}

impl Tally {
    pub(super) fn add(&mut self, failed: bool, slow: bool) {
        self.ended += 1;
        self.failed += u32::from(failed);
        self.slow += u32::from(slow);
    }

    /// Returns the rate that stays at its limit or above even if all that remains of the planned calls is good and
    /// fast.
    pub(super) fn reached(self, planned: u32, limits: Limits) -> Option<Cause> {
        let share = |part: u32| f64::from(part) / f64::from(planned);
        if self.failed > 0 && share(self.failed) >= limits.failure_rate {
            return Some(Cause::FailureRate);
        }
        (self.slow > 0 && share(self.slow) >= limits.slow_rate?).then_some(Cause::SlowRate)
    }
}
