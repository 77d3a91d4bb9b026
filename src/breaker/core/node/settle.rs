//! Settlement: what a breaker records when a call ends.

use std::sync::Arc;
use std::time::Duration;

use super::{Admission, Completion, InEra, NEUTRAL, Node};
use crate::breaker::Cause;
use crate::breaker::core::half_open::ProbeOutcome;
use crate::breaker::core::packed_state::PackedState;
use crate::breaker::core::policy::Policy;
use crate::breaker::core::state_machine::{Opening, PermitKind};
use crate::breaker::core::window::consecutive_failures::Run;
use crate::breaker::core::window::{Late, Outcome};
use crate::call::attempt_span;
use crate::classify::Health;
use crate::clock::{Moment, Stopwatch};

impl Node {
    /// Records the end of a call, also in the outer node.
    #[inline(always)]
    pub(crate) fn settle_admission(
        self: &Arc<Self>,
        admission: Admission,
        watch: Option<Stopwatch>,
        completion: Completion,
    ) {
        match (admission, completion) {
            (Admission::Own(PermitKind::Counted { generation }), Completion::Judged(Health::Success, None)) => {
                self.succeed(generation, watch);
            }
            (admission, completion) => self.settle_otherwise(admission, watch, completion),
        }
    }

    /// Ends an admission that teaches nothing.
    pub(crate) fn release(self: &Arc<Self>, admission: Admission) {
        self.settle_otherwise(admission, None, NEUTRAL);
    }

    /// Fast path: records a plain success.
    fn succeed(self: &Arc<Self>, generation: u32, watch: Option<Stopwatch>) {
        self.settle(PermitKind::Counted { generation }, watch, Completion::Judged(Health::Success, None));
    }

    #[inline(never)]
    fn settle_otherwise(self: &Arc<Self>, admission: Admission, watch: Option<Stopwatch>, completion: Completion) {
        match admission {
            Admission::Own(own) => self.settle(own, watch, completion),
            Admission::Counted { own, outer } => {
                // What an earlier generation of its own breaker admitted teaches nothing.
                let lasts = self.counting(own).is_some();
                self.settle(PermitKind::Counted { generation: own }, watch, completion);
                if lasts {
                    self.vote(outer, self.judge_late(watch, completion));
                }
            }
            Admission::Both(permits) => {
                let (own, outer) = *permits;
                self.settle(own, watch, completion);
                let health = self.judge_late(watch, completion);
                self.parent_link().into_iter().for_each(|parent_link| parent_link.probed_with(outer, health));
            }
        }
    }

    /// What the end of a call says of the outer node.
    fn judge_late(&self, watch: Option<Stopwatch>, completion: Completion) -> Health {
        self.judge(completion, watch.map(|watch| watch.elapsed(self.now())), false).0
    }

    #[inline(always)]
    pub(super) fn judge(
        &self,
        completion: Completion,
        elapsed: Option<Duration>,
        streams: bool,
    ) -> (Health, Option<Duration>) {
        match completion {
            Completion::Judged(health, hint) => (health, hint),
            Completion::TimedOut if self.policy().timeouts_fail => (Health::Failure, None),
            Completion::TimedOut => (Health::Neutral, None),
            // A probe cannot wait for readers who always leave early.
            Completion::BodyDropped if streams => (Health::Success, None),
            Completion::BodyDropped => (Health::Neutral, None),
            Completion::Abandoned => match (self.policy().abandoned_after, elapsed) {
                (Some(limit), Some(elapsed)) if elapsed > limit || limit.is_zero() => (Health::Failure, None),
                _ => (Health::Neutral, None),
            },
        }
    }

    /// The head of a call was good and its body follows.
    #[inline]
    pub(crate) fn head_succeeded(self: &Arc<Self>, admission: &mut Admission, watch: Option<Stopwatch>) {
        match admission {
            Admission::Own(PermitKind::Counted { .. } | PermitKind::Uncounted) | Admission::Counted { .. } => {}
            Admission::Own(permit) => self.probe_head_succeeded(permit, watch),
            Admission::Both(permits) => {
                self.probe_head_succeeded(&mut permits.0, watch);
                // A good head is enough for the outer node: its probes wait for no body.
                let outer = std::mem::replace(&mut permits.1, PermitKind::Uncounted);
                self.parent_link().into_iter().for_each(|parent_link| parent_link.probed_with(outer, Health::Success));
            }
        }
    }

    #[cold]
    fn probe_head_succeeded(self: &Arc<Self>, permit: &mut PermitKind, watch: Option<Stopwatch>) {
        let PermitKind::Probe { generation, id, streams } = permit else { return };
        *streams = true;
        let slow = self.policy().is_slow(watch.map(|watch| watch.elapsed(self.now())));
        self.settle_probe((*generation, *id), ProbeOutcome::HeadSucceeded { slow }, None);
    }

    /// Records the end of a call that holds this permit.
    #[inline(always)]
    pub(crate) fn settle(self: &Arc<Self>, permit: PermitKind, watch: Option<Stopwatch>, completion: Completion) {
        let (generation, id, streams) = match permit {
            PermitKind::Uncounted => return self.record_untaught(permit, watch, completion),
            PermitKind::Counted { generation } => return self.settle_counted(generation, watch, completion),
            PermitKind::Probe { generation, id, streams } => (generation, id, streams),
        };
        let elapsed = watch.map(|watch| watch.elapsed(self.now()));
        let (health, hint) = self.judge(completion, elapsed, streams);
        self.record_end(permit, elapsed, health, hint);
        let outcome = match health {
            Health::Success if streams => ProbeOutcome::BodySucceeded,
            Health::Success => ProbeOutcome::Success { slow: self.policy().is_slow(elapsed) },
            Health::Failure | Health::Throttled => ProbeOutcome::Failure,
            Health::Neutral => ProbeOutcome::Neutral,
        };
        self.settle_probe((generation, id), outcome, hint);
    }

