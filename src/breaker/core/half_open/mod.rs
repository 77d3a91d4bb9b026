//! The half-open state: a few probes, then perhaps a ramp.
//!
//! ```text
//!            enough probes succeed             the last step is over
//!   Probing ───────────────────────► RampStep ───────────────────────► Done: the breaker closes
//!      │       (Done without a ramp)     │ ▲ │ a step is over
//!      │ a probe fails,                  │ └─┘
//!      ▼ or too many are slow            ▼ too many calls fail or are slow
//!    Failed: the breaker opens again   Failed
//! ```
//!
//! Nothing here waits for a timer: leases and steps end when the next call comes or a probe ends. So the period is a
//! pure function of its events and their times.

mod probing;
mod ramp;
mod tally;

use self::probing::Probing;
pub(crate) use self::probing::ProbingConfig;
pub(crate) use self::ramp::Ramp;
use self::ramp::RampStep;
pub(crate) use self::tally::{Limits, ProbeOutcome, Progress};

/// The settings of the half-open state.
#[derive(Clone, Debug)]
pub(crate) struct HalfOpenConfig {
    pub(crate) probing: ProbingConfig,
    /// `None` closes with the last successful probe.
    pub(crate) ramp: Option<Ramp>,
    pub(crate) limits: Limits,
}

/// One half-open period.
#[derive(Debug)]
pub(crate) struct HalfOpen(Stage);

#[derive(Debug)]
enum Stage {
    Probing(Probing),
    Ramp(RampStep),
}

/// The id of a call on the ramp: it holds no slot.
const ON_RAMP: u32 = u32::MAX;

impl HalfOpen {
    pub(crate) fn begin() -> Self {
        Self(Stage::Probing(Probing::begin()))
    }

    /// Ends the leases and steps that are over.
    pub(crate) fn pass_time(&mut self, config: &HalfOpenConfig, now: u64) -> Progress {
        let progress = match &mut self.0 {
            Stage::Probing(probing) => probing.pass_time(config.probing, now),
            Stage::Ramp(step) => step.pass_time(config.limits, now),
        };
        self.then_ramp(config, progress, now)
    }

    /// Rejects a call that comes now, with when a slot is free if time frees one.
    pub(crate) fn check(&mut self, config: &HalfOpenConfig, now: u64) -> Result<(), Option<u64>> {
        if self.pass_time(config, now) == Progress::Done {
            return Ok(());
        }
        match &mut self.0 {
            Stage::Probing(probing) => probing.full_until(config.probing).map_or(Ok(()), |until| Err(Some(until))),
            Stage::Ramp(step) => {
                if step.rejects() {
                    Err(None)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// How many probes would be admitted now. `None` on a ramp.
    pub(crate) fn remaining_probes(&self, config: &HalfOpenConfig, now: u64) -> Option<u32> {
        match &self.0 {
            Stage::Probing(probing) => Some(probing.remaining(config.probing, now)),
            Stage::Ramp(_) => None,
        }
    }

    /// Admits a call as a probe, and returns its id. `None` if there is no room for it.
    pub(crate) fn admit(&mut self, config: &HalfOpenConfig, now: u64) -> Option<u32> {
        match &mut self.0 {
            Stage::Probing(probing) => probing.admit(config.probing, now),
            Stage::Ramp(step) => step.admits().then_some(ON_RAMP),
        }
    }

    /// Counts what happened to a probe of this period.
    pub(crate) fn settle(&mut self, config: &HalfOpenConfig, id: u32, outcome: ProbeOutcome, now: u64) -> Progress {
        let progress = match &mut self.0 {
            Stage::Probing(probing) => probing.settle((config.probing, config.limits), id, outcome, now),
            Stage::Ramp(step) => step.settle(config.limits, outcome, now),
        };
        self.then_ramp(config, progress, now)
    }

    /// The ramp, if there is one, follows the probes.
    fn then_ramp(&mut self, config: &HalfOpenConfig, progress: Progress, now: u64) -> Progress {
        match (&self.0, &config.ramp, progress) {
            (Stage::Probing(_), Some(ramp), Progress::Done) => {
                self.0 = Stage::Ramp(RampStep::begin(ramp.clone(), now));
                Progress::Continues
            }
            _ => progress,
        }
    }
}
