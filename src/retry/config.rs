use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::retry_policy::RetryPolicy;

/// The configuration and state that clones of a service share with their futures.
#[derive(Clone, Debug)]
pub(super) struct SharedConfig<Classifier, Replay, OnRetry> {
    pub(super) policy: RetryPolicy<Classifier, OnRetry>,
    pub(super) replay: Replay,
    pub(super) timer_check: TimerCheck,
}

/// Checks that tokio's time driver is enabled, once for each pair of service and thread.
///
/// Neither alone is enough: a service can be used on several runtimes, and a thread can run several runtimes in turn.
#[derive(Debug, Default)]
pub(super) struct TimerCheck(AtomicBool);

thread_local! {
    static MADE_HERE: Cell<bool> = const { Cell::new(false) };
}

impl TimerCheck {
    /// Panics without the time driver, with tokio's message that explains how to enable it.
    #[inline]
    pub(super) fn run(&self) {
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
