//! Admission: whether a breaker admits a call, and with which permit.

use std::sync::Arc;

use super::{Admission, Node};
use crate::breaker::core::packed_state::{PackedState, Phase};
use crate::breaker::core::state_machine::{Attempt, PermitKind, Rejection};
use crate::breaker::{Mode, State};
use crate::sync::Ordering;

impl Node {
    /// Admits or rejects a call.
    #[inline]
    pub(crate) fn admit(self: &Arc<Self>, attempt: Attempt) -> Result<Admission, Rejection> {
        match self.admit_if_closed() {
            Ok(admission) => Ok(admission),
            Err(packed) => self.admit_by(packed, || attempt).unwrap_or_else(|| self.admit_by_engine(attempt)),
        }
    }

    /// Fast path: admits the call if one load shows a plainly closed breaker. Returns what it has read otherwise.
    #[inline(always)]
    pub(crate) fn admit_if_closed(&self) -> Result<Admission, PackedState> {
        let packed = self.packed();
        if !packed.is_plainly_closed() {
            return Err(packed);
        }
        Ok(Admission::Own(PermitKind::Counted { generation: packed.generation() }))
    }

    /// Admits or rejects a call by the packed state alone. Returns `None` if the engine must be asked, because the call
    /// may be a probe. Calls `attempt` only if a mode treats retries differently.
    #[inline(never)]
    pub(crate) fn admit_by(
        &self,
        packed: PackedState,
        attempt: impl FnOnce() -> Attempt,
    ) -> Option<Result<Admission, Rejection>> {
        if packed.is_nested() {
            return self.nested_answer(packed, attempt);
        }
        let attempt = if packed.mode() == Mode::RejectRetriesOnly { attempt() } else { Attempt::First };
        match self.answer(packed, attempt)? {
            Ok(permit) => Some(Ok(Admission::Own(permit))),
            Err(rejection) => Some(Err(self.counted(rejection))),
        }
    }

    #[cold]
    fn admit_by_engine(self: &Arc<Self>, attempt: Attempt) -> Result<Admission, Rejection> {
        let admission = match self.parent_link() {
            Some(parent_link) => self.admit_nested(parent_link, attempt),
            None => self.ask(attempt).map(Admission::Own),
        };
        admission.map_err(|rejection| self.counted(rejection))
    }

    /// Keeps the admission of a call that has waited, or asks anew if the state that issued it has ended.
    pub(crate) fn readmit(self: &Arc<Self>, admission: Admission, attempt: Attempt) -> Result<Admission, Rejection> {
        let (own, outer) = admission.permits();
        if self.upholds(own, attempt) && self.outer().is_none_or(|node| node.upholds(outer, attempt)) {
            return Ok(admission);
        }
        self.release(admission);
        self.admit(attempt)
    }

    /// Whether the state that issued a permit lasts. An uncounted call lasts as long as the mode rejects no such call.
    fn upholds(&self, permit: PermitKind, attempt: Attempt) -> bool {
        match permit {
            PermitKind::Uncounted => !attempt.can_be_rejected_in(self.mode()),
            PermitKind::Counted { generation } | PermitKind::Probe { generation, .. } => {
                self.packed().upholds(generation)
            }
        }
    }

    /// What the packed state of this node alone answers. `None` if the engine must be asked.
    #[inline(always)]
    pub(crate) fn answer(&self, packed: PackedState, attempt: Attempt) -> Option<Result<PermitKind, Rejection>> {
        match (packed.mode(), packed.phase()) {
            // The window is being emptied, under the lock.
            (_, Phase::Undecided) => None,
            (Mode::Disabled, _) => Some(Ok(PermitKind::Uncounted)),
            (Mode::ForcedOpen, _) => Some(Err(Rejection::FORCED)),
            (_, Phase::Live(State::Closed)) => Some(Ok(PermitKind::Counted { generation: packed.generation() })),
            (mode, Phase::Live(State::Open)) if attempt.can_be_rejected_in(mode) => {
                let wait = packed.until()?.checked_sub(self.now().millis()).filter(|wait| *wait > 0)?;
                Some(Err(Rejection { state: State::Open, wait: Some(wait), by_outer: false }))
            }
            (_, Phase::Live(State::Open | State::HalfOpen)) => None,
        }
    }

    /// What the engine of this node alone answers.
    pub(crate) fn ask(self: &Arc<Self>, attempt: Attempt) -> Result<PermitKind, Rejection> {
        let now = self.now().millis();
        self.change(|engine, config| engine.acquire(config, attempt, now))
    }

    pub(crate) fn counted(&self, rejection: Rejection) -> Rejection {
        let node = self.outer().filter(|_| rejection.by_outer).map_or(self, |outer| outer);
        node.rejected.fetch_add(1, Ordering::Relaxed);
        self.record_rejection(&rejection);
        rejection
    }
}
