//! One breaker, kept in the plainest way.

use std::time::Duration;

use tower_rampart::breaker::{Mode, State};
use tower_rampart::classify::Health;

use super::config::{Config, WindowConfig};

/// Everything there is to know.
pub(super) struct Model {
    pub(super) config: Config,
    pub(super) now: Duration,
    /// Counts every new stretch of a state, to recognise stale permits.
    pub(super) stretch: u64,
    pub(super) mode: Mode,
    pub(super) phase: Phase,
    openings: u32,
    pub(super) rejected: u64,
    admitted: u64,
}

pub(super) enum Phase {
    /// Every outcome with its time, and the times of the failures in a row.
    Closed {
        outcomes: Vec<Recorded>,
        row: Vec<Duration>,
    },
    Open {
        until: u64,
    },
    HalfOpen {
        leases: Vec<(u64, u64)>,
        successes: u32,
    },
    /// The step, and of that step all calls that came, that ended, and that failed.
    Ramp {
        step: usize,
        came: u64,
        ended: u32,
        failed: u32,
    },
}

#[derive(Clone, Copy)]
pub(super) struct Recorded {
    at: Duration,
    pub(super) failed: bool,
    pub(super) slow: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) id: u64,
    pub(super) stretch: u64,
    pub(super) counts: Counts,
    began: Duration,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Counts {
    Nowhere,
    InWindow,
    AsProbe,
}

/// The state, and until when certainly no call is admitted.
pub(super) type Rejection = (State, Option<u64>);

const CLOSED: Phase = Phase::Closed { outcomes: Vec::new(), row: Vec::new() };

impl Model {
    pub(super) fn new(config: Config) -> Self {
        let mode = config.mode;
        Self { config, now: Duration::ZERO, stretch: 0, mode, phase: CLOSED, openings: 0, rejected: 0, admitted: 0 }
    }

    pub(super) fn millis(&self) -> u64 {
        self.now.as_millis() as u64
    }

    pub(super) fn state(&self) -> State {
        match (self.mode, &self.phase) {
            (Mode::ForcedOpen, _) | (_, Phase::Open { .. }) => State::Open,
            (_, Phase::Closed { .. }) => State::Closed,
            (_, Phase::HalfOpen { .. } | Phase::Ramp { .. }) => State::HalfOpen,
        }
    }

    /// The same as it reads from outside: an open one that is due is half-open before a call comes.
    pub(super) fn read_state(&self) -> State {
        match (self.mode, &self.phase) {
            (mode, Phase::Open { until }) if mode != Mode::ForcedOpen && *until <= self.millis() => State::HalfOpen,
            _ => self.state(),
        }
    }

    /// The outcomes in the window, at this time.
    pub(super) fn live(&self) -> Vec<Recorded> {
        let Phase::Closed { outcomes, .. } = &self.phase else { return Vec::new() };
        match self.config.window {
            WindowConfig::Count(calls) => outcomes.iter().rev().take(calls as usize).copied().collect(),
            WindowConfig::Time { .. } => {
                outcomes.iter().filter(|outcome| self.is_recent(outcome.at)).copied().collect()
            }
        }
    }

    /// Whether a window of time still holds what happened then. In a window of calls nothing is too long ago.
    fn is_recent(&self, at: Duration) -> bool {
        let WindowConfig::Time { buckets, .. } = self.config.window else { return true };
        let tick = |at: Duration| at.as_nanos() / self.config.window.bucket_nanos();
        tick(at) + u128::from(buckets) > tick(self.now)
    }

    /// Failures in a row, which are forgotten when the last of them has left the window.
    pub(super) fn streak(&self) -> u32 {
        let Phase::Closed { row, .. } = &self.phase else { return 0 };
        if row.last().is_some_and(|last| self.is_recent(*last)) { row.len() as u32 } else { 0 }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.stretch += 1;
    }

    pub(super) fn open(&mut self, hint: Option<u64>) {
        let (first, max) = self.config.open_for;
        let backoff = first.saturating_mul(1 << self.openings.min(40)).min(max);
        let asked =
            hint.filter(|hint| *hint > 0).zip(self.config.longest_hint).map(|(hint, longest)| hint.min(longest));
        let until = self.millis() + asked.unwrap_or(backoff);
        self.openings += 1;
        self.enter(Phase::Open { until });
    }

    fn close(&mut self) {
        self.openings = 0;
        self.enter(CLOSED);
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now += time;
        let now = self.millis();
        if let Phase::HalfOpen { leases, .. } = &mut self.phase {
            leases.retain(|lease| lease.1 > now);
        }
    }

    /// Whether its mode rejects such a call at any time.
    pub(super) fn rejects(&self, retry: bool) -> bool {
        match self.mode {
            Mode::Automatic | Mode::ForcedOpen => true,
            Mode::RejectRetriesOnly => retry,
            _ => false,
        }
    }

