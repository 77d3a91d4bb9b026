use super::tally::{Limits, ProbeOutcome, Progress, Tally};
use crate::breaker::Cause;

/// How many probes there are, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbingConfig {
    /// Probes at once.
    pub(crate) max_calls: u32,
    /// Probes that close it.
    pub(crate) success_threshold: u32,
    /// Milliseconds for which a probe holds its slot.
    pub(crate) lease: u64,
}

/// The probes of one half-open period.
#[derive(Debug)]
pub(crate) struct Probing {
    in_flight: Vec<Probe>,
    admitted: u32,
    tally: Tally,
}

#[derive(Debug)]
struct Probe {
    id: u32,
    lease_ends: u64,
    /// Whether its head was good and its body follows.
    streams: bool,
}

impl Probing {
    pub(super) fn begin() -> Self {
        Self { in_flight: Vec::new(), admitted: 0, tally: Tally::default() }
    }

    /// Ends the leases that are over. A body that streamed until then is a success: a healthy upstream of long streams
    /// has no other.
    pub(super) fn pass_time(&mut self, config: ProbingConfig, now: u64) -> Progress {
        let tally = &mut self.tally;
        self.in_flight.retain(|probe| {
            let is_over = probe.lease_ends <= now;
            if is_over && probe.streams {
                tally.add(false, false);
            }
            !is_over
        });
        if tally.ended < config.success_threshold { Progress::Continues } else { Progress::Done }
    }

    /// When a slot is certain to be free, if none is now.
    pub(super) fn full_until(&self, config: ProbingConfig) -> Option<u64> {
        let is_full = self.in_flight.len() >= config.max_calls as usize;
        if is_full { self.in_flight.iter().map(|probe| probe.lease_ends).min() } else { None }
    }

    /// How many slots are free, or held on a lease that is over.
    pub(super) fn remaining(&self, config: ProbingConfig, now: u64) -> u32 {
        let held = self.in_flight.iter().filter(|probe| probe.lease_ends > now).count();
        config.max_calls.saturating_sub(held as u32)
    }

    /// Takes a slot if one is free, and returns the id of the probe.
    pub(super) fn admit(&mut self, config: ProbingConfig, now: u64) -> Option<u32> {
        if self.full_until(config).is_some() {
            return None;
        }
        let id = self.admitted;
        self.admitted = self.admitted.wrapping_add(1);
        self.in_flight.push(Probe { id, lease_ends: now.saturating_add(config.lease), streams: false });
        Some(id)
    }

    /// A failure ends the period at once, and slow probes do as soon as they are too many of the success threshold. A
    /// probe that ends after its lease still counts.
    pub(super) fn settle(
        &mut self,
        (config, limits): (ProbingConfig, Limits),
        id: u32,
        outcome: ProbeOutcome,
        now: u64,
    ) -> Progress {
        if self.pass_time(config, now) == Progress::Done {
            return Progress::Done;
        }
        let held = self.in_flight.iter().position(|probe| probe.id == id);
        match (outcome, held) {
            (ProbeOutcome::HeadSucceeded { .. }, Some(place)) => self.in_flight[place].streams = true,
            (_, Some(place)) => {
                self.in_flight.swap_remove(place);
            }
            (_, None) => {}
        }
        match outcome {
            ProbeOutcome::Failure => return Progress::Failed(Cause::ProbeFailed),
            ProbeOutcome::HeadSucceeded { slow } if held.is_some() => self.tally.slow += u32::from(slow),
            // A head that comes after the lease leaves no time for its body.
            ProbeOutcome::HeadSucceeded { slow } | ProbeOutcome::Success { slow } => self.tally.add(false, slow),
            ProbeOutcome::BodySucceeded if held.is_some() => self.tally.add(false, false),
            // A body that ends after the lease has succeeded with it.
            ProbeOutcome::BodySucceeded | ProbeOutcome::Neutral => {}
        }
        match self.tally.reached(config.success_threshold, limits) {
            Some(cause) => Progress::Failed(cause),
            None => self.pass_time(config, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_4_probes_that_hang_forever_pile_up_nowhere() {
        let config = ProbingConfig { max_calls: 2, success_threshold: 2, lease: 1 };
        let mut probing = Probing::begin();
        for now in 1..10_000 {
            assert_eq!(probing.pass_time(config, now), Progress::Continues);
            assert!(probing.admit(config, now).is_some() && probing.in_flight.len() <= 2);
        }
    }
}
