use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::Rng;

use super::observe::GiveUpLog;
use super::policy::{AttemptTimeout, Budget, Policy};
use crate::seed::SharedRng;

/// The configuration and state that clones of a service share with their futures.
#[derive(Clone, Debug)]
pub(super) struct SharedConfig<Classifier, Replay, OnRetry> {
    pub(super) config: Config,
    pub(super) classifier: Classifier,
    pub(super) replay: Replay,
    pub(super) on_retry: OnRetry,
    /// Shared by all clones of the layer, so that together they log one line a second.
    pub(super) give_ups: Arc<GiveUpLog>,
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

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) name: Arc<str>,
    pub(super) max_attempts: NonZeroU32,
    pub(super) attempt_timeout: Option<AttemptTimeout>,
    pub(super) deadline: Option<Duration>,
    pub(super) budget: Budget,
    pub(super) policy: Policy,
    /// The jitter of the waits. The thread's own generator if the user has set no seed.
    pub(super) rng: Option<Arc<SharedRng>>,
}

impl Config {
    /// Draws the jitter of a wait.
    pub(super) fn draw<T>(&self, draw: impl FnOnce(&mut dyn Rng) -> T) -> T {
        match &self.rng {
            None => draw(&mut rand::rng()),
            Some(rng) => draw(&mut *rng.lock()),
        }
    }
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