    /// Whether a call that comes now is admitted as a probe; nothing if it is not tripped.
    fn probes(&self) -> Option<Result<(), Rejection>> {
        let now = self.millis();
        match &self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { until } if now < *until => Some(Err((State::Open, Some(*until)))),
            Phase::Open { .. } => Some(Ok(())),
            Phase::HalfOpen { leases, .. } if leases.len() < self.config.half_open.0 as usize => Some(Ok(())),
            Phase::HalfOpen { leases, .. } => Some(Err((State::HalfOpen, leases.iter().map(|lease| lease.1).min()))),
            // Of all that came, this one included, the share is admitted, as soon as that makes a whole call.
            Phase::Ramp { step, came, .. } => {
                let let_in = |came: u64| came * self.config.millionths(*step) / 1_000_000;
                let one_more = let_in(came + 1) > let_in(*came);
                Some(if one_more { Ok(()) } else { Err((State::HalfOpen, None)) })
            }
        }
    }

    pub(super) fn rejection(&self, retry: bool) -> Option<Rejection> {
        match self.mode {
            Mode::ForcedOpen => Some((State::Open, None)),
            _ if self.rejects(retry) => self.probes()?.err(),
            _ => None,
        }
    }

    pub(super) fn acquire(&mut self, retry: bool) -> Result<Held, Rejection> {
        let (now, rejection, probes) = (self.millis(), self.rejection(retry), self.probes());
        if let Phase::Ramp { came, .. } = &mut self.phase {
            *came += 1;
        }
        if let Some(rejection) = rejection {
            self.rejected += 1;
            return Err(rejection);
        }
        self.admitted += 1;
        let counts = match probes {
            _ if self.mode == Mode::Disabled => Counts::Nowhere,
            None => Counts::InWindow,
            Some(Err(_)) => Counts::Nowhere,
            Some(Ok(())) => Counts::AsProbe,
        };
        if counts == Counts::AsProbe {
            if let Phase::Open { .. } = self.phase {
                self.enter(Phase::HalfOpen { leases: Vec::new(), successes: 0 });
            }
            if let Phase::HalfOpen { leases, .. } = &mut self.phase {
                leases.push((self.admitted, now + self.config.lease));
            }
        }
        Ok(Held { id: self.admitted, stretch: self.stretch, counts, began: self.now })
    }

    /// What a dropped call counts as.
    pub(super) fn of_dropped(&self, held: Held) -> Health {
        let limit = match self.config.abandoned {
            Some(limit) => limit,
            None => self.config.slow.map(|slow| slow.0),
        };
        let ran = self.now - held.began;
        let failed = limit.is_some_and(|limit| limit == 0 || ran > Duration::from_millis(limit));
        if failed { Health::Failure } else { Health::Neutral }
    }

    pub(super) fn settle(&mut self, held: Held, health: Health, hint: Option<u64>) {
        if held.stretch != self.stretch {
            return;
        }
        match held.counts {
            Counts::Nowhere => {}
            Counts::AsProbe => self.settle_probe(held, health, hint),
            Counts::InWindow => self.record(held, health, hint),
        }
    }

    fn settle_probe(&mut self, held: Held, health: Health, hint: Option<u64>) {
        let failed = match health {
            Health::Failure | Health::Throttled => 1,
            Health::Success | Health::Neutral => 0,
        };
        match &mut self.phase {
            Phase::HalfOpen { leases, successes } => {
                leases.retain(|lease| lease.0 != held.id);
                *successes += u32::from(health == Health::Success);
                if failed > 0 {
                    self.open(hint);
                } else if health == Health::Success && *successes >= self.config.half_open.1 {
                    match self.config.ramp {
                        Some(_) => self.phase = Phase::Ramp { step: 0, came: 0, ended: 0, failed: 0 },
                        None => self.close(),
                    }
                }
            }
            Phase::Ramp { .. } if health == Health::Neutral => {}
            Phase::Ramp { step, ended, failed: failures, .. } => {
                let (shares, calls) = self.config.ramp.clone().unwrap();
                *ended += 1;
                *failures += failed;
                if failed > 0 && f64::from(*failures) / f64::from(calls) >= self.config.rate {
                    self.open(hint);
                } else if *ended == calls {
                    let next = *step + 1;
                    if next == shares.len() {
                        self.close();
                    } else {
                        self.phase = Phase::Ramp { step: next, came: 0, ended: 0, failed: 0 };
                    }
                }
            }
            Phase::Closed { .. } | Phase::Open { .. } => unreachable!("a probe is of its own stretch"),
        }
    }

    fn record(&mut self, held: Held, health: Health, hint: Option<u64>) {
        let failed = match health {
            Health::Neutral => return,
            Health::Success => false,
            Health::Failure | Health::Throttled => true,
        };
        let slow = self.config.slow.is_some_and(|slow| self.now - held.began > Duration::from_millis(slow.0));
        let recorded = Recorded { at: self.now, failed, slow };
        let Phase::Closed { outcomes, .. } = &mut self.phase else { unreachable!() };
        outcomes.push(recorded);
        let live = self.live();
        let (now, is_over) = (self.now, self.streak() == 0);
        let Phase::Closed { row, .. } = &mut self.phase else { unreachable!() };
        match (self.config.consecutive, health) {
            (None, _) | (_, Health::Throttled | Health::Neutral) => {}
            (_, Health::Success) => row.clear(),
            (_, Health::Failure) => {
                if is_over {
                    row.clear();
                }
                row.push(now);
            }
        }
        let row = health == Health::Failure && self.config.consecutive.is_some_and(|limit| self.streak() >= limit);
        let share = |part: usize| part as f64 / live.len() as f64;
        let enough = live.len() >= self.config.minimum as usize;
        let failures = share(live.iter().filter(|outcome| outcome.failed).count());
        let slow = share(live.iter().filter(|outcome| outcome.slow).count());
        let bad = failures >= self.config.rate || self.config.slow.is_some_and(|(_, rate)| slow >= rate);
        if row || (enough && bad) {
            self.open(hint);
        }
    }

    pub(super) fn set_mode(&mut self, mode: Mode) {
        if mode == self.mode {
            return;
        }
        let by_hand = |mode| matches!(mode, Mode::ForcedOpen | Mode::Disabled);
        if by_hand(mode) || by_hand(self.mode) {
            self.close();
        }
        self.mode = mode;
    }

    pub(super) fn reset(&mut self) {
        self.close();
        self.rejected = 0;
        self.mode = self.config.mode;
    }
}
