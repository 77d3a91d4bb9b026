//! Nested partitions: what an inner node and its outer one ask each other. A plain node knows nothing of this.
//!
//! The outer node, say of a host, is an ordinary breaker whose window takes votes of the inner ones, its tenants: see
//! [`votes`]. The rules are those of nested partitions in the docs of [`breaker`](crate::breaker).
//!
//! *Why votes:* a share of calls would let one busy tenant speak for a host. *Why a row beside the share:* a dead host
//! with a thousand quiet tenants would have to fail five hundred of them first. *Why a share waits:* partitions with
//! many calls vote first, so early votes are not those of all. *Why a half-open host asks each tenant once:* bad
//! tenants that call often come first, and must not decide for the others.

pub(super) mod nesting;
pub(crate) mod votes;

use std::sync::Arc;

use self::nesting::{ParentLink, Probed};
use self::votes::{ROW, VoteConfig};
use super::node::{Admission, Completion, InEra, NEUTRAL, Node};
use super::packed_state::{PackedState, Phase};
use super::state_machine::{Attempt, Due, PermitKind, Rejection};
use super::window::Counts;
use crate::breaker::{Cause, Mode, State};
use crate::classify::Health;
use crate::clock::Moment;

/// The right to ask for a probe slot of the outer node.
#[derive(Clone, Copy)]
struct Turn {
    generation: u32,
    /// When the outer node was due.
    since: u64,
    /// What the partition had done as a probe.
    before: Probed,
}

impl Node {
    /// What the packed states of this node and of its outer one answer. `None` if an engine must be asked.
    pub(crate) fn nested_answer(
        &self,
        packed: PackedState,
        attempt: impl FnOnce() -> Attempt,
    ) -> Option<Result<Admission, Rejection>> {
        let Some(parent_link) = self.parent_link() else {
            // An outer node has no outcomes of its own, but a permit of it can be acquired through the handle.
            let answer = self.answer(packed, if spares(packed) { attempt() } else { Attempt::First })?;
            let answer = answer.map(|_| Admission::Own(PermitKind::Uncounted));
            return Some(answer.map_err(|rejection| self.counted(rejection)));
        };
        let outer = parent_link.outer().packed();
        if packed.is_closed_itself() && outer.is_closed_itself() {
            return Some(Ok(Admission::Counted { own: packed.generation(), outer: outer.generation() }));
        }
        let attempt = if spares(packed) || spares(outer) { attempt() } else { Attempt::First };
        let own = self.answer(packed, attempt);
        if packed.mode() == Mode::Disabled || matches!(own, Some(Err(_))) {
            return own.map(|own| own.map(Admission::Own).map_err(|rejection| self.counted(rejection)));
        }
        match parent_link.outer().answer(outer, attempt)? {
            Ok(outer) => own.map(|own| own.map(|own| Admission::nested(own, outer))),
            // A node whose mode rejects nothing is not rejected by the one around it either.
            Err(rejection) if attempt.can_be_rejected_in(packed.mode()) => {
                Some(Err(self.counted(Rejection { by_outer: true, ..rejection })))
            }
            Err(_) => own.map(|own| own.map(Admission::Own)),
        }
    }

    /// Asks this node and its outer one. Neither keeps a slot if the other rejects.
    pub(crate) fn admit_nested(
        self: &Arc<Self>,
        parent_link: &ParentLink<Self>,
        attempt: Attempt,
    ) -> Result<Admission, Rejection> {
        let packed = self.packed();
        if packed.mode() == Mode::Disabled {
            return self.ask(attempt).map(Admission::Own);
        }
        let strictly = attempt.can_be_rejected_in(packed.mode());
        let is_closed = packed.phase() == Phase::Live(State::Closed);
        if strictly {
            // Before either takes a slot, so that neither is probed for nothing.
            self.would_reject(attempt)?;
            parent_link.would_reject(is_closed, attempt)?;
        }
        let own = self.ask(attempt)?;
        match parent_link.ask(is_closed, attempt, strictly) {
            Ok(outer) => Ok(Admission::nested(own, outer)),
            Err(rejection) => {
                self.release(Admission::Own(own));
                Err(rejection)
            }
        }
    }

    fn would_reject(&self, attempt: Attempt) -> Result<(), Rejection> {
        let now = self.now().millis();
        self.lock().would_reject(&self.policy().engine, attempt, now).map_or(Ok(()), Err)
    }

