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
    /// Successes and failures that counted.
    pub(super) ended: (u64, u64),
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
        leases: Vec<Lease>,
        ended: u32,
        slow: u32,
    },
    /// The step and when it ends, the millionths of a call that all who came may be admitted with, and of the step all
    /// calls that ended, that failed and that were slow.
    Ramp {
        step: usize,
        ends_at: u64,
        earned: u64,
        ended: u32,
        failed: u32,
        slow: u32,
    },
}

/// The slot of a probe.
pub(super) struct Lease {
    id: u64,
    ends: u64,
    streams: bool,
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
    /// When its head came, if its body follows.
    head: Option<Duration>,
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
        let now = Duration::ZERO;
        Self { config, now, stretch: 0, mode, phase: CLOSED, openings: 0, rejected: 0, ended: (0, 0), admitted: 0 }
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
        self.is_within(at, Duration::ZERO)
    }

    /// The same, but for so long at least.
    fn is_within(&self, at: Duration, least: Duration) -> bool {
        let WindowConfig::Time { buckets, .. } = self.config.window else { return true };
        let tick = |at: Duration| at.as_nanos() / self.config.window.bucket_nanos();
        tick(at) + tick(least).max(buckets.into()) > tick(self.now)
    }

    /// Failures in a row, which are forgotten when the last of them has left the window, and is a minute old if the
    /// breaker watches for an outage.
    pub(super) fn streak(&self) -> u32 {
        let Phase::Closed { row, .. } = &self.phase else { return 0 };
        let least = Duration::from_secs(if self.config.outage.is_some() { 60 } else { 0 });
        if row.last().is_some_and(|last| self.is_within(*last, least)) { row.len() as u32 } else { 0 }
    }

    /// Whether there are enough failures in a row, and the first is long enough ago.
    fn is_outage(&self) -> bool {
        let Phase::Closed { row, .. } = &self.phase else { return false };
        self.config.outage.zip(row.first()).is_some_and(|((failures, lasting), first)| {
            self.streak() >= failures && self.now - *first >= Duration::from_millis(lasting)
        })
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.stretch += 1;
    }

    /// How long the last opening lasts, without a hint.
    pub(super) fn opened_for(&self) -> u64 {
        let (first, max) = self.config.open_for;
        first.saturating_mul(1 << self.openings.saturating_sub(1).min(40)).min(max)
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
        if let Phase::HalfOpen { leases, ended, .. } = &mut self.phase {
            *ended += leases.iter().filter(|lease| lease.ends <= now && lease.streams).count() as u32;
            leases.retain(|lease| lease.ends > now);
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

    /// Whether too many probes, or calls of a step of the ramp, have failed or were slow.
    fn is_bad(&self, (failed, slow): (u32, u32), of: u32) -> bool {
        let reaches = |part: u32, rate: f64| part > 0 && f64::from(part) / f64::from(of) >= rate;
        reaches(failed, self.config.rate) || self.config.slow.is_some_and(|(_, rate)| reaches(slow, rate))
    }

    /// Ends the probes and the steps that are over. Returns whether the half-open time is.
    fn goes_on(&mut self) -> bool {
        let now = self.millis();
        let Some(ramp) = self.config.ramp.clone() else {
            return matches!(self.phase, Phase::HalfOpen { ended, .. } if ended >= self.config.half_open.1);
        };
        let long = self.config.open_for.0.div_ceil(ramp.0.len() as u64);
        match self.phase {
            Phase::HalfOpen { ended, .. } if ended >= self.config.half_open.1 => {
                let earned = 1_000_000 - self.config.millionths(0);
                self.phase = Phase::Ramp { step: 0, ends_at: now + long, earned, ended: 0, failed: 0, slow: 0 };
                false
            }
            Phase::Ramp { step, ends_at, earned, ended, failed, slow } => {
                let in_time = ends_at <= now && !self.is_bad((failed, slow), ended);
                if ended < self.config.planned(step) && !in_time {
                    return false;
                }
                if step + 1 == ramp.0.len() {
                    return true;
                }
                let ends_at = ends_at.min(now) + long;
                self.phase = Phase::Ramp { step: step + 1, ends_at, earned, ended: 0, failed: 0, slow: 0 };
                self.goes_on()
            }
            _ => false,
        }
    }

    /// Whether a call that comes now is admitted as a probe; nothing if it is not tripped.
    fn probes(&mut self) -> Option<Result<(), Rejection>> {
        let now = self.millis();
        if self.goes_on() {
            return None;
        }
        match &self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { until } if now < *until => Some(Err((State::Open, Some(*until)))),
            Phase::Open { .. } => Some(Ok(())),
            Phase::HalfOpen { leases, .. } if leases.len() < self.config.half_open.0 as usize => Some(Ok(())),
            Phase::HalfOpen { leases, .. } => Some(Err((State::HalfOpen, leases.iter().map(|lease| lease.ends).min()))),
            // The share of all that came, this one included, as soon as that makes a whole call.
            Phase::Ramp { step, earned, .. } => {
                let one_more = (earned + self.config.millionths(*step)) / 1_000_000 > earned / 1_000_000;
                Some(if one_more { Ok(()) } else { Err((State::HalfOpen, None)) })
            }
        }
    }

    /// The probes that there is room for.
    pub(super) fn remaining_probes(&self) -> Option<u32> {
        let most = self.config.half_open.0;
        match &self.phase {
            Phase::Open { until } if *until <= self.millis() => Some(most),
            Phase::HalfOpen { leases, .. } => Some(most - leases.len() as u32),
            Phase::Closed { .. } | Phase::Open { .. } | Phase::Ramp { .. } => None,
        }
    }

    pub(super) fn rejection(&mut self, retry: bool) -> Option<Rejection> {
        match self.mode {
            Mode::ForcedOpen => Some((State::Open, None)),
            _ if self.rejects(retry) => self.probes()?.err(),
            _ => None,
        }
    }

    pub(super) fn acquire(&mut self, retry: bool) -> Result<Held, Rejection> {
        let (now, rejection, probes) = (self.millis(), self.rejection(retry), self.probes());
        if let Phase::Ramp { step, earned, .. } = &mut self.phase {
            *earned += self.config.millionths(*step);
        }
        if let Some(rejection) = rejection {
            self.rejected += 1;
            return Err(rejection);
        }
        self.admitted += 1;
        if self.goes_on() {
            self.close();
        }
        let counts = match probes {
            _ if self.mode == Mode::Disabled => Counts::Nowhere,
            None => Counts::InWindow,
            Some(Err(_)) => Counts::Nowhere,
            Some(Ok(())) => Counts::AsProbe,
        };
        if counts == Counts::AsProbe {
            if let Phase::Open { .. } = self.phase {
                self.enter(Phase::HalfOpen { leases: Vec::new(), ended: 0, slow: 0 });
            }
            if let Phase::HalfOpen { leases, .. } = &mut self.phase {
                leases.push(Lease { id: self.admitted, ends: now + self.config.lease, streams: false });
            }
        }
        Ok(Held { id: self.admitted, stretch: self.stretch, counts, began: self.now, head: None })
    }

    /// The head of a call is good, and its body follows.
    pub(super) fn head(&mut self, held: &mut Held) {
        held.head = Some(self.now);
        if held.stretch != self.stretch || held.counts != Counts::AsProbe {
            return;
        }
        let is_slow = self.is_slow(*held);
        match &mut self.phase {
            // After its lease, and on the ramp, it need not wait for the body.
            Phase::HalfOpen { leases, slow, .. } => match leases.iter_mut().find(|lease| lease.id == held.id) {
                Some(lease) => {
                    lease.streams = true;
                    *slow += u32::from(is_slow);
                    self.judge_probes(None);
                }
                None => self.settle_probe(Held { head: None, ..*held }, Health::Success, None),
            },
            _ => self.settle_probe(Held { head: None, ..*held }, Health::Success, None),
        }
    }

    fn is_slow(&self, held: Held) -> bool {
        let took = held.head.unwrap_or(self.now) - held.began;
        self.config.slow.is_some_and(|slow| took > Duration::from_millis(slow.0))
    }

    /// What a dropped call counts as.
    pub(super) fn of_dropped(&self, held: Held) -> Health {
        match (held.head, held.counts) {
            (Some(_), Counts::AsProbe) => return Health::Success,
            (Some(_), _) => return Health::Neutral,
            (None, _) => {}
        }
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
        match (held.counts, health) {
            (Counts::Nowhere, _) | (_, Health::Neutral) => {}
            (_, Health::Success) => self.ended.0 += 1,
            (_, Health::Failure | Health::Throttled) => self.ended.1 += 1,
        }
        match held.counts {
            Counts::Nowhere => {}
            Counts::AsProbe => self.settle_probe(held, health, hint),
            Counts::InWindow => self.record(held, health, hint),
        }
    }

    fn settle_probe(&mut self, held: Held, health: Health, hint: Option<u64>) {
        if let Phase::HalfOpen { ended, .. } = self.phase {
            // Streams have closed it with the end of their leases.
            if ended >= self.config.half_open.1 {
                return self.judge_probes(hint);
            }
        }
        let fails = matches!(health, Health::Failure | Health::Throttled);
        // What was slow or good at its head has been counted there.
        let is_slow = health == Health::Success && held.head.is_none() && self.is_slow(held);
        match &mut self.phase {
            Phase::HalfOpen { leases, ended, slow } => {
                let held_before = leases.len();
                leases.retain(|lease| lease.id != held.id);
                let has_slot = leases.len() < held_before;
                if fails {
                    return self.open(hint);
                }
                *ended += u32::from(health == Health::Success && (has_slot || held.head.is_none()));
                *slow += u32::from(is_slow);
            }
            Phase::Ramp { ended, failed, slow, .. } => {
                *ended += u32::from(fails || (health == Health::Success && held.head.is_none()));
                *failed += u32::from(fails);
                *slow += u32::from(is_slow);
            }
            Phase::Closed { .. } | Phase::Open { .. } => unreachable!("a probe is of its own stretch"),
        }
        self.judge_probes(hint);
    }

    fn judge_probes(&mut self, hint: Option<u64>) {
        let is_bad = match self.phase {
            Phase::HalfOpen { slow, .. } => self.is_bad((0, slow), self.config.half_open.1),
            Phase::Ramp { step, failed, slow, .. } => self.is_bad((failed, slow), self.config.planned(step)),
            Phase::Closed { .. } | Phase::Open { .. } => false,
        };
        if is_bad {
            self.open(hint);
        } else if self.goes_on() {
            self.close();
        }
    }

    fn record(&mut self, held: Held, health: Health, hint: Option<u64>) {
        let failed = match health {
            Health::Neutral => return,
            Health::Success => false,
            Health::Failure | Health::Throttled => true,
        };
        let slow = self.is_slow(held);
        let recorded = Recorded { at: self.now, failed, slow };
        let Phase::Closed { outcomes, .. } = &mut self.phase else { unreachable!() };
        outcomes.push(recorded);
        let live = self.live();
        let (now, is_over) = (self.now, self.streak() == 0);
        let Phase::Closed { row, .. } = &mut self.phase else { unreachable!() };
        match health {
            _ if self.config.consecutive.is_none() && self.config.outage.is_none() => {}
            Health::Throttled | Health::Neutral => {}
            Health::Success => row.clear(),
            Health::Failure => {
                if is_over {
                    row.clear();
                }
                row.push(now);
            }
        }
        let row = health == Health::Failure
            && (self.config.consecutive.is_some_and(|limit| self.streak() >= limit) || self.is_outage());
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
        self.mode = self.config.mode;
    }
}
