//! Admission: whether a breaker admits a call, and with which kind of permit.

use std::sync::Arc;

use super::node::{Admission, Completion, Node};
use super::packed_state::{PackedState, Phase};
use super::state_machine::{Attempt, PermitKind, Rejection};
use crate::breaker::{Mode, State};
use crate::classify::Health;
use crate::sync::Ordering;

impl Node {
    /// Fast path: admits the call if one load shows a plainly closed breaker.
    #[inline(always)]
    pub(crate) fn counted(&self) -> Option<Admission> {
        let packed = self.packed();
        packed.is_plainly_closed().then(|| Admission::Own(PermitKind::Counted { generation: packed.generation() }))
    }

    /// Admits or rejects a call, by this node and by the one around it.
    pub(crate) fn acquire(self: &Arc<Self>, attempt: Attempt) -> Result<Admission, Rejection> {
        let packed = self.packed();
        if packed.is_nested() {
            return self.acquire_nested(packed, attempt);
        }
        self.acquire_alone(attempt).map(Admission::Own)
    }

    fn acquire_nested(self: &Arc<Self>, packed: PackedState, attempt: Attempt) -> Result<Admission, Rejection> {
        let Some(parent_link) = self.parent_link() else {
            // An outer node has no outcomes of its own, but a permit of it can be acquired through the handle.
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
            // Asked before either takes a probe, so that neither is probed for nothing.
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

    /// Admits or rejects a call, whatever the nodes around or inside this one would do.
    pub(crate) fn acquire_alone(self: &Arc<Self>, attempt: Attempt) -> Result<PermitKind, Rejection> {
        let packed = self.packed();
        if packed.is_closed_itself() {
            return Ok(PermitKind::Counted { generation: packed.generation() });
        }
        self.acquire_seldom(packed, attempt)
    }

    /// Like [`acquire_alone`](Self::acquire_alone), for a call that another node admits anyway: counts no rejection.
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

    /// Rejects without the lock if the packed state alone shows that the open time is not over.
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

    /// Returns the rejection that a call would get now, if any, and counts it.
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
        // A node whose mode rejects nothing is not rejected by the one around it either.
        if !attempt.can_be_rejected_in(packed.mode()) {
            return own;
        }
        own.or_else(|| self.parent_link()?.rejection(attempt))
    }

    /// Returns the rejection that this node alone would give a call now, if any, and counts it.
    pub(crate) fn rejection_alone(&self, attempt: Attempt) -> Option<Rejection> {
        let packed = self.packed();
        if packed.is_closed_itself() { None } else { self.rejection_seldom(packed, attempt) }
    }

    pub(crate) fn count_rejection(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes back a rejection that no caller has seen. A reset may have cleared the count before.
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
