use std::time::Duration;

use rand::{Rng, RngExt};

use crate::invalid_setting::{InvalidSetting, ensure, valid};

/// The wait before the next attempt, or before an open circuit is probed again.
///
/// ```
/// use std::time::Duration;
/// use tower_rampart::retry::{Backoff, Jitter};
///
/// // At most 100 ms before the first retry, 200 ms before the second, … 5 s from the seventh on.
/// let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5));
/// assert_eq!(backoff.ceiling(0), Duration::from_millis(100));
/// assert_eq!(backoff.ceiling(2), Duration::from_millis(400));
/// assert_eq!(backoff.ceiling(1_000), Duration::from_secs(5));
///
/// let steady = Backoff::fixed(Duration::from_secs(1)).jitter(Jitter::Equal);
/// # let _ = steady;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    first: Duration,
    factor: f64,
    max: Duration,
    jitter: Jitter,
}

/// What the wait before a retry depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    /// Counted from 0.
    pub(crate) number: u32,
    /// The wait before the retry before it.
    pub(crate) last_wait: Option<Duration>,
    /// A wait with jitter is drawn from at least as much, within the longest wait.
    pub(crate) spread: Duration,
}

/// How much of a wait is random, so that clients that failed together do not return together.
///
/// The names are those of Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Between zero and the whole wait: spreads clients best.
    #[default]
    Full,
    /// Between half of the wait and the whole wait.
    Equal,
    /// Between the first wait and three times the last one, whatever the [factor](Backoff::factor), and at most the
    /// longest.
    ///
    /// A wait that a server asked for counts as the last one. An open circuit has no last wait and takes
    /// [`Equal`](Self::Equal) instead.
    Decorrelated,
    /// Always the whole wait.
    None,
}

/// How much longer than the last wait a decorrelated one can be.
const DECORRELATED: f64 = 3.0;

impl Retry {
    #[cfg(test)]
    pub(crate) const fn new(number: u32) -> Self {
        Self { number, last_wait: None, spread: Duration::ZERO }
    }
}

impl Backoff {
    /// Doubles the wait with every retry, from `first` up to `max`, with [`Jitter::Full`].
    ///
    /// # Panics
    ///
    /// If `first` is zero or longer than `max`.
    #[must_use]
    #[track_caller]
    pub fn exponential(first: Duration, max: Duration) -> Self {
        valid(Self::try_exponential(first, max))
    }

    /// [`exponential`](Self::exponential), with an error in place of a panic.
    pub fn try_exponential(first: Duration, max: Duration) -> Result<Self, InvalidSetting> {
        ensure!(!first.is_zero(), "Backoff: the first wait must not be zero");
        ensure!(first <= max, "Backoff: the first wait, {first:?}, is longer than the longest, {max:?}");
        Ok(Self { first, factor: 2.0, max, jitter: Jitter::Full })
    }

    /// The same wait every time, without jitter.
    #[must_use]
    pub const fn fixed(wait: Duration) -> Self {
        Self { first: wait, factor: 1.0, max: wait, jitter: Jitter::None }
    }

    /// No wait at all.
    #[must_use]
    pub const fn none() -> Self {
        Self::fixed(Duration::ZERO)
    }

    /// Multiplies the wait by `factor` with every retry, instead of 2.
    ///
    /// # Panics
    ///
    /// If `factor` is below 1 or not finite.
    #[must_use]
    #[track_caller]
    pub fn factor(self, factor: f64) -> Self {
        valid(self.try_factor(factor))
    }

    /// [`factor`](Self::factor), with an error in place of a panic.
    pub fn try_factor(mut self, factor: f64) -> Result<Self, InvalidSetting> {
        ensure!(factor.is_finite() && factor >= 1.0, "Backoff: the factor must be at least 1, but is {factor}");
        self.factor = factor;
        Ok(self)
    }

    /// Sets how much of each wait is random.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Returns the longest wait before retry number `retry`, counted from 0.
    #[must_use]
    pub fn ceiling(&self, retry: u32) -> Duration {
        let growth = match self.jitter {
            Jitter::Decorrelated => DECORRELATED.powf(f64::from(retry) + 1.0),
            _ => self.factor.powf(f64::from(retry)),
        };
        // A power that overflows is infinite and thus above `max`. It is never NaN, because the factor is at least 1.
        let seconds = self.first.as_secs_f64() * growth;
        if seconds < self.max.as_secs_f64() { Duration::from_secs_f64(seconds) } else { self.max }
    }

    /// Returns true if every wait is the same.
    pub(crate) fn is_steady(&self) -> bool {
        self.factor == 1.0 && self.jitter == Jitter::None
    }

    /// Returns the wait before a retry.
    pub(crate) fn wait(&self, retry: &Retry, rng: &mut impl Rng) -> Duration {
        let Retry { number, last_wait, spread } = *retry;
        let spread = spread.min(self.max);
        let ceiling = self.ceiling(number);
        match self.jitter {
            Jitter::Decorrelated => {
                let last = last_wait.unwrap_or(self.first).clamp(self.first, self.max);
                rng.random_range(self.first..=last.saturating_mul(3).max(spread)).min(self.max)
            }
            Jitter::Full => rng.random_range(Duration::ZERO..=ceiling.max(spread)),
            Jitter::Equal => upper_half(ceiling.max(spread), rng),
            Jitter::None => ceiling,
        }
    }