    #[cold]
    fn settle_probe(self: &Arc<Self>, probe: (u32, u32), outcome: ProbeOutcome, hint: Option<Duration>) {
        let opening = self.opening(self.now().millis(), hint);
        let counts = self.change(|engine, config| {
            let counts = probe.0 == engine.generation() && !self.is_outer();
            if let (Some(failed), true) = (outcome.failed(), counts) {
                let InEra { shared, window } = self.now_in();
                window.count_apart(shared.policy.window, failed);
            }
            (counts, engine.settle_probe(config, probe, outcome, opening, &mut *self.shared.rng.lock()))
        });
        if counts && outcome.failed() == Some(true) && attempt_span::is_open() {
            attempt_span::record_breaker(self.name(), self.label());
        }
        if counts && !matches!(outcome, ProbeOutcome::HeadSucceeded { .. }) {
            self.shared.observer.probed(outcome.failed());
        }
    }

    #[inline(always)]
    fn settle_counted(self: &Arc<Self>, generation: u32, watch: Option<Stopwatch>, completion: Completion) {
        let permit = PermitKind::Counted { generation };
        let Some(packed) = self.counting(generation) else { return self.record_untaught(permit, watch, completion) };
        let InEra { shared, window } = self.in_era(packed.era());
        let policy = &shared.policy;
        let now = policy.dates_calls().then(|| self.now());
        let elapsed = now.zip(watch).map(|(now, watch)| watch.elapsed(now));
        let (health, hint) = self.judge(completion, elapsed, false);
        self.record_end(permit, elapsed, health, hint);
        let failed = match health {
            Health::Success => false,
            Health::Failure | Health::Throttled => {
                if attempt_span::is_open() {
                    attempt_span::record_breaker(self.name(), self.label());
                }
                true
            }
            Health::Neutral => return,
        };
        let outcome = Outcome { failed, slow: policy.is_slow(elapsed) };
        let run = self.count_row(packed, policy, health, now);
        let live = || self.packed().counts_as(packed);
        let counts = match window.try_record(policy.window, now, outcome, live) {
            Ok(counts) => counts,
            Err(late) => return self.settle_late(packed, generation, (outcome, late), (health, run), hint),
        };
        if counts.is_none() && run.count == 0 {
            return;
        }
        if let Some(cause) = policy.trip_cause(counts.unwrap_or_default(), run) {
            self.trip(packed.era(), generation, cause, hint);
        }
    }

    /// Counts failures in a row. Returns none if the window has been replaced meanwhile, or its generation has ended.
    #[inline(always)]
    fn count_row(&self, packed: PackedState, policy: &Policy, health: Health, now: Option<Moment>) -> Run {
        let mut run = Run::default();
        if let Some(failures) = self.consecutive_failures(policy) {
            let live = || self.packed().counts_as(packed);
            match health {
                Health::Success => failures.success(live),
                Health::Failure => {
                    let now = now.or_else(|| policy.outage.map(|_| self.now()));
                    let age = policy.age(now);
                    run = failures.failure(age, now.unwrap_or(Moment::START), live).unwrap_or_default();
                }
                Health::Throttled | Health::Neutral => {}
            }
        }
        run
    }

    /// The window has been replaced while a call was recorded in it, or its generation has ended.
    #[cold]
    #[inline(never)]
    fn settle_late(
        self: &Arc<Self>,
        mut before: PackedState,
        generation: u32,
        (outcome, mut late): (Outcome, Late),
        (health, mut run): (Health, Run),
        hint: Option<Duration>,
    ) {
        while let Some(packed) = self.counting(generation) {
            let [ended, InEra { shared, window }] = [before, packed].map(|packed| self.in_era(packed.era()));
            let (policy, ended) = (&shared.policy, (ended.window, ended.shared.policy.window));
            let (now, live) = (self.now(), || self.packed().counts_as(packed));
            if run.count == 0 {
                run = self.count_row(packed, policy, health, Some(now));
            }
            match window.record_late(policy.window, ended, now, (outcome, late), live) {
                Ok(counts) => {
                    if let Some(cause) = policy.trip_cause(counts.unwrap_or_default(), run) {
                        self.trip(packed.era(), generation, cause, hint);
                    }
                    return;
                }
                Err(later) => (before, late) = (packed, later),
            }
        }
    }

    /// What an opening depends on. Calls the user's function, so the engine must not be locked. What it is asked is
    /// still true when the engine is locked again and opens: every opening begins a new generation, and then the permit
    /// no longer counts.
    pub(in crate::breaker::core) fn opening(&self, now: u64, hint: Option<Duration>) -> Opening {
        let custom = self.policy().engine.open_for.custom_wait(|| self.lock().openings());
        Opening { now, hint, custom }
    }

    #[cold]
    fn trip(self: &Arc<Self>, era: u32, generation: u32, cause: Cause, hint: Option<Duration>) {
        let opening = self.opening(self.now().millis(), hint);
        self.change(|engine, config| {
            // Old settings open nothing: the next outcome decides by the new ones.
            let holds = self.era() == era;
            let trip = || engine.trip(config, generation, cause, opening, &mut *self.shared.rng.lock());
            ((), holds.then(trip).flatten())
        });
    }
}