    /// A call that both breakers counted has ended, and its own one has recorded it.
    pub(crate) fn vote(&self, generation: u32, health: Health) {
        let (Some(parent_link), Some(config)) = (self.parent_link(), self.policy().votes) else { return };
        let ParentLink { electorate, vote, .. } = parent_link;
        let failed = match health {
            Health::Success => false,
            Health::Failure | Health::Throttled => true,
            Health::Neutral => return,
        };
        let live = || parent_link.outer().packed().counts(generation);
        let now = self.now();
        let tick = config.tick(now);
        let opened = self.packed().phase() == Phase::Live(State::Open);
        // A success turns no good vote.
        let bad = opened || ((failed || vote.is_bad(generation)) && self.is_bad(config, now));
        vote.cast(&electorate.votes, generation, tick, bad, live);
        let row =
            if failed { vote.fails(&electorate.votes, now, live) } else { vote.succeeds(&electorate.votes, live) };
        if (failed && bad) || opened || row >= ROW {
            // Many that call often can fail together before the others come.
            let row = if electorate.votes.row_is_long(config, now) { row } else { 0 };
            if let Some(counts) = electorate.votes.verdict(config, generation, tick, row) {
                parent_link.outer().open_by_votes(generation, counts);
            }
        }
    }

    /// Whether the calls of this node speak against the upstream, however few they are.
    pub(in crate::breaker) fn is_bad(&self, config: VoteConfig, now: Moment) -> bool {
        let before = self.packed();
        if before.phase() != Phase::Live(State::Closed) {
            return before.phase() == Phase::Live(State::Open);
        }
        let InEra { shared, window } = self.in_era(before.era());
        let counts = window.counts(shared.policy.window, now);
        let is_bad = counts.failures >= config.failures && counts.failure_rate() >= shared.policy.failure_rate;
        // A window that is being emptied or replaced shows no rate, and was emptied if these calls have opened the node.
        let after = self.packed();
        after.phase() == Phase::Live(State::Open) || (is_bad && after.counts_as(before))
    }

    #[cold]
    fn open_by_votes(self: &Arc<Self>, generation: u32, counts: Counts) {
        let now = self.now().millis();
        let opening = self.opening(now, None);
        self.change_by(Some(counts), |engine, config| {
            ((), engine.trip(config, generation, Cause::PartitionsOpen, opening, &mut *self.shared.rng.lock()))
        });
    }

    /// The generation, the state, and since when this node has been due to be probed, if it is.
    fn due(&self) -> Option<(u32, State, Due)> {
        let engine = self.lock();
        Some((engine.generation(), engine.state(), engine.due()?))
    }
}

impl ParentLink<Node> {
    /// Returns the rejection that the outer node would give now.
    fn would_reject(&self, is_closed: bool, attempt: Attempt) -> Result<(), Rejection> {
        let outer = self.outer();
        let by_outer = |rejection| Rejection { by_outer: true, ..rejection };
        let mut turn = None;
        if attempt.can_be_rejected_in(outer.mode()) {
            turn = self.turn(is_closed).map_err(by_outer)?;
        }
        let rejection = outer.would_reject(attempt);
        if rejection.is_err() {
            self.find_no_slot(is_closed, turn);
        }
        rejection.map_err(by_outer)
    }

    /// Asks the outer node. Returns an error only if `strictly`.
    fn ask(&self, is_closed: bool, attempt: Attempt, strictly: bool) -> Result<PermitKind, Rejection> {
        let outer = self.outer();
        let strictly = strictly && attempt.can_be_rejected_in(outer.mode());
        let answer = self.turn(is_closed).and_then(|turn| {
            let permit = outer.ask(attempt).inspect_err(|_| self.find_no_slot(is_closed, turn))?;
            if let (PermitKind::Probe { generation, .. }, Some(turn)) = (permit, turn) {
                if !self.take(is_closed, generation, turn) {
                    // Another call of the same partition came at the same time and was faster.
                    outer.settle(permit, None, NEUTRAL);
                    return self.ask(is_closed, attempt, strictly);
                }
            }
            Ok(permit)
        });
        match answer {
            Err(rejection) if strictly => Err(Rejection { by_outer: true, ..rejection }),
            Err(_) => Ok(PermitKind::Uncounted),
            permit => permit,
        }
    }

    /// The right to ask the outer node for a probe slot; `None` if it is not tripped. Each partition whose own breaker
    /// is closed may once, and again if it succeeded. The others wait until no newcomer has come for a while.
    fn turn(&self, is_closed: bool) -> Result<Option<Turn>, Rejection> {
        let Some((generation, state, due)) = self.outer().due() else { return Ok(None) };
        let mut probing = self.electorate.probing(generation, due.since);
        let turn = Turn { generation, since: probing.since, before: self.probed(generation) };
        let now = self.outer().now().millis();
        match turn.before {
            Probed::Never if is_closed => {
                probing.newcomer_at = now;
                return Ok(Some(turn));
            }
            Probed::Good if is_closed => return Ok(Some(turn)),
            Probed::Never | Probed::Unknown | Probed::Good | Probed::Bad => {}
        }
        let patience = self.outer().policy().votes.map_or(0, |config| config.patience(due));
        let until = probing.since.max(probing.newcomer_at).saturating_add(patience);
        match until.checked_sub(now) {
            None | Some(0) => Ok(Some(turn)),
            wait => {
                let state = if due.since <= now { State::HalfOpen } else { state };
                Err(Rejection { state, wait, by_outer: true })
            }
        }
    }

