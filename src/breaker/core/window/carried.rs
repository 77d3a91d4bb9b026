use crate::sync::{AtomicU64, Ordering};

/// What a window has counted since it was made, as far as its other words do not show it. Goes round: the sum is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried<'a> {
    pub(super) calls: &'a AtomicU64,
    /// Failures among the calls.
    pub(super) failures: &'a AtomicU64,
}

impl Carried<'_> {
    pub(super) fn add(self, calls: u64, failures: u64) {
        for (word, more) in [(self.calls, calls), (self.failures, failures)] {
            if more != 0 {
                word.fetch_add(more, Ordering::Release);
            }
        }
    }

    /// Takes out what the totals have grown by.
    pub(super) fn take_back(self, before: (u64, u64), after: (u64, u64)) {
        self.add(before.0.wrapping_sub(after.0), before.1.wrapping_sub(after.1));
    }

    pub(super) fn get(self) -> (u64, u64) {
        let failures = self.failures.load(Ordering::Acquire);
        (self.calls.load(Ordering::Acquire), failures)
    }
}
