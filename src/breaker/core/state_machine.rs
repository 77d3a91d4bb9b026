//! The state machine of one breaker: a pure function of state, event and now. No clock, no atomics, no window.
//!
//! The closed state with all its outcomes lives outside, in the window; the engine hears of it only when the window says
//! that it is enough. So everything here is rare, and may be guarded by a lock.

use std::time::Duration;

use rand::Rng;

use super::packed_state::{GENERATION_MASK, PackedState};
use super::ramp::{Progress, Ramp, RampStep};
use crate::backoff::Backoff;
use crate::breaker::{Cause, Mode, State};
use crate::clock::millis_up;

/// What the engine goes by. Times are in milliseconds since the start of the clock.
#[derive(Clone, Debug)]
pub(crate) struct EngineConfig {
    /// Probes at once.
    pub(crate) half_open_max_calls: u32,
    /// Successful probes that close it.
    pub(crate) success_threshold: u32,
    /// How long a probe may hold its place.
    pub(crate) lease: u64,
    pub(crate) open_for: Backoff,
    /// The longest that it stays open because the server asks for it; nothing if that is not listened to.
    pub(crate) max_retry_after: Option<Duration>,
    /// Nothing, if it closes with the last of the probes.
    pub(crate) ramp: Option<Ramp>,
    /// The mode to begin with.
    pub(crate) mode: Mode,
}

#[derive(Debug)]
pub(crate) struct Engine {
    /// Which stretch of one state this is: what was begun in an earlier one has no say.
    generation: u32,
    mode: Mode,
    /// Whether somebody's hand made the last change, or it is new.
    by_hand: bool,
    phase: Phase,
    changed_at: u64,
}

#[derive(Debug)]
enum Phase {
    Closed,
    // Boxed, because it is rare and there are many engines.
    Tripped(Box<Tripped>),
}

/// From the opening until it is closed again.
#[derive(Debug)]
struct Tripped {
    /// How often it has opened since it was last closed.
    openings: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Open {
        until: u64,
    },
    HalfOpen(Probing),
    /// Half-open too: the probes have succeeded.
    Ramp(RampStep),
}

/// The probes of one half-open stretch.
#[derive(Debug)]
struct Probing {
    in_flight: Vec<Probe>,
    /// Since when there is a place, or when there will be.
    free_from: u64,
    admitted: u32,
    successes: u32,
}

#[derive(Debug)]
struct Probe {
    id: u32,
    lease_ends: u64,
}

/// The id of a call on the ramp: it holds no place that it could give back.
const ON_RAMP: u32 = u32::MAX;

/// Whether a call repeats another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    Retry,
}

impl Attempt {
    /// Whether a breaker in this mode may refuse such a call at all.
    pub(crate) fn can_be_rejected_in(self, mode: Mode) -> bool {
        match (mode, self) {
            (Mode::Automatic | Mode::ForcedOpen, _) | (Mode::RejectRetriesOnly, Self::Retry) => true,
            (Mode::Disabled | Mode::ObserveOnly, _) | (Mode::RejectRetriesOnly, Self::First) => false,
        }
    }
}

/// What a call is let in as; it settles as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PermitKind {
    /// Its outcome changes nothing.
    Uncounted,
    /// Its outcome goes into the window of this generation.
    Counted { generation: u32 },
    /// It holds a place of a probe.
    Probe { generation: u32, id: u32 },
}

/// Why a call is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) state: State,
    /// The milliseconds until the next probe can be admitted; never by itself, if nothing.
    pub(crate) wait: Option<u64>,
    /// Not by the breaker that was asked, but by the one around it.
    pub(crate) by_outer: bool,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeOutcome {
    Success,
    Failure,
    /// Nothing was learnt; the place is free again.
    Neutral,
}

/// What an opening may need to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) now: u64,
    /// How long the server asks to be left alone.
    pub(crate) hint: Option<Duration>,
}

/// A change to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: (State, Mode),
    pub(crate) to: (State, Mode),
    pub(crate) cause: Cause,
    /// A new stretch of the closed state: it begins with an empty window.
    pub(crate) empties_window: bool,
}

impl Engine {
    pub(crate) fn new(config: &EngineConfig, now: u64) -> Self {
        Self { generation: 0, mode: config.mode, by_hand: true, phase: Phase::Closed, changed_at: now }
    }

