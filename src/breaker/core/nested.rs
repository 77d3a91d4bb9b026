//! What outer and inner nodes ask each other.
//!
//! The outer node keeps no running count of open children, so that a reset, a forced mode or an eviction cannot leave
//! one wrong. It looks at its children when one of them opens, but no more often than the share can have been reached.

use std::sync::{Arc, Weak};

use super::nesting::{Children, NEVER, ParentLink, Taken};
use super::node::{Admission, IDLE, NEUTRAL, Node};
use super::packed_state::{PackedState, Phase};
use super::policy::Share;
use super::state_machine::{Attempt, Opening, PermitKind, Rejection};
use super::window::{Counts, WindowConfig};
use crate::breaker::{Cause, Mode, State};
use crate::classify::Health;
use crate::clock::millis_up;
use crate::sync::{Ordering, lock};

/// How a child counts for its outer node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No recent calls.
    Idle,
    Closed,
    Open,
}

/// The right to ask for a probe slot: no other child has to go first.
struct Turn {
    /// The value of [`ParentLink::taken`] when the turn was found, so that only one of several calls at once takes a
    /// slot.
    before: u64,
    cycle: u64,
}

/// One bad tenant never shuts a host.
const FEWEST_OPEN: u64 = 2;
/// Children fall idle without an opening that would show it.
const LOOK_EVERY_MILLIS: u64 = 1_000;
/// Fewer children are checked on every opening.
const MANY: u64 = 64;

impl Node {
    /// Milliseconds for which children whose probe has not failed go first. `awaited` returns whether one of them found
    /// no slot in a generation.
    pub(crate) fn turn_ends(&self, awaited: impl Fn(u32) -> bool) -> Option<(State, u64)> {
        let engine = self.lock();
        let turn = engine.turn_ends(&self.shared.policy.engine, awaited(engine.generation()))?;
        Some((engine.state(), turn.saturating_sub(self.now().millis())))
    }

    /// How this child counts for its outer node, in this generation of the outer one.
    pub(crate) fn standing(&self, generation: u32) -> Standing {
        let engine = self.lock();
        let (policy, now) = (&self.shared.policy, self.now());
        let long = match policy.window {
            WindowConfig::Count { .. } => millis_up(IDLE),
            WindowConfig::Time { shape, bucket_nanos, .. } => u64::from(shape.buckets) * (bucket_nanos / 1_000_000),
        };
        // A change comes with a call, and an open child that is still called is due again. A forced or disabled child
        // counts no calls.
        let news = engine.open_until().or(engine.changed_by_calls_at());
        let lately = news.is_some_and(|news| now.millis() <= news.saturating_add(long))
            || !self.window.is_idle(policy.window, now, IDLE);
        if !lately {
            return Standing::Idle;
        }
        let is_news = self.parent_link().is_some_and(|parent_link| parent_link.has_opened_in(generation));
        Standing::of_tripped(engine.state(), is_news)
    }

    #[cold]
    pub(super) fn inner_opened(self: &Arc<Self>) {
        let packed = self.packed().kept();
        let (Some(share), Some(children)) = (self.shared.policy.share, self.children()) else { return };
        if packed.phase() != Phase::Live(State::Closed) || packed.mode() == Mode::Disabled {
            return;
        }
        let now = self.now().millis();
        let Some(counts) = children.opened(share, packed.generation(), now) else { return };
        let opening = Opening { now, hint: None };
        self.change_by(Some(counts), |engine, config| {
            ((), engine.trip(config, packed.generation(), Cause::PartitionsOpen, opening, &mut *self.shared.rng()))
        });
    }
}

