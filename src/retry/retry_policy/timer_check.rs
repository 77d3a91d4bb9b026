use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Checks that tokio's time driver is enabled, once for each pair of policy and thread.
///
/// Neither alone is enough: a policy can be used on several runtimes, and a thread can run several runtimes in turn.
#[derive(Debug, Default)]
pub(in crate::retry) struct TimerCheck(AtomicBool);

thread_local! {
    static MADE_HERE: Cell<bool> = const { Cell::new(false) };
}

impl TimerCheck {
    /// Panics without the time driver, with tokio's message that explains how to enable it.
    #[inline]
    pub(in crate::retry) fn run(&self) {
        if !(self.0.load(Ordering::Relaxed) && MADE_HERE.get()) {
            drop(tokio::time::sleep(Duration::ZERO));
            self.0.store(true, Ordering::Relaxed);
            MADE_HERE.set(true);
        }
    }
}

/// A clone may be used on another runtime, so it checks again.
impl Clone for TimerCheck {
    fn clone(&self) -> Self {
        Self::default()
    }
}
