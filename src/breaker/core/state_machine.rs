//! The state machine of one breaker: a pure function of state, event and now. No clock, no atomics, no window.
//!
//! The outcomes of the closed state live in the window; the engine is called only when the window reaches a limit. So
//! every call of the engine is rare and may take a lock.

use std::time::Duration;

use rand::Rng;

use super::half_open::{HalfOpen, HalfOpenConfig, ProbeOutcome, Progress};
use super::packed_state::PackedState;
use crate::backoff::Backoff;
use crate::breaker::{Cause, Mode, State};
use crate::clock::millis_up;

/// What has no time of its own counts as unused after ten minutes: a closed breaker whose window of calls has recorded
/// nothing, and a half-open one.
pub(super) const IDLE: Duration = Duration::from_secs(600);

/// The settings of the engine. Times are in milliseconds since the clock started.
#[derive(Clone, Debug)]
pub(crate) struct EngineConfig {
    pub(crate) half_open: HalfOpenConfig,
    pub(crate) open_for: Backoff,
    /// The longest open time that a hint of the server sets; `None` ignores hints.
    pub(crate) max_retry_after: Option<Duration>,
    /// The initial mode.
    pub(crate) mode: Mode,
}

#[derive(Debug)]
pub(crate) struct Engine {
    /// Number of the current period of one state. Events that carry an earlier generation change nothing.
    generation: u32,
    /// Number of changes, also of the mode alone, modulo 65,536.
    changes: u16,
    mode: Mode,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Closed,
    // Boxed, because it is rare and there are many engines.
    Tripped(Box<Tripped>),
}

/// From opening until the breaker is closed again.
#[derive(Debug)]
struct Tripped {
    /// How often it has opened since it was last closed.
    openings: u32,
    /// Milliseconds for which it opened last.
    open_for: u64,
    changed_at: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Open { until: u64 },
    HalfOpen(HalfOpen),
}

/// Whether a call is a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    Retry,
}

impl Attempt {
    /// Whether a breaker in this mode may reject such a call at all.
    pub(crate) fn can_be_rejected_in(self, mode: Mode) -> bool {
        match (mode, self) {
            (Mode::Automatic | Mode::ForcedOpen, _) | (Mode::RejectRetriesOnly, Self::Retry) => true,
            (Mode::Disabled | Mode::ObserveOnly, _) | (Mode::RejectRetriesOnly, Self::First) => false,
        }
    }
}

/// The kind of permit that an admitted call holds, and settles with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PermitKind {
    /// Its outcome changes nothing.
    Uncounted,
    /// Its outcome goes into the window of this generation.
    Counted { generation: u32 },
    /// It holds a probe slot. `streams` is set once its head was good and its body follows.
    Probe { generation: u32, id: u32, streams: bool },
}

/// When a breaker is due to be probed, and the milliseconds for which it is open before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) since: u64,
    pub(crate) open_for: u64,
}

/// Why a call was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) state: State,
    /// Milliseconds until the next probe can be admitted; `None` if no time ends the wait.
    pub(crate) wait: Option<u64>,
    /// Whether the outer breaker rejected the call.
    pub(crate) by_outer: bool,
}

/// What an opening depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) now: u64,
    /// The server's retry hint.
    pub(crate) hint: Option<Duration>,
    /// The open time that the user's function returned, if there is one.
    pub(crate) custom: Option<Duration>,
}

/// A change to publish and report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: (State, Mode),
    pub(crate) to: (State, Mode),
    pub(crate) cause: Cause,
    /// Whether it begins a closed period, which has an empty window.
    pub(crate) empties_window: bool,
}

