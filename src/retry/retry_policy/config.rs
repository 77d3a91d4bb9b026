use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use crate::retry::policy::{AttemptTimeout, Budget, Decider};
use crate::seed::SharedRng;

/// The settings that a policy has whatever it classifies and observes.
#[derive(Clone, Debug)]
pub(in crate::retry) struct Config {
    pub(in crate::retry) name: Arc<str>,
    pub(in crate::retry) max_attempts: NonZeroU32,
    pub(in crate::retry) attempt_timeout: Option<AttemptTimeout>,
    pub(in crate::retry) deadline: Option<Duration>,
    pub(in crate::retry) budget: Budget,
    pub(in crate::retry) decider: Decider,
    /// The jitter of the waits. The thread's own generator if the user has set no seed.
    pub(in crate::retry) rng: Option<Arc<SharedRng>>,
}

impl Config {
    /// Draws the jitter of a wait.
    pub(in crate::retry) fn draw<T>(&self, draw: impl FnOnce(&mut dyn Rng) -> T) -> T {
        match &self.rng {
            None => draw(&mut rand::rng()),
            Some(rng) => draw(&mut &**rng),
        }
    }
}
