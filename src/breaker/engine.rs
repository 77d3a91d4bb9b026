//! The state machine of one breaker: a pure function of state, event and now. No clock, no atomics, no window.
//!
//! The closed state with all its outcomes lives outside, in the window; the engine hears of it only when the window says
//! that it is enough. So everything here is rare, and may be guarded by a lock.

use rand::Rng;

use super::clock::millis_up;
use super::word::{GENERATION_MASK, Word};
use super::{Mode, State};
use crate::backoff::Backoff;

/// What the engine goes by. Times are in milliseconds since the start of the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Probes at once.
    pub(super) probes: u32,
    /// Successes that close.
    pub(super) successes: u32,
    /// How long a probe may hold its place.
    pub(super) lease: u64,
    pub(super) open_for: Backoff,
    /// The mode to begin with.
    pub(super) mode: Mode,
}

#[derive(Debug)]
pub(super) struct Engine {
    /// Which stretch of one state this is: what was begun in an earlier one has no say.
    generation: u32,
    mode: Mode,
    phase: Phase,
    /// How often it has opened since it was last closed.
    openings: u32,
    changed_at: u64,
}

#[derive(Debug)]
enum Phase {
    Closed,
    Open { until: u64 },
    // Boxed, because it is rare and there are many engines.
    HalfOpen(Box<Round>),
}

/// The probes of one half-open stretch.
#[derive(Debug, Default)]
struct Round {
    in_flight: Vec<Probe>,
    admitted: u32,
    successes: u32,
}

#[derive(Debug)]
struct Probe {
    id: u32,
    lease_ends: u64,
}

/// What a call is let in as; it settles as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// Its outcome changes nothing.
    Uncounted,
    /// Its outcome goes into the window of this generation.
    Counted { generation: u32 },
    /// It holds a place of a probe.
    Probe { generation: u32, id: u32 },
}

/// Why a call is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) state: State,
    /// When the next probe can be admitted; never by itself, if nothing.
    pub(super) until: Option<u64>,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeOutcome {
    Success,
    Failure,
    /// Nothing was learnt; the place is free again.
    Neutral,
}

/// What made a breaker change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    FailureRate,
    SlowRate,
    ConsecutiveFailures,
    OpenTimeOver,
    ProbesSucceeded,
    ProbeFailed,
    ByHand,
}

/// A change to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: (State, Mode),
    pub(super) to: (State, Mode),
    pub(super) cause: Cause,
    /// A new stretch of the closed state: it begins with an empty window.
    pub(super) empties_window: bool,
}

impl Engine {
    pub(super) fn new(rules: &Rules, now: u64) -> Self {
        Self { generation: 0, mode: rules.mode, phase: Phase::Closed, openings: 0, changed_at: now }
    }

