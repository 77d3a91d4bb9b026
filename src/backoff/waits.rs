use std::time::Duration;

use rand::rngs::SmallRng;

use super::{Backoff, Retry};
use crate::seed::Seed;

/// The waits of a [`Backoff`], one before each retry of a call, without end: [`Backoff::waits`].
#[derive(Clone, Debug)]
pub struct Waits {
    backoff: Backoff,
    rng: SmallRng,
    retry: Retry,
}

impl Backoff {
    /// Returns the waits before the retries of one call, for loops without tower. It never ends; each call has its own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::{Backoff, Jitter};
    ///
    /// let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5));
    /// for wait in backoff.waits().take(3) {
    ///     // Sleep for `wait`, then try again.
    /// #   let _ = wait;
    /// }
    ///
    /// let growing = Backoff::fibonacci(Duration::from_millis(100), Duration::from_secs(5)).jitter(Jitter::None);
    /// let millis: Vec<_> = growing.waits().take(9).map(|wait| wait.as_millis()).collect();
    /// assert_eq!(millis, [100, 100, 200, 300, 500, 800, 1_300, 2_100, 3_400]);
    /// ```
    #[must_use]
    pub fn waits(&self) -> Waits {
        self.waits_from(Seed::default())
    }

    /// [`waits`](Self::waits) that are the same for the same seed, for tests.
    ///
    /// They are those of the first call through a new [`RetryLayer`](crate::RetryLayer) with this
    /// [`seed`](crate::RetryLayer::seed), unless the server sends hints. The same seed may give other waits with
    /// another version of this crate.
    ///
    /// ```
    /// use tower_rampart::retry::Backoff;
    ///
    /// let backoff = Backoff::default();
    /// assert!(backoff.waits_with_seed(7).take(9).eq(backoff.waits_with_seed(7).take(9)));
    /// ```
    #[must_use]
    pub fn waits_with_seed(&self, seed: u64) -> Waits {
        self.waits_from(Seed::of(seed))
    }

    fn waits_from(&self, seed: Seed) -> Waits {
        Waits { backoff: self.clone(), rng: seed.split("waits").rng(), retry: Retry::default() }
    }
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.backoff.wait(&self.retry, &mut self.rng);
        self.retry = Retry { number: self.retry.number.saturating_add(1), last_wait: Some(wait), ..self.retry };
        Some(wait)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl IntoIterator for Backoff {
    type Item = Duration;
    type IntoIter = Waits;

    /// [`Backoff::waits`].
    fn into_iter(self) -> Waits {
        self.waits()
    }
}

impl IntoIterator for &Backoff {
    type Item = Duration;
    type IntoIter = Waits;

    /// [`Backoff::waits`].
    fn into_iter(self) -> Waits {
        self.waits()
    }
}