    /// What callers experience: forced open is open, and disabled is closed.
    pub(crate) fn state(&self) -> State {
        match (self.mode, self.stage()) {
            (Mode::ForcedOpen, _) => State::Open,
            (Mode::Disabled, _) | (_, None) => State::Closed,
            (_, Some(Stage::Open { .. })) => State::Open,
            (_, Some(Stage::HalfOpen(_) | Stage::Ramp(_))) => State::HalfOpen,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether one that is made now would do the same.
    pub(crate) fn is_as_new(&self, config: &EngineConfig) -> bool {
        matches!(self.phase, Phase::Closed) && self.mode == config.mode
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn changed_at(&self) -> u64 {
        self.changed_at
    }

    /// When outcomes, and not somebody's hand, last changed it.
    pub(crate) fn changed_by_calls_at(&self) -> Option<u64> {
        (!self.by_hand).then_some(self.changed_at)
    }

    /// Until when those go first that have not failed as probes: one lease from when it is due, and if one of them has
    /// found no place, from when there is one again; but then no longer than it would have been open.
    pub(crate) fn turn_ends(&self, config: &EngineConfig, awaited: bool) -> Option<u64> {
        match self.stage()? {
            Stage::Open { until } => Some(until.saturating_add(config.lease)),
            Stage::HalfOpen(probing) => {
                let turn = self.changed_at.saturating_add(config.lease);
                let next = probing.free_from.saturating_add(config.lease.min(millis_up(config.open_for.ceiling(0))));
                Some(if awaited { turn.max(next) } else { turn })
            }
            Stage::Ramp(_) => None,
        }
    }

    /// When an open breaker is due to be probed.
    pub(crate) fn open_until(&self) -> Option<u64> {
        match self.stage() {
            Some(Stage::Open { until }) => Some(*until),
            _ => None,
        }
    }

    pub(crate) fn packed(&self) -> PackedState {
        PackedState::new(self.state(), self.mode, self.generation, self.open_until().unwrap_or(0))
    }

    /// A call asks to be let in. An open breaker that is due becomes half-open by this.
    pub(crate) fn acquire(
        &mut self,
        config: &EngineConfig,
        attempt: Attempt,
        now: u64,
    ) -> (Result<PermitKind, Rejection>, Option<Change>) {
        if let Some(rejection) = self.would_reject(config, attempt, now) {
            return (Err(rejection), None);
        }
        let from = (self.state(), self.mode);
        let (mode, Phase::Tripped(tripped)) = (self.mode, &mut self.phase) else {
            let permit = match self.mode {
                Mode::Disabled => PermitKind::Uncounted,
                _ => PermitKind::Counted { generation: self.generation },
            };
            return (Ok(permit), None);
        };
        let is_due = matches!(tripped.stage, Stage::Open { until } if until <= now);
        if is_due {
            tripped.stage =
                Stage::HalfOpen(Probing { in_flight: Vec::new(), free_from: now, admitted: 0, successes: 0 });
        }
        let probe = match &mut tripped.stage {
            Stage::HalfOpen(probing) => probing.admit(config, now),
            Stage::Ramp(ramp_step) => config.ramp.as_ref().and_then(|ramp| ramp_step.admits(ramp).then_some(ON_RAMP)),
            Stage::Open { .. } => None,
        };
        let change = is_due.then(|| self.changed(from, Cause::OpenTimeOver, now));
        let permit = match probe {
            Some(id) => PermitKind::Probe { generation: self.generation, id },
            None => {
                debug_assert!(mode != Mode::Automatic, "is rejected");
                PermitKind::Uncounted
            }
        };
        (Ok(permit), change)
    }

    /// What [`acquire`](Self::acquire) would refuse, without letting anybody in. What it refuses is refused for good: on a
    /// ramp the next call is the likelier to be let in.
    pub(crate) fn would_reject(&mut self, config: &EngineConfig, attempt: Attempt, now: u64) -> Option<Rejection> {
        match (self.mode, attempt) {
            (Mode::Disabled | Mode::ObserveOnly, _) | (Mode::RejectRetriesOnly, Attempt::First) => return None,
            (Mode::ForcedOpen, _) => return Some(Rejection::FORCED),
            (Mode::Automatic, _) | (Mode::RejectRetriesOnly, Attempt::Retry) => {}
        }
        let Phase::Tripped(tripped) = &mut self.phase else { return None };
        let (state, until) = match &mut tripped.stage {
            Stage::Open { until } => (State::Open, (now < *until).then_some(*until)),
            Stage::HalfOpen(probing) => (State::HalfOpen, probing.full_until(config, now)),
            Stage::Ramp(ramp_step) => {
                let rejects = config.ramp.as_ref().is_some_and(|ramp| ramp_step.rejects(ramp));
                return rejects.then_some(Rejection { state: State::HalfOpen, wait: None, by_outer: false });
            }
        };
        until.map(|until| Rejection { state, wait: Some(until.saturating_sub(now)), by_outer: false })
    }

    /// The window of this generation, or a row of failures, has become too bad.
    pub(crate) fn trip(
        &mut self,
        config: &EngineConfig,
        generation: u32,
        cause: Cause,
        opening: Opening,
        rng: &mut impl Rng,
    ) -> Option<Change> {
        let current = generation == self.generation && matches!(self.phase, Phase::Closed);
        current.then(|| self.open(config, cause, opening, rng))
    }

    /// A probe has ended. One that comes after its lease still counts, if it is of this generation.
    pub(crate) fn settle_probe(
        &mut self,
        config: &EngineConfig,
        (generation, id): (u32, u32),
        outcome: ProbeOutcome,
        opening: Opening,
        rng: &mut impl Rng,
    ) -> Option<Change> {
        if generation != self.generation {
            return None;
        }
        let Phase::Tripped(tripped) = &mut self.phase else { return None };
        let probing = match (&mut tripped.stage, &config.ramp) {
            (Stage::HalfOpen(probing), _) => probing,
            (Stage::Ramp(ramp_step), Some(ramp)) => {
                let progress = match outcome {
                    ProbeOutcome::Neutral => Progress::Climbing,
                    ProbeOutcome::Success => ramp_step.ended(ramp, false),
                    ProbeOutcome::Failure => ramp_step.ended(ramp, true),
                };
                return match progress {
                    Progress::Climbing => None,
                    Progress::Done => Some(self.close(Cause::ProbesSucceeded, opening.now)),
                    Progress::Fallen => Some(self.open(config, Cause::FailureRate, opening, rng)),
                };
            }
            (Stage::Ramp(_), None) | (Stage::Open { .. }, _) => return None,
        };
        probing.give_back(id, opening.now);
        match outcome {
            ProbeOutcome::Neutral => None,
            ProbeOutcome::Failure => Some(self.open(config, Cause::ProbeFailed, opening, rng)),
            ProbeOutcome::Success => {
                probing.successes += 1;
                if probing.successes < config.success_threshold {
                    return None;
                }
                if config.ramp.is_some() {
                    tripped.stage = Stage::Ramp(RampStep::default());
                    return None;
                }
                Some(self.close(Cause::ProbesSucceeded, opening.now))
            }
        }
    }

    /// Another mode. Between those that outcomes decide in the state goes on; a mode set by hand begins anew, and so does
    /// the state after it.
    pub(crate) fn set_mode(&mut self, mode: Mode, now: u64) -> Option<Change> {
        if mode == self.mode {
            return None;
        }
        let from = (self.state(), self.mode);
        let by_hand = |mode| matches!(mode, Mode::ForcedOpen | Mode::Disabled);
        let anew = by_hand(mode) || by_hand(self.mode);
        self.mode = mode;
        Some(if anew {
            Change { from, ..self.close(Cause::ByHand, now) }
        } else {
            Change { from, to: (self.state(), mode), cause: Cause::ByHand, empties_window: false }
        })
    }

    /// As it was when new.
    pub(crate) fn reset(&mut self, config: &EngineConfig, now: u64) -> Change {
        let from = (self.state(), self.mode);
        self.mode = config.mode;
        Change { from, ..self.close(Cause::ByHand, now) }
    }

    fn stage(&self) -> Option<&Stage> {
        match &self.phase {
            Phase::Closed => None,
            Phase::Tripped(tripped) => Some(&tripped.stage),
        }
    }

    fn close(&mut self, cause: Cause, now: u64) -> Change {
        let from = (self.state(), self.mode);
        self.phase = Phase::Closed;
        self.changed(from, cause, now)
    }

    fn open(&mut self, config: &EngineConfig, cause: Cause, opening: Opening, rng: &mut impl Rng) -> Change {
        let Opening { now, hint } = opening;
        let from = (self.state(), self.mode);
        let openings = match &self.phase {
            Phase::Closed => 0,
            Phase::Tripped(tripped) => tripped.openings,
        };
        let asked = hint.zip(config.max_retry_after).map(|(hint, longest)| hint.min(longest));
        let wait = match asked {
            Some(asked) if !asked.is_zero() => asked,
            _ => config.open_for.wait_at_least_half(openings, rng),
        };
        let wait = millis_up(wait).max(1);
        let stage = Stage::Open { until: now.saturating_add(wait) };
        self.phase = Phase::Tripped(Box::new(Tripped { openings: openings.saturating_add(1), stage }));
        self.changed(from, cause, now)
    }

    /// A new stretch has begun.
    fn changed(&mut self, from: (State, Mode), cause: Cause, now: u64) -> Change {
        self.generation = self.generation.wrapping_add(1) & GENERATION_MASK;
        self.changed_at = now;
        self.by_hand = cause == Cause::ByHand;
        let empties_window = matches!(self.phase, Phase::Closed);
        Change { from, to: (self.state(), self.mode), cause, empties_window }
    }
}

impl Rejection {
    /// By hand, and so for no certain time.
    pub(crate) const FORCED: Self = Self { state: State::Open, wait: None, by_outer: false };
}

impl Probing {
    /// The id of another probe, if there is a place for it.
    fn admit(&mut self, config: &EngineConfig, now: u64) -> Option<u32> {
        if self.full_until(config, now).is_some() {
            return None;
        }
        self.in_flight.retain(|probe| now < probe.lease_ends);
        let id = self.admitted;
        self.admitted = self.admitted.wrapping_add(1);
        self.in_flight.push(Probe { id, lease_ends: now.saturating_add(config.lease) });
        self.free_from = self.full_until(config, now).unwrap_or(self.free_from);
        Some(id)
    }

    fn give_back(&mut self, id: u32, now: u64) {
        let held = self.in_flight.len();
        self.in_flight.retain(|probe| probe.id != id);
        // One that is late has lost its place already, perhaps to another.
        if self.in_flight.len() < held {
            self.free_from = self.free_from.min(now);
        }
    }

    /// When a place becomes free for certain, if none is now.
    fn full_until(&self, config: &EngineConfig, now: u64) -> Option<u64> {
        let leases = || self.in_flight.iter().map(|probe| probe.lease_ends).filter(|ends| now < *ends);
        if leases().count() < config.half_open_max_calls as usize { None } else { leases().min() }
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::breaker::config::Config;
    use crate::invalid_setting::valid;

    const AT_ONCE: Opening = Opening { now: 0, hint: None };

    fn config() -> EngineConfig {
        let mut config = Config::default();
        valid(config.set_open_for(Duration::from_millis(1).into()));
        valid(config.set_half_open_max_calls(2));
        valid(config.set_success_threshold(2));
        valid(config.set_probe_lease(Duration::from_millis(1)));
        config.policy().engine
    }

    #[test]
    fn rule_2_an_earlier_generation_cannot_open_a_later_one() {
        let (config, mut rng) = (config(), SmallRng::seed_from_u64(7));
        let mut engine = Engine::new(&config, 0);
        engine.reset(&config, 0);
        assert_eq!(engine.trip(&config, 0, Cause::FailureRate, AT_ONCE, &mut rng), None);
        assert!(engine.trip(&config, 1, Cause::FailureRate, AT_ONCE, &mut rng).is_some());
    }

    #[test]
    fn rule_4_probes_that_hang_forever_pile_up_nowhere() {
        let (config, mut rng) = (config(), SmallRng::seed_from_u64(7));
        let mut engine = Engine::new(&config, 0);
        engine.trip(&config, 0, Cause::FailureRate, AT_ONCE, &mut rng);
        for now in 1..10_000 {
            assert!(engine.acquire(&config, Attempt::First, now).0.is_ok());
        }
        let Some(Stage::HalfOpen(probing)) = engine.stage() else { panic!("is half-open") };
        assert!(probing.in_flight.len() <= 2, "{}", probing.in_flight.len());
    }
}
