use std::sync::Arc;

use super::cost::Cost;
use crate::settings::invalid_setting::{InvalidSetting, ensure};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Envoy's retry budget: retries in progress against calls in progress.
#[derive(Debug)]
pub(in crate::retry) struct Concurrent {
    /// Shared with the budgets of keys that are made like this one, so that one change reaches all.
    numbers: Arc<Numbers>,
    /// Calls in the upper half, retries in the lower half.
    in_progress: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::retry) struct Settings {
    /// The share of calls that may be retrying.
    share: f64,
    minimum: u32,
}

/// The current [`Settings`].
#[derive(Debug)]
struct Numbers {
    /// The bits of the number.
    share: AtomicU64,
    minimum: AtomicU32,
}

const CALL: u64 = 1 << u32::BITS;
const RETRY: u64 = 1;

// Relaxed, because the counts are one word and guard no other memory.
impl Concurrent {
    pub(in crate::retry) fn try_new(percent: f64, minimum: u32) -> Result<Self, InvalidSetting> {
        ensure!((0.0..=100.0).contains(&percent), "Budget: percent must be from 0 to 100, but is {percent}");
        Ok(Self::idle(Arc::new(Numbers {
            share: AtomicU64::new((percent / 100.0).to_bits()),
            minimum: AtomicU32::new(minimum),
        })))
    }

    fn idle(numbers: Arc<Numbers>) -> Self {
        Self { numbers, in_progress: AtomicU64::new(0) }
    }

    /// A new one whose settings change with those of this one.
    pub(in crate::retry) fn renewed(&self) -> Self {
        Self::idle(Arc::clone(&self.numbers))
    }

    pub(in crate::retry) fn settings(&self) -> Settings {
        let Numbers { share, minimum } = &*self.numbers;
        Settings { share: f64::from_bits(share.load(Ordering::Relaxed)), minimum: minimum.load(Ordering::Relaxed) }
    }

    /// Changes the settings, also of all that were made like this one. What is in progress stays counted.
    pub(in crate::retry) fn set(&self, Settings { share, minimum }: Settings) {
        self.numbers.share.store(share.to_bits(), Ordering::Relaxed);
        self.numbers.minimum.store(minimum, Ordering::Relaxed);
    }

    pub(in crate::retry) fn is_idle(&self) -> bool {
        self.in_progress.load(Ordering::Relaxed) == 0
    }

    #[inline]
    pub(in crate::retry) fn enter(&self) {
        self.in_progress.fetch_add(CALL, Ordering::Relaxed);
    }

    #[inline]
    pub(in crate::retry) fn leave(&self) {
        self.in_progress.fetch_sub(CALL, Ordering::Relaxed);
    }

    pub(in crate::retry) fn withdraw(&self) -> Option<Cost> {
        let begin = |counts: u64| (self.free(counts) > 0).then_some(counts + RETRY);
        self.in_progress.fetch_update(Ordering::Relaxed, Ordering::Relaxed, begin).ok().map(|_| Cost(RETRY))
    }

    pub(in crate::retry) fn end_retry(&self) {
        self.in_progress.fetch_sub(RETRY, Ordering::Relaxed);
    }

    pub(in crate::retry) fn balance(&self) -> f64 {
        f64::from(self.free(self.in_progress.load(Ordering::Relaxed)))
    }

    /// Returns how many more retries could begin.
    fn free(&self, counts: u64) -> u32 {
        let Settings { share, minimum } = self.settings();
        let (calls, retries) = (counts / CALL, counts % CALL);
        // Below 2^32, as both counts are. The product of a percentage may lie a trifle below a whole number.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let allowed = (calls as f64 * share + 1e-6) as u32;
        allowed.max(minimum).saturating_sub(retries as u32)
    }
}