impl Children<Node> {
    /// A child has opened, as its packed state shows already. Returns the counts of children if the share is reached.
    pub(crate) fn opened(&self, share: Share, generation: u32, now: u64) -> Option<Counts> {
        let mut members = lock(&self.members);
        if members.spare > 0 && now < members.looked_at.saturating_add(LOOK_EVERY_MILLIS) {
            members.spare -= 1;
            return None;
        }
        let mut counts = Counts::default();
        for node in members.nodes.iter().filter_map(Weak::upgrade) {
            match node.standing(generation) {
                Standing::Idle => {}
                Standing::Closed => counts.calls += 1,
                Standing::Open => {
                    counts.calls += 1;
                    counts.failures += 1;
                }
            }
        }
        let enough = counts.calls >= share.minimum.into();
        if enough && counts.failures >= FEWEST_OPEN && counts.failure_rate() >= share.share {
            members.spare = 0;
            // A failed probe of an earlier outage holds no child back in this one.
            self.cycle.fetch_add(1, Ordering::Relaxed);
            return Some(counts);
        }
        // Checking again halfway to the share is early enough; the opening that reaches it is always checked.
        let needed = ((counts.calls as f64 * share.share).floor() as u64).max(FEWEST_OPEN);
        let missing = needed.saturating_sub(counts.failures);
        members.spare = if enough && counts.calls >= MANY { missing.div_ceil(2).saturating_sub(1) } else { 0 };
        members.looked_at = now;
        None
    }
}

impl Node {
    /// What the packed states of this node and of its outer one answer. `None` if an engine must be asked.
    pub(super) fn nested_answer(
        &self,
        packed: PackedState,
        attempt: impl FnOnce() -> Attempt,
    ) -> Option<Result<Admission, Rejection>> {
        let around = self.outer().map(|outer| (outer, outer.packed()));
        if let Some((_, outer)) = around.filter(|(_, outer)| packed.is_closed_itself() && outer.is_closed_itself()) {
            return Some(Ok(Admission::Counted { own: packed.generation(), outer: outer.generation() }));
        }
        let spares = |packed: PackedState| packed.mode() == Mode::RejectRetriesOnly;
        let is_asked = spares(packed) || around.is_some_and(|(_, packed)| spares(packed));
        let attempt = if is_asked { attempt() } else { Attempt::First };
        let own = self.answer(packed, attempt);
        let Some((outer, outer_packed)) = around else {
            // An outer node has no outcomes of its own, but a permit of it can be acquired through the handle.
            let own = own.map(|own| own.map(|_| Admission::Own(PermitKind::Uncounted)));
            return own.map(|own| own.map_err(|rejection| self.counted(rejection)));
        };
        if packed.mode() == Mode::Disabled || matches!(own, Some(Err(_))) {
            return own.map(|own| own.map(Admission::Own).map_err(|rejection| self.counted(rejection)));
        }
        match outer.answer(outer_packed, attempt) {
            Some(Ok(outer)) => own.map(|own| own.map(|own| Admission::nested(own, outer))),
            // A node whose mode rejects nothing is not rejected by the one around it either.
            Some(Err(rejection)) if attempt.can_be_rejected_in(packed.mode()) => {
                Some(Err(self.counted(Rejection { by_outer: true, ..rejection })))
            }
            Some(Err(_)) => own.map(|own| own.map(Admission::Own)),
            None => None,
        }
    }

    /// Asks this node and its outer one. Neither keeps a slot if the other rejects.
    pub(super) fn admit_nested(
        self: &Arc<Self>,
        parent_link: &ParentLink<Self>,
        attempt: Attempt,
    ) -> Result<Admission, Rejection> {
        let mode = self.mode();
        if mode == Mode::Disabled {
            return self.ask(attempt).map(Admission::Own);
        }
        let strictly = attempt.can_be_rejected_in(mode);
        if strictly {
            // Before either takes a slot, so that neither is probed for nothing.
            self.would_reject(attempt)?;
            parent_link.would_reject(attempt)?;
        }
        let own = self.ask(attempt)?;
        match parent_link.ask(attempt, strictly) {
            Ok(outer) => Ok(Admission::nested(own, outer)),
            Err(rejection) => {
                self.release(Admission::Own(own));
                Err(rejection)
            }
        }
    }

    fn would_reject(&self, attempt: Attempt) -> Result<(), Rejection> {
        let now = self.now().millis();
        self.lock().would_reject(&self.shared.policy.engine, attempt, now).map_or(Ok(()), Err)
    }
}

