use super::kind::{Cost, Kind};
use crate::classify::Verdict;

/// What one call holds of its budget. The module draws its states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::retry) enum Account {
    /// Nothing is to be reported: the call has not begun or has ended, or its budget asks for no more.
    #[default]
    Closed,
    /// No retry is granted.
    Active,
    /// A retry is granted and not sent yet.
    Waiting(Cost),
    /// The attempt in flight is a retry.
    Retrying(Cost),
}

impl Account {
    /// The first attempt begins.
    #[inline]
    pub(in crate::retry) fn open(&mut self, budget: Option<&Kind>) {
        if budget.is_some_and(Kind::open) {
            *self = Self::Active;
        }
    }

    /// Asks for a retry after an attempt with this verdict.
    pub(in crate::retry) fn withdraw(&mut self, budget: Option<&Kind>, verdict: &Verdict) -> bool {
        let Some(budget) = budget else { return true };
        self.end_attempt(budget);
        match budget.withdraw(verdict) {
            Some(cost) => *self = Self::Waiting(cost),
            None => return false,
        }
        true
    }

    /// The attempt of a granted retry begins.
    pub(in crate::retry) fn begin_retry(&mut self) {
        if let Self::Waiting(cost) = *self {
            *self = Self::Retrying(cost);
        }
    }

    /// An attempt failed in a way that is worth a retry, or the server forbids one, and the budget was not asked.
    pub(in crate::retry) fn fail(&self, budget: Option<&Kind>) {
        if let Some(budget) = budget {
            budget.fail();
        }
    }

    /// The call succeeded.
    #[inline]
    pub(in crate::retry) fn succeed(&mut self, budget: Option<&Kind>) {
        if *self != Self::Closed {
            self.end(budget, true);
        }
    }

    /// The call ended otherwise, or was dropped.
    #[inline]
    pub(in crate::retry) fn close(&mut self, budget: Option<&Kind>) {
        if *self != Self::Closed {
            self.end(budget, false);
        }
    }

    // Not inlined, because most calls come with nothing to report.
    #[inline(never)]
    fn end(&mut self, budget: Option<&Kind>, succeeded: bool) {
        let Some(budget) = budget else { return };
        match *self {
            Self::Waiting(cost) => budget.give_back(cost),
            Self::Retrying(cost) if succeeded => budget.succeed(Some(cost)),
            _ if succeeded => budget.succeed(None),
            _ => {}
        }
        self.end_attempt(budget);
        budget.close();
        *self = Self::Closed;
    }

    fn end_attempt(&mut self, budget: &Kind) {
        if let Self::Retrying(_) = *self {
            budget.end_retry();
        }
        *self = Self::Active;
    }
}