impl Engine {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self { generation: 0, changes: 0, mode: config.mode, phase: Phase::Closed }
    }

    /// The state that callers experience: forced open is open, and disabled is closed.
    pub(crate) fn state(&self) -> State {
        match (self.mode, self.stage()) {
            (Mode::ForcedOpen, _) => State::Open,
            (Mode::Disabled, _) | (_, None) => State::Closed,
            (_, Some(Stage::Open { .. })) => State::Open,
            (_, Some(Stage::HalfOpen(_))) => State::HalfOpen,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether a new engine would behave the same.
    pub(crate) fn is_as_new(&self, config: &EngineConfig) -> bool {
        matches!(self.phase, Phase::Closed) && self.mode == config.mode
    }

    /// Whether its open time is over and no call has come for as long again: the next one would be a probe.
    pub(crate) fn is_long_due(&self, config: &EngineConfig, now: u64) -> bool {
        let Phase::Tripped(tripped) = &self.phase else { return false };
        let due = match &tripped.stage {
            Stage::Open { until } => until.saturating_add(until - tripped.changed_at),
            // No call holds it, and its probes have neither closed nor opened it for long.
            Stage::HalfOpen(_) => tripped.changed_at.saturating_add(millis_up(IDLE)),
        };
        self.mode == config.mode && now >= due
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Differs after every change.
    pub(crate) fn version(&self) -> (u32, u16) {
        (self.generation, self.changes)
    }

    /// When a tripped breaker has changed last.
    pub(crate) fn changed_at(&self) -> Option<u64> {
        match &self.phase {
            Phase::Closed => None,
            Phase::Tripped(tripped) => Some(tripped.changed_at),
        }
    }

    /// When a tripped breaker is due to be probed, or has been since.
    pub(crate) fn due(&self) -> Option<Due> {
        let Phase::Tripped(tripped) = &self.phase else { return None };
        let since = match tripped.stage {
            Stage::Open { until } => until,
            Stage::HalfOpen(_) => tripped.changed_at,
        };
        Some(Due { since, open_for: tripped.open_for })
    }

    /// How often it has opened since it was last closed, and for how long the last time.
    pub(crate) fn openings(&self) -> (u32, Option<Duration>) {
        match &self.phase {
            Phase::Closed => (0, None),
            Phase::Tripped(tripped) => (tripped.openings, Some(Duration::from_millis(tripped.open_for))),
        }
    }

    /// When an open breaker is due to be probed.
    pub(crate) fn open_until(&self) -> Option<u64> {
        match self.stage() {
            Some(Stage::Open { until }) => Some(*until),
            _ => None,
        }
    }

    /// How many probes a half-open breaker would admit now. `None` on a ramp.
    pub(crate) fn remaining_probes(&self, config: &EngineConfig, now: u64) -> Option<u32> {
        match self.stage()? {
            Stage::Open { until } => (*until <= now).then_some(config.half_open.probing.max_calls),
            Stage::HalfOpen(half_open) => half_open.remaining_probes(&config.half_open, now),
        }
    }

    pub(crate) fn packed(&self) -> PackedState {
        PackedState::new(self.state(), self.mode, self.generation, self.open_until().unwrap_or(0))
    }

    /// Admits or rejects a call. Makes an open breaker that is due half-open.
    pub(crate) fn acquire(
        &mut self,
        config: &EngineConfig,
        attempt: Attempt,
        now: u64,
    ) -> (Result<PermitKind, Rejection>, Option<Change>) {
        if let Some(rejection) = self.would_reject(config, attempt, now) {
            return (Err(rejection), None);
        }
        let change = self.pass_time(config, now);
        let generation = self.generation;
        let permit = match &mut self.phase {
            Phase::Closed if self.mode == Mode::Disabled => PermitKind::Uncounted,
            Phase::Closed => PermitKind::Counted { generation },
            Phase::Tripped(tripped) => {
                let probe = match &mut tripped.stage {
                    Stage::HalfOpen(half_open) => half_open.admit(&config.half_open, now),
                    Stage::Open { .. } => None,
                };
                debug_assert!(probe.is_some() || self.mode != Mode::Automatic, "is rejected");
                probe.map_or(PermitKind::Uncounted, |id| PermitKind::Probe { generation, id, streams: false })
            }
        };
        (Ok(permit), change)
    }

    /// Returns the rejection that [`acquire`](Self::acquire) would give, without admitting the call. The rejection is
    /// final: on a ramp it raises the credit of the next call.
    pub(crate) fn would_reject(&mut self, config: &EngineConfig, attempt: Attempt, now: u64) -> Option<Rejection> {
        if !attempt.can_be_rejected_in(self.mode) {
            return None;
        }
        if self.mode == Mode::ForcedOpen {
            return Some(Rejection::FORCED);
        }
        let Phase::Tripped(tripped) = &mut self.phase else { return None };
        let (state, until) = match &mut tripped.stage {
            Stage::Open { until } if *until <= now => return None,
            Stage::Open { until } => (State::Open, Some(*until)),
            Stage::HalfOpen(half_open) => (State::HalfOpen, half_open.check(&config.half_open, now).err()?),
        };
        Some(Rejection { state, wait: until.map(|until| until.saturating_sub(now)), by_outer: false })
    }

    /// Makes the change that is due, with the call that finds it.
    fn pass_time(&mut self, config: &EngineConfig, now: u64) -> Option<Change> {
        let from = (self.state(), self.mode);
        let Phase::Tripped(tripped) = &mut self.phase else { return None };
        match &mut tripped.stage {
            Stage::Open { until } if *until <= now => {
                tripped.stage = Stage::HalfOpen(HalfOpen::begin());
                tripped.changed_at = now;
                Some(self.changed(from, Cause::OpenTimeOver))
            }
            Stage::Open { .. } => None,
            Stage::HalfOpen(half_open) => {
                let is_done = half_open.pass_time(&config.half_open, now) == Progress::Done;
                is_done.then(|| self.close(Cause::ProbesSucceeded))
            }
        }
    }

    /// Opens, because the window of this generation or the consecutive failures reached a limit.
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

    /// Counts what happened to a probe of this generation: one of an earlier generation reports on an outage that is
    /// over.
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
        let Stage::HalfOpen(half_open) = &mut tripped.stage else { return None };
        match half_open.settle(&config.half_open, id, outcome, opening.now) {
            Progress::Continues => None,
            Progress::Done => Some(self.close(Cause::ProbesSucceeded)),
            Progress::Failed(cause) => Some(self.open(config, cause, opening, rng)),
        }
    }

    /// Sets the mode. The state continues between modes that outcomes decide in; entering or leaving forced open or
    /// disabled starts a new closed period.
    pub(crate) fn set_mode(&mut self, mode: Mode) -> Option<Change> {
        if mode == self.mode {
            return None;
        }
        let from = (self.state(), self.mode);
        let by_hand = |mode| matches!(mode, Mode::ForcedOpen | Mode::Disabled);
        let anew = by_hand(mode) || by_hand(self.mode);
        self.mode = mode;
        Some(if anew {
            Change { from, ..self.close(Cause::ByHand) }
        } else {
            self.changes = self.changes.wrapping_add(1);
            Change { from, to: (self.state(), mode), cause: Cause::ByHand, empties_window: false }
        })
    }

    /// Returns to the initial state.
    pub(crate) fn reset(&mut self, config: &EngineConfig) -> Change {
        let from = (self.state(), self.mode);
        self.mode = config.mode;
        Change { from, ..self.close(Cause::ByHand) }
    }

    fn stage(&self) -> Option<&Stage> {
        match &self.phase {
            Phase::Closed => None,
            Phase::Tripped(tripped) => Some(&tripped.stage),
        }
    }

    fn close(&mut self, cause: Cause) -> Change {
        let from = (self.state(), self.mode);
        self.phase = Phase::Closed;
        self.changed(from, cause)
    }

    fn open(&mut self, config: &EngineConfig, cause: Cause, opening: Opening, rng: &mut impl Rng) -> Change {
        let Opening { now, hint, custom } = opening;
        let from = (self.state(), self.mode);
        let (openings, _) = self.openings();
        let asked = hint.zip(config.max_retry_after).map(|(hint, longest)| hint.min(longest));
        let wait = match asked {
            Some(asked) if !asked.is_zero() => asked,
            _ => config.open_for.wait_at_least_half(openings, custom, rng),
        };
        let wait = millis_up(wait).max(1);
        let stage = Stage::Open { until: now.saturating_add(wait) };
        let openings = openings.saturating_add(1);
        self.phase = Phase::Tripped(Box::new(Tripped { openings, open_for: wait, changed_at: now, stage }));
        self.changed(from, cause)
    }

    /// Begins a new generation.
    fn changed(&mut self, from: (State, Mode), cause: Cause) -> Change {
        self.generation = self.generation.wrapping_add(1);
        self.changes = self.changes.wrapping_add(1);
        let empties_window = matches!(self.phase, Phase::Closed);
        Change { from, to: (self.state(), self.mode), cause, empties_window }
    }
}

impl Rejection {
    /// Forced open: no time ends the wait.
    pub(crate) const FORCED: Self = Self { state: State::Open, wait: None, by_outer: false };
    /// A hedge that would be a probe.
    pub(crate) const HEDGE: Self = Self { state: State::HalfOpen, wait: None, by_outer: false };
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::breaker::config::Config;
    use crate::settings::invalid_setting::valid;

    const AT_ONCE: Opening = Opening { now: 0, hint: None, custom: None };

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
        let mut engine = Engine::new(&config);
        engine.reset(&config);
        assert_eq!(engine.trip(&config, 0, Cause::FailureRate, AT_ONCE, &mut rng), None);
        assert!(engine.trip(&config, 1, Cause::FailureRate, AT_ONCE, &mut rng).is_some());
    }
}
