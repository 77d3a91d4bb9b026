//! The way in: whether a breaker lets a call through, and as what.

use std::sync::Arc;

use super::node::{Admission, Completion, Node};
use super::packed_state::{PackedState, Phase};
use super::state_machine::{Attempt, PermitKind, Rejection};
use crate::breaker::{Mode, State};
use crate::classify::Health;
use crate::sync::Ordering;

impl Node {
    /// Lets a call in if that needs no more than a look.
    #[inline(always)]
    pub(crate) fn counted(&self) -> Option<Admission> {
        let packed = self.packed();
        packed.is_plainly_closed().then(|| Admission::Own(PermitKind::Counted { generation: packed.generation() }))
    }

    /// Lets a call in, or not.
    pub(crate) fn acquire(self: &Arc<Self>, attempt: Attempt) -> Result<Admission, Rejection> {
        let packed = self.packed();
        if packed.is_nested() {
            return self.acquire_nested(packed, attempt);
        }
        self.acquire_alone(attempt).map(Admission::Own)
    }

    fn acquire_nested(self: &Arc<Self>, packed: PackedState, attempt: Attempt) -> Result<Admission, Rejection> {
        let Some(parent_link) = self.parent_link() else {
            // What is around others has no outcomes of its own, but can be asked by hand.
            let permit = self.acquire_alone(attempt)?;
            return Ok(Admission::Own(if matches!(permit, PermitKind::Probe { .. }) {
                permit
            } else {
                PermitKind::Uncounted
            }));
        };
        if packed.mode() == Mode::Disabled {
            return self.acquire_alone(attempt).map(Admission::Own);
        }
        let alone = !attempt.can_be_rejected_in(packed.mode());
        if !alone && !self.is_closed_nested(packed) {
            // Asked before, so that neither of the two is probed for nothing.
            if let Some(rejection) = self.rejection(attempt) {
                return Err(rejection);
            }
        }
        let own = self.acquire_alone(attempt)?;
        match parent_link.acquire(attempt, !alone) {
            Ok(None) => Ok(Admission::Own(own)),
            Ok(Some(probe)) => Ok(Admission::Both(Box::new((own, probe)))),
            Err(rejection) => {
                self.settle(own, None, Completion::Judged(Health::Neutral, None));
                Err(rejection)
            }
        }
    }

    /// Lets a call in, or not, whatever its kin would say.
    pub(crate) fn acquire_alone(self: &Arc<Self>, attempt: Attempt) -> Result<PermitKind, Rejection> {
        let packed = self.packed();
        if packed.is_closed_itself() {
            return Ok(PermitKind::Counted { generation: packed.generation() });
        }
        self.acquire_seldom(packed, attempt)
    }

    /// The same for a call that is let in by another breaker whatever this one says: counts no refusal.
    #[cold]
    pub(crate) fn acquire_if_room(self: &Arc<Self>, attempt: Attempt) -> Result<PermitKind, Rejection> {
        let now = self.now().millis();
        self.change(|engine, config| engine.acquire(config, attempt, now))
    }

    #[cold]
    fn acquire_seldom(self: &Arc<Self>, packed: PackedState, attempt: Attempt) -> Result<PermitKind, Rejection> {
        match (packed.mode(), packed.phase(), attempt) {
            (Mode::Disabled, _, _) => return Ok(PermitKind::Uncounted),
            (Mode::ObserveOnly | Mode::RejectRetriesOnly, Phase::Live(State::Closed), _) => {
                return Ok(PermitKind::Counted { generation: packed.generation() });
            }
            (Mode::Automatic, Phase::Live(State::Open), _)
            | (Mode::RejectRetriesOnly, Phase::Live(State::Open), Attempt::Retry) => {
                self.reject_by_packed_state(packed)?
            }
            _ => {}
        }
        let now = self.now().millis();
        let result = self.change(|engine, config| engine.acquire(config, attempt, now));
        if result.is_err() {
            self.count_rejection();
        }
        result
    }

    /// Refuses without the lock while the word alone tells that it is too early.
    fn reject_by_packed_state(&self, packed: PackedState) -> Result<(), Rejection> {
        let now = self.now().millis();
        match packed.until() {
            Some(until) if now < until => {
                self.count_rejection();
                Err(Rejection { state: State::Open, wait: Some(until - now), by_outer: false })
            }
            _ => Ok(()),
        }
    }

    /// Whether a call that came now would be refused; counts as a refusal.
    #[inline]
    pub(crate) fn rejection(&self, attempt: Attempt) -> Option<Rejection> {
        let packed = self.packed();
        if packed.is_plainly_closed() {
            return None;
        }
        if packed.is_nested() { self.rejection_nested(packed, attempt) } else { self.rejection_seldom(packed, attempt) }
    }

    #[inline(never)]
    fn rejection_nested(&self, packed: PackedState, attempt: Attempt) -> Option<Rejection> {
        let own = if packed.is_closed_itself() { None } else { self.rejection_seldom(packed, attempt) };
        // What refuses nothing itself is not refused by what is around it either.
        if !attempt.can_be_rejected_in(packed.mode()) {
            return own;
        }
        own.or_else(|| self.parent_link()?.rejection(attempt))
    }

    /// Whether a call that came now would be refused, whatever its kin would say; counts as a refusal.
    pub(crate) fn rejection_alone(&self, attempt: Attempt) -> Option<Rejection> {
        let packed = self.packed();
        if packed.is_closed_itself() { None } else { self.rejection_seldom(packed, attempt) }
    }

    pub(crate) fn count_rejection(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes back one that no caller has heard of. A reset may have taken it back before.
    pub(crate) fn uncount_rejection(&self, by_outer: bool) {
        let node = self.outer().filter(|_| by_outer).map_or(self, |outer| outer);
        let one_less = |rejected: u64| rejected.checked_sub(1);
        let _ = node.rejected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }

    #[cold]
    fn rejection_seldom(&self, packed: PackedState, attempt: Attempt) -> Option<Rejection> {
        match (packed.mode(), packed.phase(), attempt) {
            (Mode::Disabled | Mode::ObserveOnly, _, _)
            | (Mode::RejectRetriesOnly, _, Attempt::First)
            | (Mode::RejectRetriesOnly, Phase::Live(State::Closed), Attempt::Retry) => return None,
            (Mode::ForcedOpen, _, _) => {
                self.count_rejection();
                return Some(Rejection::FORCED);
            }
            (Mode::Automatic, Phase::Live(State::Open), _)
            | (Mode::RejectRetriesOnly, Phase::Live(State::Open), Attempt::Retry) => {
                if let Err(rejection) = self.reject_by_packed_state(packed) {
                    return Some(rejection);
                }
            }
            _ => {}
        }
        let now = self.now().millis();
        let rejection = self.lock().would_reject(&self.shared.policy.engine, attempt, now);
        if rejection.is_some() {
            self.count_rejection();
        }
        rejection
    }
}