    /// What callers experience: forced open is open, and disabled is closed.
    pub(super) fn state(&self) -> State {
        match (self.mode, &self.phase) {
            (Mode::ForcedOpen, _) => State::Open,
            (Mode::Disabled, _) | (_, Phase::Closed) => State::Closed,
            (_, Phase::Open { .. }) => State::Open,
            (_, Phase::HalfOpen(_)) => State::HalfOpen,
        }
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn changed_at(&self) -> u64 {
        self.changed_at
    }

    /// When an open breaker is due to be probed.
    pub(super) fn open_until(&self) -> Option<u64> {
        match (self.mode, &self.phase) {
            (Mode::Automatic | Mode::ObserveOnly, Phase::Open { until }) => Some(*until),
            _ => None,
        }
    }

    pub(super) fn word(&self) -> Word {
        Word::new(self.state(), self.mode, self.generation, self.open_until().unwrap_or(0))
    }

    /// A call asks to be let in. An open breaker that is due becomes half-open by this.
    pub(super) fn acquire(&mut self, rules: &Rules, now: u64) -> (Result<Grant, Refusal>, Option<Change>) {
        let generation = self.generation;
        match (self.mode, &mut self.phase) {
            (Mode::Disabled, _) => (Ok(Grant::Uncounted), None),
            (Mode::ForcedOpen, _) => (Err(Refusal { state: State::Open, until: None }), None),
            (_, Phase::Closed) => (Ok(Grant::Counted { generation }), None),
            (mode, Phase::Open { until }) if now < *until => {
                (refuse(mode, Refusal { state: State::Open, until: Some(*until) }), None)
            }
            (_, Phase::Open { .. }) => {
                let mut round = Round::default();
                let first = round.admit(rules, now);
                let change = self.enter(Phase::HalfOpen(Box::new(round)), Cause::OpenTimeOver, now);
                (self.probe(first), Some(change))
            }
            (_, Phase::HalfOpen(round)) => {
                let admitted = round.admit(rules, now);
                (self.probe(admitted), None)
            }
        }
    }

    /// What [`acquire`](Self::acquire) would refuse, without letting anybody in.
    pub(super) fn would_refuse(&self, rules: &Rules, now: u64) -> Option<Refusal> {
        match (self.mode, &self.phase) {
            (Mode::Disabled | Mode::ObserveOnly, _) | (Mode::Automatic, Phase::Closed) => None,
            (Mode::ForcedOpen, _) => Some(Refusal { state: State::Open, until: None }),
            (Mode::Automatic, Phase::Open { until }) => {
                (now < *until).then_some(Refusal { state: State::Open, until: Some(*until) })
            }
            (Mode::Automatic, Phase::HalfOpen(round)) => round.full_until(rules, now).map(Refusal::by_probes),
        }
    }

    /// The window of this generation, or a row of failures, has become too bad.
    pub(super) fn trip(
        &mut self,
        rules: &Rules,
        generation: u32,
        cause: Cause,
        now: u64,
        rng: &mut impl Rng,
    ) -> Option<Change> {
        let current = generation == self.generation && matches!(self.phase, Phase::Closed);
        current.then(|| self.open(rules, cause, now, rng))
    }

    /// A probe has ended. One that comes after its lease still counts, if it is of this generation.
    pub(super) fn settle_probe(
        &mut self,
        rules: &Rules,
        (generation, id): (u32, u32),
        outcome: ProbeOutcome,
        now: u64,
        rng: &mut impl Rng,
    ) -> Option<Change> {
        if generation != self.generation {
            return None;
        }
        let Phase::HalfOpen(round) = &mut self.phase else { return None };
        round.in_flight.retain(|probe| probe.id != id);
        match outcome {
            ProbeOutcome::Neutral => None,
            ProbeOutcome::Failure => Some(self.open(rules, Cause::ProbeFailed, now, rng)),
            ProbeOutcome::Success => {
                round.successes += 1;
                (round.successes >= rules.successes).then(|| {
                    self.openings = 0;
                    self.enter(Phase::Closed, Cause::ProbesSucceeded, now)
                })
            }
        }
    }

    /// Another mode. Between automatic and observe-only the state goes on; a mode set by hand begins anew, and so does
    /// the state after it.
    pub(super) fn set_mode(&mut self, mode: Mode, now: u64) -> Option<Change> {
        if mode == self.mode {
            return None;
        }
        let from = (self.state(), self.mode);
        let by_hand = |mode| matches!(mode, Mode::ForcedOpen | Mode::Disabled);
        let anew = by_hand(mode) || by_hand(self.mode);
        self.mode = mode;
        if anew {
            Some(Change { from, ..self.begin(now) })
        } else {
            Some(Change { from, to: (self.state(), mode), cause: Cause::ByHand, empties_window: false })
        }
    }

    /// As it was when new.
    pub(super) fn reset(&mut self, rules: &Rules, now: u64) -> Change {
        let from = (self.state(), self.mode);
        self.mode = rules.mode;
        Change { from, ..self.begin(now) }
    }

    fn begin(&mut self, now: u64) -> Change {
        self.openings = 0;
        self.enter(Phase::Closed, Cause::ByHand, now)
    }

    fn open(&mut self, rules: &Rules, cause: Cause, now: u64, rng: &mut impl Rng) -> Change {
        let wait = millis_up(rules.open_for.wait_at_least_half(self.openings, rng)).max(1);
        self.openings = self.openings.saturating_add(1);
        self.enter(Phase::Open { until: now.saturating_add(wait) }, cause, now)
    }

    fn enter(&mut self, phase: Phase, cause: Cause, now: u64) -> Change {
        let from = (self.state(), self.mode);
        self.phase = phase;
        self.generation = self.generation.wrapping_add(1) & GENERATION_MASK;
        self.changed_at = now;
        let empties_window = matches!(self.phase, Phase::Closed);
        Change { from, to: (self.state(), self.mode), cause, empties_window }
    }

    fn probe(&self, admitted: Result<u32, u64>) -> Result<Grant, Refusal> {
        match admitted {
            Ok(id) => Ok(Grant::Probe { generation: self.generation, id }),
            Err(until) => refuse(self.mode, Refusal::by_probes(until)),
        }
    }
}

impl Round {
    /// The id of another probe, or when the first lease of those in flight ends.
    fn admit(&mut self, rules: &Rules, now: u64) -> Result<u32, u64> {
        if let Some(until) = self.full_until(rules, now) {
            return Err(until);
        }
        self.in_flight.retain(|probe| now < probe.lease_ends);
        let id = self.admitted;
        self.admitted = self.admitted.wrapping_add(1);
        self.in_flight.push(Probe { id, lease_ends: now.saturating_add(rules.lease) });
        Ok(id)
    }

    /// When a place becomes free for certain, if none is now.
    fn full_until(&self, rules: &Rules, now: u64) -> Option<u64> {
        let leases = || self.in_flight.iter().map(|probe| probe.lease_ends).filter(|ends| now < *ends);
        if leases().count() < rules.probes as usize { None } else { leases().min() }
    }
}

impl Refusal {
    fn by_probes(until: u64) -> Self {
        Self { state: State::HalfOpen, until: Some(until) }
    }
}

/// Who only observes lets the call in, and learns nothing from it.
fn refuse(mode: Mode, refusal: Refusal) -> Result<Grant, Refusal> {
    if mode == Mode::ObserveOnly { Ok(Grant::Uncounted) } else { Err(refusal) }
}