impl ParentLink<Node> {
    fn would_reject(&self, attempt: Attempt) -> Result<(), Rejection> {
        let Some(children) = self.outer().children() else { return Ok(()) };
        if let Err(rejection) = self.outer().would_reject(attempt) {
            if rejection.state == State::HalfOpen && !self.taken().is_in(children.cycle()) {
                children.awaited_in.store(self.outer().generation().into(), Ordering::Relaxed);
            }
            return Err(Rejection { by_outer: true, ..rejection });
        }
        if attempt.can_be_rejected_in(self.outer().mode()) {
            self.turn(children).map_err(rejected)?;
        }
        Ok(())
    }

    /// Asks the outer node. Returns an error only if `strictly`.
    fn ask(&self, attempt: Attempt, strictly: bool) -> Result<PermitKind, Rejection> {
        let Some(children) = self.outer().children() else { return Ok(PermitKind::Uncounted) };
        let strictly = strictly && attempt.can_be_rejected_in(self.outer().mode());
        let turn = match self.turn(children) {
            Ok(turn) => turn,
            Err(_) if !strictly => return Ok(PermitKind::Uncounted),
            Err(wait) => return Err(rejected(wait)),
        };
        let (generation, id, permit) = match self.outer().ask(attempt) {
            Ok(permit @ PermitKind::Probe { generation, id, .. }) => (generation, id, permit),
            Ok(permit) => return Ok(permit),
            Err(rejection) if strictly => return Err(Rejection { by_outer: true, ..rejection }),
            Err(_) => return Ok(PermitKind::Uncounted),
        };
        let taken = Taken::new(turn.cycle, generation, id);
        if self.taken.compare_exchange(turn.before, taken.0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // Another call of the same child came at the same time and was faster.
            self.outer().settle(permit, None, NEUTRAL);
            return self.ask(attempt, strictly);
        }
        children.awaited_in.store(NEVER, Ordering::Relaxed);
        Ok(permit)
    }

    /// Ends a probe of the outer node. After a probe without success, children that came meanwhile go first.
    pub(crate) fn ended(&self, probe: PermitKind, health: Health) {
        let (PermitKind::Probe { generation, id, .. }, Some(children)) = (probe, self.outer().children()) else {
            return;
        };
        let goes_on = match health {
            Health::Success => true,
            Health::Neutral => !children.is_awaited_in(generation),
            Health::Failure | Health::Throttled => false,
        };
        let taken = self.taken();
        if goes_on && taken.is_of(generation, id) {
            let _ = self.taken.compare_exchange(taken.0, NEVER, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Returns the turn of this child, or the milliseconds to wait. A child whose probe failed or outlived its lease
    /// waits one lease before probing again, so one noisy tenant cannot starve the others.
    fn turn(&self, children: &Children<Node>) -> Result<Turn, (State, u64)> {
        let (taken, cycle) = (self.taken(), children.cycle());
        let turn = Turn { before: taken.0, cycle };
        if !taken.is_in(cycle) {
            return Ok(turn);
        }
        let Some((state, wait)) = self.outer().turn_ends(|generation| children.is_awaited_in(generation)) else {
            return Ok(turn);
        };
        if wait > 0 {
            return Err((state, wait));
        }
        // No other child has come: all may probe again.
        let next = cycle.wrapping_add(1);
        let _ = children.cycle.compare_exchange(cycle, next, Ordering::Relaxed, Ordering::Relaxed);
        Ok(Turn { cycle: next, ..turn })
    }
}

fn rejected((state, wait): (State, u64)) -> Rejection {
    Rejection { state, wait: Some(wait), by_outer: true }
}

impl Standing {
    pub(crate) fn of_tripped(state: State, is_news: bool) -> Self {
        match state {
            State::Closed => Self::Closed,
            State::Open | State::HalfOpen if is_news => Self::Open,
            State::Open | State::HalfOpen => Self::Closed,
        }
    }
}
