use std::sync::Arc;

use super::kind::Cost;
use super::{Bucket, Budget, Kind};

/// What a hedge took from its budget. Dropped before the hedge was sent, it gives that back. A call may hold one beside
/// its [`Account`](super::Account), because a retry can be hedged.
#[derive(Debug)]
pub(in crate::retry) struct HedgeToken {
    budget: Source,
    cost: Cost,
    is_sent: bool,
}

/// The budget of a call.
#[derive(Debug)]
pub(in crate::retry) enum Source {
    Shared(Budget),
    OfKey(Arc<Bucket>),
}

impl HedgeToken {
    /// Asks for a hedge.
    pub(in crate::retry) fn withdraw(budget: Source) -> Option<Self> {
        let cost = match budget.kind() {
            Some(kind) => kind.withdraw_for_hedge()?,
            None => Cost(0),
        };
        Some(Self { budget, cost, is_sent: false })
    }

    /// Sets whether the hedge was sent.
    pub(in crate::retry) fn sent(&mut self, is_sent: bool) {
        self.is_sent = is_sent;
    }
}

impl Source {
    /// `None` if it is unlimited.
    fn kind(&self) -> Option<&Kind> {
        match self {
            Self::Shared(budget) => budget.kind(),
            Self::OfKey(bucket) => Some(bucket.kind()),
        }
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
