//! The way out: what a breaker learns from the end of a call.

use std::sync::Arc;
use std::time::Duration;

use super::node::{Cell, Ending, Held, opening_rng};
use super::state_machine::{Grant, Opening, ProbeOutcome};
use super::window::Outcome;
use crate::breaker::Cause;
use crate::classify::Health;
use crate::clock::{Moment, Stopwatch};

impl Cell {
    /// Learns from the end of a call, and so does what is around it if the call was a probe of that.
    #[inline(always)]
    pub(crate) fn settle_held(self: &Arc<Self>, held: Held, watch: Option<Stopwatch>, ending: Ending) {
        match (held, ending) {
            (Held::Own(Grant::Counted { generation }), Ending::Judged(Health::Success, None)) => {
                self.succeed(generation, watch);
            }
            (held, ending) => self.settle_otherwise(held, watch, ending),
        }
    }

    /// The same for a plain success, which most calls are.
    fn succeed(self: &Arc<Self>, generation: u32, watch: Option<Stopwatch>) {
        self.settle(Grant::Counted { generation }, watch, Ending::Judged(Health::Success, None));
    }

    #[inline(never)]
    fn settle_otherwise(self: &Arc<Self>, held: Held, watch: Option<Stopwatch>, ending: Ending) {
        match held {
            Held::Own(grant) => self.settle(grant, watch, ending),
            Held::Both(grants) => self.settle_both(*grants, watch, ending),
        }
    }

    #[cold]
    fn settle_both(self: &Arc<Self>, (own, outer): (Grant, Grant), watch: Option<Stopwatch>, ending: Ending) {
        self.settle(own, watch, ending);
        let Some(membership) = self.membership() else { return };
        let elapsed = watch.map(|watch| watch.elapsed(self.now()));
        let health = self.judge(ending, elapsed).0;
        membership.ended(outer, health);
        // What the server asks for is meant for this one caller.
        membership.outer().settle(outer, None, Ending::Judged(health, None));
    }

    #[inline(always)]
    fn judge(&self, ending: Ending, elapsed: Option<Duration>) -> (Health, Option<Duration>) {
        match ending {
            Ending::Judged(health, hint) => (health, hint),
            Ending::TimedOut if self.shared.policy.timeouts_fail => (Health::Failure, None),
            Ending::TimedOut => (Health::Neutral, None),
            Ending::Abandoned => match (self.shared.policy.abandoned_after, elapsed) {
                (Some(limit), Some(elapsed)) if elapsed > limit || limit.is_zero() => (Health::Failure, None),
                _ => (Health::Neutral, None),
            },
        }
    }

    /// Learns from the end of a call.
    #[inline(always)]
    pub(crate) fn settle(self: &Arc<Self>, grant: Grant, watch: Option<Stopwatch>, ending: Ending) {
        let policy = &self.shared.policy;
        let (generation, probe) = match grant {
            Grant::Uncounted => return,
            Grant::Counted { generation } => (generation, None),
            Grant::Probe { generation, id } => (generation, Some(id)),
        };
        if probe.is_none() && self.word().generation() != generation {
            return;
        }
        let now = (probe.is_some() || policy.dates_calls()).then(|| self.now());
        let elapsed = now.zip(watch).map(|(now, watch)| watch.elapsed(now));
        let (health, hint) = self.judge(ending, elapsed);
        match probe {
            Some(id) => self.settle_probe((generation, id), health, hint),
            None => self.settle_counted(generation, now, elapsed, health, hint),
        }
    }

    #[cold]
    fn settle_probe(self: &Arc<Self>, probe: (u32, u32), health: Health, hint: Option<Duration>) {
        let outcome = match health {
            Health::Success => ProbeOutcome::Success,
            Health::Failure | Health::Throttled => ProbeOutcome::Failure,
            Health::Neutral => ProbeOutcome::Neutral,
        };
        let now = self.now().millis();
        let mut rng = opening_rng();
        self.change(|engine, rules| ((), engine.settle_probe(rules, probe, outcome, Opening { now, hint }, &mut rng)));
    }

    #[inline(always)]
    fn settle_counted(
        self: &Arc<Self>,
        generation: u32,
        now: Option<Moment>,
        elapsed: Option<Duration>,
        health: Health,
        hint: Option<Duration>,
    ) {
        let policy = &self.shared.policy;
        let failed = match health {
            Health::Success => false,
            Health::Failure | Health::Throttled => true,
            Health::Neutral => return,
        };
        let live = || self.word().generation() == generation;
        let outcome = Outcome { failed, slow: policy.is_slow(elapsed) };
        let mut streak = 0;
        if policy.counts_streaks() {
            match health {
                Health::Success => self.streak.success(live),
                Health::Failure => streak = self.streak.failure(policy.window.age(now), live).unwrap_or(0),
                Health::Throttled | Health::Neutral => {}
            }
        }
        let counts = self.window.record(policy.window, now, outcome, live);
        if counts.is_none() && streak == 0 {
            return;
        }
        if let Some(cause) = policy.verdict(counts.unwrap_or_default(), streak) {
            self.trip(generation, cause, hint);
        }
    }

    #[cold]
    fn trip(self: &Arc<Self>, generation: u32, cause: Cause, hint: Option<Duration>) {
        let now = self.now().millis();
        let mut rng = opening_rng();
        self.change(|engine, rules| ((), engine.trip(rules, generation, cause, Opening { now, hint }, &mut rng)));
    }
}
