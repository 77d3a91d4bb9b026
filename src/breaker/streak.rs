use crate::sync::{AtomicU32, Ordering};

/// Failures in a row: success ends them. Kept right across generations in the way of the [windows](super::window).
#[derive(Debug)]
pub(super) struct Streak(AtomicU32);

/// Epoch 8, failures 24.
const COUNT: u32 = 24;
const COUNT_MAX: u32 = (1 << COUNT) - 1;

impl Streak {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire) & COUNT_MAX
    }

    /// One more, and how many that makes. The first of a new row, if what was before is too long ago.
    pub(super) fn failure(&self, first: bool, live: impl Fn() -> bool) -> Option<u32> {
        self.update(live, |count| if first { 1 } else { (count + 1).min(COUNT_MAX) })
    }

    pub(super) fn success(&self, live: impl Fn() -> bool) {
        if self.get() != 0 {
            self.update(live, |_| 0);
        }
    }

    pub(super) fn reset(&self) {
        let epoch = self.0.load(Ordering::Acquire) >> COUNT;
        self.0.swap(epoch.wrapping_add(1) << COUNT, Ordering::AcqRel);
    }

    fn update(&self, live: impl Fn() -> bool, change: impl Fn(u32) -> u32) -> Option<u32> {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if !live() {
                return None;
            }
            let count = change(seen & COUNT_MAX);
            let next = seen & !COUNT_MAX | count;
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(count),
                Err(now) => seen = now,
            }
        }
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use super::*;

    #[test]
    fn counts_failures_in_a_row_of_one_generation() {
        let streak = Streak::new();
        assert_eq!(streak.failure(false, || true), Some(1));
        assert_eq!(streak.failure(false, || true), Some(2));
        streak.success(|| false);
        assert_eq!(streak.failure(false, || false), None);
        assert_eq!(streak.get(), 2, "what comes too late changes nothing");
        streak.success(|| true);
        assert_eq!(streak.failure(false, || true), Some(1));
        assert_eq!(streak.failure(true, || true), Some(1));
        streak.reset();
        assert_eq!(streak.get(), 0);
    }
}