    /// A newcomer found all slots taken: there must be time for it to come again.
    fn find_no_slot(&self, is_closed: bool, turn: Option<Turn>) {
        if let Some(turn) = turn.filter(|turn| turn.before == Probed::Never && is_closed) {
            self.electorate.probing(turn.generation, turn.since).crowded_at = self.outer().now().millis();
        }
    }

    /// Marks the slot of a probe as taken. Returns false if another call has done so since the turn was found.
    fn take(&self, is_closed: bool, generation: u32, Turn { since, before, .. }: Turn) -> bool {
        let mut probing = self.electorate.probing(generation, since);
        let now = self.probed(generation);
        if now == Probed::Unknown && before == Probed::Never && is_closed {
            return false;
        }
        if now == Probed::Never {
            self.set_probed(generation, Probed::Unknown);
            if is_closed {
                probing.newcomer_at = self.outer().now().millis();
            }
        }
        true
    }

    /// Ends a probe of the outer node. Successes of different partitions close it. It opens again once a share of the
    /// partitions has failed, and there was time for the others to come; or if many have and none has succeeded.
    pub(crate) fn probed_with(&self, permit: PermitKind, health: Health) {
        let health = match permit {
            PermitKind::Probe { generation, .. } => self.judge(generation, health),
            PermitKind::Counted { .. } | PermitKind::Uncounted => return,
        };
        // The server's hint applies to the inner node only.
        self.outer().settle(permit, None, Completion::Judged(health, None));
    }

    /// What a probe says of the outer node.
    fn judge(&self, generation: u32, health: Health) -> Health {
        let Some((current, _, due)) = self.outer().due() else { return Health::Neutral };
        let Some(config) = self.outer().policy().votes else { return health };
        if current != generation {
            return Health::Neutral;
        }
        let mut probing = self.electorate.probing(generation, due.since);
        if probing.generation != generation {
            return Health::Neutral;
        }
        let before = self.probed(generation);
        let (after, good, bad) = match health {
            Health::Success => (Probed::Good, 1, 0),
            Health::Failure | Health::Throttled => (Probed::Bad, 0, 1),
            Health::Neutral => return Health::Neutral,
        };
        self.set_probed(generation, after);
        probing.good = probing.good + good - u64::from(before == Probed::Good);
        probing.bad = probing.bad + bad - u64::from(before == Probed::Bad);
        let (now, patience) = (self.outer().now().millis(), config.patience(due));
        // Late for the others only if each of them has found a slot.
        let is_late = now >= due.since.max(probing.crowded_at).saturating_add(patience);
        let is_long = now >= due.since.saturating_add(patience / 16);
        let share = probing.bad as f64 / (probing.good + probing.bad) as f64;
        let decides = match after {
            // Another partition, not the same again.
            Probed::Good => matches!(before, Probed::Never | Probed::Unknown) || is_late,
            _ => (is_late && share >= config.share) || (is_long && probing.good == 0 && probing.bad >= ROW),
        };
        if decides { health } else { Health::Neutral }
    }
}

fn spares(packed: PackedState) -> bool {
    packed.mode() == Mode::RejectRetriesOnly
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::breaker::Window;
    use crate::breaker::config::Config;
    use crate::breaker::core::node::Shared;
    use crate::breaker::observe::layer_observer::LayerObserver;
    use crate::clock::Clock;
    use crate::settings::invalid_setting::valid;

    const SECOND: Duration = Duration::from_secs(1);

    /// A half-open host, one of its tenants, and the admission of that tenant as its probe.
    async fn probing() -> (Arc<Node>, Arc<Node>, Admission) {
        let mut config = Config::default();
        valid(config.set_window(Window::count(1)));
        valid(config.set_open_for(SECOND.into()));
        valid(config.set_success_threshold(1));
        valid(config.set_share(1.0));
        let clock = Clock::start();
        let shared = |policy| Shared::new(policy, true, clock.clone(), Arc::new(LayerObserver::default()), None);
        let host = Arc::new(Node::new_outer(shared(config.outer_policy()), "(host)".into()));
        let tenant = Arc::new(Node::nested_in(host.clone(), shared(config.policy()), "(tenant)".into()));
        host.open_by_votes(host.packed().generation(), Counts::default());
        tokio::time::advance(SECOND).await;
        let Ok(probe) = tenant.admit(Attempt::First) else { unreachable!("the host is due") };
        assert_eq!(host.state(), State::HalfOpen);
        (host, tenant, probe)
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_stalls_until_a_later_period_counts_nothing() {
        for is_late in [false, true] {
            let (host, tenant, probe) = probing().await;
            let Some(ParentLink { electorate, .. }) = tenant.parent_link() else { unreachable!("is nested") };
            // As if this thread had read the generation of the host before it changed.
            let generation = host.packed().generation() + u32::from(is_late);
            drop(electorate.probing(generation, 0));
            tenant.settle_admission(probe, None, Completion::Judged(Health::Success, None));
            let good = electorate.probing(generation, 0).good;
            let expected = if is_late { (0, State::HalfOpen) } else { (1, State::Closed) };
            assert_eq!((good, host.state()), expected);
        }
    }
}