    /// As [`wait`](Self::wait), but at least half of the ceiling: a circuit that is probed at once protects no one.
    pub(crate) fn wait_at_least_half(&self, retry: u32, rng: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling(retry);
        if self.jitter == Jitter::None { ceiling } else { upper_half(ceiling, rng) }
    }
}

impl Default for Backoff {
    /// Doubles from 100 ms up to 5 s, with full jitter.
    fn default() -> Self {
        Self::exponential(Duration::from_millis(100), Duration::from_secs(5))
    }
}

impl From<Duration> for Backoff {
    fn from(wait: Duration) -> Self {
        Self::fixed(wait)
    }
}

/// Draws from the capped ceiling, so that waits stay spread out at the cap.
fn upper_half(ceiling: Duration, rng: &mut impl Rng) -> Duration {
    rng.random_range(ceiling / 2..=ceiling)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn doubles_up_to_the_cap_and_never_overflows() {
        let backoff = Backoff::exponential(100 * MS, 5_000 * MS);
        let ceilings: Vec<_> = [0, 1, 2, 5, 6, 1_000, u32::MAX].map(|n| backoff.ceiling(n).as_millis()).into();
        assert_eq!(ceilings, [100, 200, 400, 3_200, 5_000, 5_000, 5_000]);

        let longest = Backoff::exponential(MS, Duration::MAX).factor(f64::MAX);
        assert_eq!(longest.ceiling(u32::MAX), Duration::MAX);
    }

    #[test]
    fn jitter_does_not_collapse_at_the_cap() {
        let backoff = Backoff::exponential(100 * MS, 5_000 * MS);
        let mut rng = SmallRng::seed_from_u64(7);
        let waits: Vec<_> = (0..1_000).map(|_| backoff.wait(&Retry::new(1_000), &mut rng)).collect();
        assert!(waits.iter().all(|wait| *wait <= 5_000 * MS));
        // A thousand uniform draws leave no tenth of the range empty but with a chance of e^-100.
        for tenth in 0..10 {
            let from = tenth * 500 * MS;
            assert!(waits.iter().any(|wait| (from..from + 500 * MS).contains(wait)), "none in tenth {tenth}");
        }
    }

    #[test]
    fn a_decorrelated_wait_follows_the_last_one() {
        let backoff = Backoff::exponential(100 * MS, 5_000 * MS).jitter(Jitter::Decorrelated);
        let mut rng = SmallRng::seed_from_u64(7);
        let mut extremes = |number, last: Option<u32>| {
            let retry = Retry { last_wait: last.map(|last| last * MS), ..Retry::new(number) };
            let draws = (0..1_000).map(|_| backoff.wait(&retry, &mut rng).as_millis());
            draws.fold((u128::MAX, 0), |(least, most), wait| (least.min(wait), most.max(wait)))
        };
        // Nothing but the last wait counts: not the number of the retry, and a last wait of zero is a transparent retry.
        for (retry, last, ceiling) in [(0, None, 300), (9, Some(0), 300), (1, Some(200), 600), (9, Some(200), 600)] {
            let (least, most) = extremes(retry, last);
            assert!(
                (100..110).contains(&least) && (ceiling - 10..=ceiling).contains(&most),
                "{last:?}: {least}, {most}"
            );
        }
        // What is drawn above the cap waits as long as the cap: two thirds of the draws.
        assert_eq!(extremes(9, Some(5_000)).1, 5_000);
        let ceilings = [0, 1, 3, 4].map(|retry| backoff.ceiling(retry).as_millis());
        assert_eq!(ceilings, [300, 900, 5_000, 5_000], "three times the first, then three times that, up to the cap");
        let longest = Backoff::exponential(MS, Duration::MAX).jitter(Jitter::Decorrelated);
        assert!(longest.wait(&Retry { last_wait: Some(Duration::MAX), ..Retry::new(u32::MAX) }, &mut rng) >= MS);
    }

    #[test]
    fn an_open_circuit_waits_at_least_half() {
        let backoff = Backoff::exponential(1_000 * MS, 60_000 * MS);
        let mut rng = SmallRng::seed_from_u64(7);
        for _ in 0..1_000 {
            let wait = backoff.wait_at_least_half(1, &mut rng);
            assert!((1_000 * MS..=2_000 * MS).contains(&wait), "{wait:?}");
        }
    }

    #[test]
    #[should_panic(expected = "the first wait, 2s, is longer than the longest, 1s")]
    fn a_cap_below_the_first_wait_panics() {
        let _ = Backoff::exponential(Duration::from_secs(2), Duration::from_secs(1));
    }

    #[test]
    #[should_panic(expected = "the factor must be at least 1, but is NaN")]
    fn a_factor_that_is_no_number_panics() {
        let _ = Backoff::default().factor(f64::NAN);
    }
}
