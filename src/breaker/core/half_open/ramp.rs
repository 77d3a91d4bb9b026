use std::sync::Arc;

use super::tally::{Limits, ProbeOutcome, Progress, Tally};
use crate::settings::invalid_setting::{InvalidSetting, ensure};

/// The growing shares of calls that are admitted after the probes have succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ramp {
    /// Millionths of the calls, for each step.
    shares: Arc<[u32]>,
    /// About as many calls come in each step.
    calls: u32,
    /// Milliseconds after which a step ends.
    step_time: u64,
}

/// The current step of a ramp.
#[derive(Debug)]
pub(super) struct RampStep {
    ramp: Ramp,
    step: usize,
    ends_at: u64,
    /// Millionths of a call in credit: each full million admits one call.
    credit: u32,
    tally: Tally,
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
        Ok(Self { shares: shares.iter().map(millionths).collect(), calls, step_time: u64::MAX })
    }

    /// Limits the ramp to so many milliseconds, an even part for each step.
    pub(crate) fn within(self, millis: u64) -> Self {
        Self { step_time: millis.div_ceil(self.shares.len() as u64), ..self }
    }

    /// The calls of a step that end before the next: its share of all that come, but at least one.
    fn planned(&self, step: usize) -> u32 {
        (u64::from(self.calls) * u64::from(self.shares[step])).div_ceil(WHOLE.into()) as u32
    }
}

impl RampStep {
    /// The first call is admitted, so that a small share does not wait long for an outcome.
    pub(super) fn begin(ramp: Ramp, now: u64) -> Self {
        let (credit, ends_at) = (WHOLE - ramp.shares[0], now.saturating_add(ramp.step_time));
        Self { ramp, step: 0, ends_at, credit, tally: Tally::default() }
    }

    /// Goes on to the next step when enough calls have ended. It also does when its time is over, so that neither
    /// sparse calls nor hung ones hold up the ramp, unless too many calls have failed so far: it then waits for more of
    /// them.
    pub(super) fn pass_time(&mut self, limits: Limits, now: u64) -> Progress {
        let is_over = |this: &Self| {
            let Tally { ended, .. } = this.tally;
            let in_time = this.ends_at <= now && this.tally.reached(ended, limits).is_none();
            ended >= this.ramp.planned(this.step) || in_time
        };
        while is_over(self) {
            if self.step + 1 >= self.ramp.shares.len() {
                return Progress::Done;
            }
            self.step += 1;
            self.ends_at = self.ends_at.min(now).saturating_add(self.ramp.step_time);
            self.tally = Tally::default();
        }
        Progress::Continues
    }

    /// Whether this call is rejected. That is final: it adds to the credit of the next one.
    pub(super) fn rejects(&mut self) -> bool {
        let credit = self.credit_with_next();
        let rejects = credit < WHOLE;
        if rejects {
            self.credit = credit;
        }
        rejects
    }

    /// Whether this call is within the share.
    pub(super) fn admits(&mut self) -> bool {
        let credit = self.credit_with_next();
        self.credit = credit % WHOLE;
        credit >= WHOLE
    }

    fn credit_with_next(&self) -> u32 {
        self.credit + self.ramp.shares[self.step]
    }

    /// Fails as soon as the rest of the step cannot keep its rates below their limits. A head is enough for a success:
    /// the ramp does not wait for bodies.
    pub(super) fn settle(&mut self, limits: Limits, outcome: ProbeOutcome, now: u64) -> Progress {
        match outcome {
            ProbeOutcome::Success { slow } | ProbeOutcome::HeadSucceeded { slow } => self.tally.add(false, slow),
            ProbeOutcome::Failure => self.tally.add(true, false),
            ProbeOutcome::BodySucceeded | ProbeOutcome::Neutral => {}
        }
        match self.tally.reached(self.ramp.planned(self.step), limits) {
            Some(cause) => Progress::Failed(cause),
            None => self.pass_time(limits, now),
        }
    }
}
