use std::sync::Arc;

use crate::invalid_setting::{InvalidSetting, ensure};

/// The growing shares of calls that are admitted after the probes have succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Ramp {
    /// Millionths of the calls, for each step.
    shares: Arc<[u32]>,
    /// The calls that end a step.
    calls: u32,
    failure_rate: f64,
}

/// The current step of a ramp.
#[derive(Debug, Default)]
pub(crate) struct RampStep {
    step: usize,
    /// Millionths of a call in credit: each full million admits one call.
    credit: u32,
    calls: u32,
    failures: u32,
}

/// What the end of a call does to the ramp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Climbing,
    Done,
    Fallen,
}

const WHOLE: u32 = 1_000_000;

impl Ramp {
    pub(crate) fn new(shares: &[f64], calls: u32) -> Result<Self, InvalidSetting> {
        ensure!(!shares.is_empty(), "ramp: there must be at least one share, but are {shares:?}");
        ensure!(
            shares.iter().all(|share| *share >= 1.0 / f64::from(WHOLE) && *share <= 1.0),
            "ramp: every share must lie between a millionth and 1, but they are {shares:?}"
        );
        ensure!(shares.is_sorted(), "ramp: the shares must not shrink, but are {shares:?}");
        ensure!(calls >= 1, "ramp: the calls of a step must be at least 1, but are {calls}");
        let millionths = |share: &f64| (share * f64::from(WHOLE)).round() as u32;
        Ok(Self { shares: shares.iter().map(millionths).collect(), calls, failure_rate: 1.0 })
    }

    /// The rate is a setting of its own, and may be set later.
    pub(crate) fn with_failure_rate(self, failure_rate: f64) -> Self {
        Self { failure_rate, ..self }
    }
}

impl RampStep {
    /// Whether this call is rejected.
    pub(crate) fn rejects(&mut self, ramp: &Ramp) -> bool {
        let credit = self.credit + self.share(ramp);
        let rejects = credit < WHOLE;
        if rejects {
            self.credit = credit;
        }
        rejects
    }

    /// Whether this call is within the share.
    pub(crate) fn admits(&mut self, ramp: &Ramp) -> bool {
        let credit = self.credit + self.share(ramp);
        let admits = credit >= WHOLE;
        self.credit = if admits { credit - WHOLE } else { credit };
        admits
    }

    /// A call has ended. Falls as soon as the rest of the step cannot keep its rate below the limit.
    pub(crate) fn ended(&mut self, ramp: &Ramp, failed: bool) -> Progress {
        self.calls += 1;
        self.failures += u32::from(failed);
        if failed && f64::from(self.failures) / f64::from(ramp.calls) >= ramp.failure_rate {
            return Progress::Fallen;
        }
        if self.calls < ramp.calls {
            return Progress::Climbing;
        }
        *self = Self { step: self.step + 1, ..Self::default() };
        if self.step < ramp.shares.len() { Progress::Climbing } else { Progress::Done }
    }

    fn share(&self, ramp: &Ramp) -> u32 {
        ramp.shares.get(self.step).copied().unwrap_or(WHOLE)
    }
}
