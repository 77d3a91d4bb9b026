use std::fmt;
use std::sync::Arc;

use rand::Rng;

use crate::retry::policy::Budget;
use crate::retry::settings::{Eras, Tuning};
use crate::seed::{Seed, SharedRng};

/// The settings that a policy has whatever it classifies and observes.
#[derive(Clone)]
pub(in crate::retry) struct Config {
    pub(in crate::retry) name: Arc<str>,
    pub(in crate::retry) budget: Budget,
    pub(in crate::retry) seed: Option<u64>,
    /// The jitter of the waits. The thread's own generator if the user has set no seed.
    rng: Option<Arc<SharedRng>>,
    /// What the policy was made with.
    pub(in crate::retry) first: Tuning,
    /// What it has had since. Shared by its clones and their handles.
    pub(in crate::retry) eras: Arc<Eras<Tuning>>,
}

impl Config {
    pub(super) fn new(name: &str, tuning: Tuning) -> Self {
        let (name, budget) = (name.into(), Budget::default());
        Self { name, budget, seed: None, rng: None, first: tuning, eras: Arc::default() }
    }

    pub(super) fn set_seed(&mut self, seed: u64) {
        self.seed = Some(seed);
        self.rng = Some(Arc::new(SharedRng::new(Seed::of(seed).split("waits"))));
    }

    /// Returns the settings of a call that begins now.
    #[inline]
    pub(in crate::retry) fn current(&self) -> &Tuning {
        self.eras.current(&self.first)
    }

    /// Returns the settings of this number.
    #[inline]
    pub(in crate::retry) fn tuning(&self, era: u16) -> &Tuning {
        self.eras.at(era, &self.first)
    }

    /// Draws the jitter of a wait.
    pub(in crate::retry) fn draw<T>(&self, draw: impl FnOnce(&mut dyn Rng) -> T) -> T {
        match &self.rng {
            None => draw(&mut rand::rng()),
            Some(rng) => draw(&mut &**rng),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, budget, seed, .. } = self;
        f.debug_struct("Config")
            .field("name", name)
            .field("tuning", self.current())
            .field("budget", budget)
            .field("seed", seed)
            .finish()
    }
}
