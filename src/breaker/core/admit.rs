//! The way in: whether a breaker lets a call through, and as what.

use std::sync::Arc;

use super::node::{Cell, Ending, Held};
use super::packed_state::{Phase, Word};
use super::state_machine::{Attempt, Grant, Refusal};
use crate::breaker::{Mode, State};
use crate::classify::Health;
use crate::sync::Ordering;

impl Cell {
    /// Lets a call in if that needs no more than a look.
    #[inline(always)]
    pub(crate) fn counted(&self) -> Option<Held> {
        let word = self.word();
        word.is_plainly_closed().then(|| Held::Own(Grant::Counted { generation: word.generation() }))
    }

    /// Lets a call in, or not.
    pub(crate) fn acquire(self: &Arc<Self>, attempt: Attempt) -> Result<Held, Refusal> {
        let word = self.word();
        if word.has_kin() {
            return self.acquire_with_kin(word, attempt);
        }
        self.acquire_alone(attempt).map(Held::Own)
    }

    fn acquire_with_kin(self: &Arc<Self>, word: Word, attempt: Attempt) -> Result<Held, Refusal> {
        let Some(membership) = self.membership() else {
            // What is around others has no outcomes of its own, but can be asked by hand.
            let grant = self.acquire_alone(attempt)?;
            return Ok(Held::Own(if matches!(grant, Grant::Probe { .. }) { grant } else { Grant::Uncounted }));
        };
        if word.mode() == Mode::Disabled {
            return self.acquire_alone(attempt).map(Held::Own);
        }
        let alone = !attempt.can_be_refused_in(word.mode());
        if !alone && !self.is_closed_with_kin(word) {
            // Asked before, so that neither of the two is probed for nothing.
            if let Some(refusal) = self.refusal(attempt) {
                return Err(refusal);
            }
        }
        let own = self.acquire_alone(attempt)?;
        match membership.acquire(attempt, !alone) {
            Ok(None) => Ok(Held::Own(own)),
            Ok(Some(probe)) => Ok(Held::Both(Box::new((own, probe)))),
            Err(refusal) => {
                self.settle(own, None, Ending::Judged(Health::Neutral, None));
                Err(refusal)
            }
        }
    }

    /// Lets a call in, or not, whatever its kin would say.
    pub(crate) fn acquire_alone(self: &Arc<Self>, attempt: Attempt) -> Result<Grant, Refusal> {
        let word = self.word();
        if word.is_closed_itself() {
            return Ok(Grant::Counted { generation: word.generation() });
        }
        self.acquire_seldom(word, attempt)
    }

    /// The same for a call that is let in by another breaker whatever this one says: counts no refusal.
    #[cold]
    pub(crate) fn acquire_if_room(self: &Arc<Self>, attempt: Attempt) -> Result<Grant, Refusal> {
        let now = self.now().millis();
        self.change(|engine, rules| engine.acquire(rules, attempt, now))
    }

    #[cold]
    fn acquire_seldom(self: &Arc<Self>, word: Word, attempt: Attempt) -> Result<Grant, Refusal> {
        match (word.mode(), word.phase(), attempt) {
            (Mode::Disabled, _, _) => return Ok(Grant::Uncounted),
            (Mode::ObserveOnly | Mode::RejectRetriesOnly, Phase::Live(State::Closed), _) => {
                return Ok(Grant::Counted { generation: word.generation() });
            }
            (Mode::Automatic, Phase::Live(State::Open), _)
            | (Mode::RejectRetriesOnly, Phase::Live(State::Open), Attempt::Retry) => self.refuse_by_word(word)?,
            _ => {}
        }
        let now = self.now().millis();
        let result = self.change(|engine, rules| engine.acquire(rules, attempt, now));
        if result.is_err() {
            self.count_refusal();
        }
        result
    }

    /// Refuses without the lock while the word alone tells that it is too early.
    fn refuse_by_word(&self, word: Word) -> Result<(), Refusal> {
        let now = self.now().millis();
        match word.until() {
            Some(until) if now < until => {
                self.count_refusal();
                Err(Refusal { state: State::Open, wait: Some(until - now), by_outer: false })
            }
            _ => Ok(()),
        }
    }

    /// Whether a call that came now would be refused; counts as a refusal.
    #[inline]
    pub(crate) fn refusal(&self, attempt: Attempt) -> Option<Refusal> {
        let word = self.word();
        if word.is_plainly_closed() {
            return None;
        }
        if word.has_kin() { self.refusal_with_kin(word, attempt) } else { self.refusal_seldom(word, attempt) }
    }

    #[inline(never)]
    fn refusal_with_kin(&self, word: Word, attempt: Attempt) -> Option<Refusal> {
        let own = if word.is_closed_itself() { None } else { self.refusal_seldom(word, attempt) };
        // What refuses nothing itself is not refused by what is around it either.
        if !attempt.can_be_refused_in(word.mode()) {
            return own;
        }
        own.or_else(|| self.membership()?.refusal(attempt))
    }

    /// Whether a call that came now would be refused, whatever its kin would say; counts as a refusal.
    pub(crate) fn refusal_alone(&self, attempt: Attempt) -> Option<Refusal> {
        let word = self.word();
        if word.is_closed_itself() { None } else { self.refusal_seldom(word, attempt) }
    }

    pub(crate) fn count_refusal(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes back one that no caller has heard of. A reset may have taken it back before.
    pub(crate) fn uncount_refusal(&self, by_outer: bool) {
        let cell = self.outer().filter(|_| by_outer).map_or(self, |outer| outer);
        let one_less = |rejected: u64| rejected.checked_sub(1);
        let _ = cell.rejected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }

    #[cold]
    fn refusal_seldom(&self, word: Word, attempt: Attempt) -> Option<Refusal> {
        match (word.mode(), word.phase(), attempt) {
            (Mode::Disabled | Mode::ObserveOnly, _, _)
            | (Mode::RejectRetriesOnly, _, Attempt::First)
            | (Mode::RejectRetriesOnly, Phase::Live(State::Closed), Attempt::Retry) => return None,
            (Mode::ForcedOpen, _, _) => {
                self.count_refusal();
                return Some(Refusal::FORCED);
            }
            (Mode::Automatic, Phase::Live(State::Open), _)
            | (Mode::RejectRetriesOnly, Phase::Live(State::Open), Attempt::Retry) => {
                if let Err(refusal) = self.refuse_by_word(word) {
                    return Some(refusal);
                }
            }
            _ => {}
        }
        let now = self.now().millis();
        let refusal = self.lock().would_refuse(&self.shared.policy.rules, attempt, now);
        if refusal.is_some() {
            self.count_refusal();
        }
        refusal
    }
}
