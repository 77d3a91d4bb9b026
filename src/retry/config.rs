use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::observe::GiveUpLog;
use super::policy::{Budget, Policy};

/// What the services that were made together, and their futures, have in common.
#[derive(Clone, Debug)]
pub(super) struct SharedConfig<Classifier, Replay, OnRetry> {
    pub(super) config: Config,
    pub(super) classifier: Classifier,
    pub(super) replay: Replay,
    pub(super) on_retry: OnRetry,
    /// One for all clones of the same name, so that a storm is one storm.
    pub(super) give_ups: Arc<GiveUpLog>,
    pub(super) timer_check: TimerCheck,
}

/// Whether a timer has been made already, so that it is known that one can be made.
///
/// Known of a service and a thread together: a service may be used on the threads of several runtimes, and a thread may run
/// several runtimes one after the other.
#[derive(Debug, Default)]
pub(super) struct TimerCheck(AtomicBool);

thread_local! {
    static MADE_HERE: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) name: Arc<str>,
    pub(super) max_attempts: NonZeroU32,
    pub(super) attempt_timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) budget: Budget,
    pub(super) policy: Policy,
}

impl TimerCheck {
    /// Panics without the time driver of tokio, whose message says how to enable it.
    #[inline]
    pub(super) fn run(&self) {
        if !(self.0.load(Ordering::Relaxed) && MADE_HERE.get()) {
            drop(tokio::time::sleep(Duration::ZERO));
            self.0.store(true, Ordering::Relaxed);
            MADE_HERE.set(true);
        }
    }
}

/// A copy may be used on another runtime.
impl Clone for TimerCheck {
    fn clone(&self) -> Self {
        Self::default()
    }
}
