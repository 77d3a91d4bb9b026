use super::cost::Cost;
use crate::sync::{AtomicU64, Ordering};

/// The retry quota of the AWS SDKs' "standard" mode.
#[derive(Debug)]
pub(in crate::retry) struct Aws {
    tokens: AtomicU64,
}

const CAPACITY: u64 = 500;
const RETRY: Cost = Cost(5);
const RETRY_AFTER_TIMEOUT: Cost = Cost(10);
const SUCCESS_AT_ONCE: Cost = Cost(1);

// Relaxed, because the tokens are one word and guard no other memory.
impl Aws {
    pub(in crate::retry) fn new() -> Self {
        Self { tokens: AtomicU64::new(CAPACITY) }
    }

    pub(in crate::retry) fn is_full(&self) -> bool {
        self.tokens.load(Ordering::Relaxed) == CAPACITY
    }

    pub(in crate::retry) fn withdraw(&self, timed_out: bool) -> Option<Cost> {
        let cost = if timed_out { RETRY_AFTER_TIMEOUT } else { RETRY };
        let take = |tokens: u64| tokens.checked_sub(cost.0);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok().map(|_| cost)
    }

    #[inline]
    pub(in crate::retry) fn succeed(&self, retry: Option<Cost>) {
        self.give_back(retry.unwrap_or(SUCCESS_AT_ONCE));
    }

    /// With all tokens there, which is the usual case, this is one load.
    #[inline]
    pub(in crate::retry) fn give_back(&self, Cost(cost): Cost) {
        let give = |tokens: u64| (tokens < CAPACITY).then(|| (tokens + cost).min(CAPACITY));
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }

    pub(in crate::retry) fn balance(&self) -> f64 {
        self.tokens.load(Ordering::Relaxed) as f64
    }
}
