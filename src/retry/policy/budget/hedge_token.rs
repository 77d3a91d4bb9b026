use super::Budget;
use super::cost::Cost;

/// What a hedge took from its budget. Dropped before the hedge was sent, it gives that back. A call may hold one beside its
/// [`Account`](super::Account), because a retry can be hedged.
#[derive(Debug)]
pub(in crate::retry) struct HedgeToken {
    budget: Budget,
    cost: Cost,
    is_sent: bool,
}

impl HedgeToken {
    /// Asks for a hedge.
    pub(in crate::retry) fn withdraw(budget: &Budget) -> Option<Self> {
        let cost = match budget.kind() {
            Some(kind) => kind.withdraw_for_hedge()?,
            None => Cost(0),
        };
        Some(Self { budget: budget.clone(), cost, is_sent: false })
    }

    /// Sets whether the hedge was sent.
    pub(in crate::retry) fn sent(&mut self, is_sent: bool) {
        self.is_sent = is_sent;
    }
}

impl Drop for HedgeToken {
    fn drop(&mut self) {
        match self.budget.kind() {
            Some(budget) if self.is_sent => budget.end_retry(),
            Some(budget) => budget.give_back(self.cost),
            None => {}
        }
    }
}
