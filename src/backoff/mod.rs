//! How long to wait before another attempt.
//!
//! [`Growth`] is the formula, [`Jitter`] what is random about its result, and [`Backoff`] both with a cap. Nothing here
//! sleeps or reads a clock.

#[cfg(doctest)]
#[doc = include_str!("../../docs/BACKOFF.md")]
struct Page;

mod growth;
mod jitter;
mod retry;
mod waits;

use std::time::Duration;

use rand::{Rng, RngExt};

use self::growth::{Growth, WaitFn, scaled};
pub use self::jitter::Jitter;
pub(crate) use self::retry::Retry;
pub use self::waits::Waits;
use crate::classify::Verdict;
use crate::settings::invalid_setting::{InvalidSetting, ensure, valid};

/// The wait before the next attempt, or before an open circuit is probed again.
///
/// | formula | the wait before retry n, counted from 0 | jitter by default |
/// |---|---|---|
/// | [`fixed`](Self::fixed) | wait | none |
/// | [`linear`](Self::linear) | first + n × step | full |
/// | [`exponential`](Self::exponential) | first × 2ⁿ, or another [`factor`](Self::factor) | full |
/// | [`fibonacci`](Self::fibonacci) | first × 1, 1, 2, 3, 5, 8 … | full |
/// | [`decorrelated`](Self::decorrelated) | random, up to three times the last wait | its own |
/// | [`custom`](Self::custom) | what your function returns | none |
///
/// `max` is the longest wait, with jitter. No number of retries overflows.
/// [docs/BACKOFF.md](https://docs.rs/crate/tower-rampart/latest/source/docs/BACKOFF.md) helps to choose, and [`Jitter`]
/// lists what is drawn from where.
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
/// // Between 0.8 and 1.2 seconds.
/// let steady = Backoff::fixed(Duration::from_secs(1)).jitter(Jitter::Proportional(0.2));
/// assert_eq!(steady.ceiling(0), Duration::from_millis(1_200));
/// ```
///
#[doc = include_str!("../../docs/backoff.svg")]
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    growth: Growth,
    /// The longest wait. `None` if the formula has none.
    max: Option<Duration>,
    jitter: Jitter,
}

/// How much longer than the last wait a decorrelated one can be.
const DECORRELATED: u8 = 3;

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
        Self::growing(Growth::Exponential { first, factor: 2.0 }, first, max)
    }

    /// Adds `step` to the wait with every retry, from `first` up to `max`, with [`Jitter::Full`]. Finagle's
    /// `Backoff.linear` grows so, without jitter.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::Backoff;
    ///
    /// let ms = Duration::from_millis;
    /// let backoff = Backoff::linear(ms(100), ms(50), ms(1_000));
    /// assert_eq!([0, 1, 2, 99].map(|retry| backoff.ceiling(retry)), [ms(100), ms(150), ms(200), ms(1_000)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If `first` or `step` is zero, or `first` is longer than `max`.
    #[must_use]
    #[track_caller]
    pub fn linear(first: Duration, step: Duration, max: Duration) -> Self {
        valid(Self::try_linear(first, step, max))
    }

    /// [`linear`](Self::linear), with an error in place of a panic.
    pub fn try_linear(first: Duration, step: Duration, max: Duration) -> Result<Self, InvalidSetting> {
        ensure!(!step.is_zero(), "Backoff: the step must not be zero");
        Self::growing(Growth::Linear { first, step }, first, max)
    }

    /// Multiplies `first` by the Fibonacci numbers 1, 1, 2, 3, 5, 8 … up to `max`, with [`Jitter::Full`]. Grows by a
    /// factor of 1.6 in the long run, and more slowly at first. The crates backon and tokio-retry have the same,
    /// without jitter.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::Backoff;
    ///
    /// let backoff = Backoff::fibonacci(Duration::from_millis(100), Duration::from_secs(1));
    /// let millis = [0, 1, 2, 3, 4, 5, 99].map(|retry| backoff.ceiling(retry).as_millis());
    /// assert_eq!(millis, [100, 100, 200, 300, 500, 800, 1_000]);
    /// ```
    ///
    /// # Panics
    ///
    /// If `first` is zero or longer than `max`.
    #[must_use]
    #[track_caller]
    pub fn fibonacci(first: Duration, max: Duration) -> Self {
        valid(Self::try_fibonacci(first, max))
    }

    /// [`fibonacci`](Self::fibonacci), with an error in place of a panic.
    pub fn try_fibonacci(first: Duration, max: Duration) -> Result<Self, InvalidSetting> {
        Self::growing(Growth::Fibonacci { first }, first, max)
    }

    /// Draws each wait between `first` and three times the last one, at most `max`. The same as
    /// [`exponential(first, max)`](Self::exponential) with [`Jitter::Decorrelated`], which takes the place of the
    /// formula. From [Exponential Backoff And Jitter][aws], where it is called "decorrelated jitter".
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::Backoff;
    ///
    /// let (first, max) = (Duration::from_millis(100), Duration::from_secs(5));
    /// let waits: Vec<_> = Backoff::decorrelated(first, max).waits().take(9).collect();
    /// assert!(waits.windows(2).all(|pair| pair[1] >= first && pair[1] <= max.min(3 * pair[0])));
    /// ```
    ///
    /// [aws]: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    ///
    /// # Panics
    ///
    /// If `first` is zero or longer than `max`.
    #[must_use]
    #[track_caller]
    pub fn decorrelated(first: Duration, max: Duration) -> Self {
        valid(Self::try_decorrelated(first, max))
    }

    /// [`decorrelated`](Self::decorrelated), with an error in place of a panic.
    pub fn try_decorrelated(first: Duration, max: Duration) -> Result<Self, InvalidSetting> {
        Ok(Self { jitter: Jitter::Decorrelated, ..Self::try_exponential(first, max)? })
    }

    /// The same wait every time, without jitter. It is no cap: jitter that adds to a wait exceeds it.
    #[must_use]
    pub const fn fixed(wait: Duration) -> Self {
        Self { growth: Growth::Constant(wait), max: None, jitter: Jitter::None }
    }

    /// No wait at all.
    #[must_use]
    pub const fn none() -> Self {
        Self::fixed(Duration::ZERO)
    }

    /// Calls a function for each wait, and adds neither cap nor jitter by itself. Its arguments are:
    ///
    /// - the number of the retry, counted from 0;
    /// - the verdict on the attempt that failed. [`waits`](Self::waits) and [`ceiling`](Self::ceiling) have none;
    /// - the wait before the retry before it, if there was one.
    ///
    /// A hint of the server beats the function. The function should be quick and depend on nothing but its arguments
    /// and a random generator of its own: it may run more often than there are waits.
    ///
    /// As the [open time](crate::CircuitBreakerLayer::open_for) of a breaker it gets the number of openings since the
    /// breaker was last closed, no verdict, because no single call opens a breaker, and the last open time. It runs
    /// outside of all locks. If it panics, the breaker does not open, and the panic reaches the call that would have
    /// opened it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::classify::Health;
    /// use tower_rampart::retry::{Backoff, Jitter};
    ///
    /// // Long waits after 429 Too Many Requests, short ones after anything else.
    /// let backoff = Backoff::custom(|retry, verdict, _last| {
    ///     let throttled = verdict.is_some_and(|verdict| verdict.health() == Health::Throttled);
    ///     let first = Duration::from_millis(if throttled { 1_000 } else { 50 });
    ///     first.saturating_mul(retry.saturating_add(1)).min(Duration::from_secs(5))
    /// });
    /// assert_eq!(backoff.ceiling(2), Duration::from_millis(150));
    /// let spread = backoff.jitter(Jitter::Full);
    /// # let _ = spread;
    /// ```
    #[must_use]
    pub fn custom(wait: impl Fn(u32, Option<&Verdict>, Option<Duration>) -> Duration + Send + Sync + 'static) -> Self {
        Self { growth: Growth::Custom(WaitFn::new(wait)), max: None, jitter: Jitter::None }
    }

    /// Multiplies the wait by `factor` with every retry, instead of 2.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::Backoff;
    ///
    /// // The connection backoff of gRPC grows by 1.6, from one second to two minutes.
    /// let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(120)).factor(1.6);
    /// assert_eq!(backoff.ceiling(1), Duration::from_millis(1_600));
    /// ```
    ///
    /// # Panics
    ///
    /// If `factor` is below 1 or not finite, or if the backoff is not [exponential](Self::exponential).
    #[must_use]
    #[track_caller]
    pub fn factor(self, factor: f64) -> Self {
        valid(self.try_factor(factor))
    }

    /// [`factor`](Self::factor), with an error in place of a panic.
    pub fn try_factor(mut self, factor: f64) -> Result<Self, InvalidSetting> {
        ensure!(factor.is_finite() && factor >= 1.0, "Backoff: the factor must be at least 1, but is {factor}");
        let Growth::Exponential { first, .. } = self.growth else {
            return Err(InvalidSetting::new("Backoff: only an exponential one has a factor".to_owned()));
        };
        self.growth = Growth::Exponential { first, factor };
        Ok(self)
    }

    /// Sets how much of each wait is random. Default: [`Jitter::Full`] where waits grow, and none for fixed and custom
    /// waits.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::retry::{Backoff, Jitter};
    ///
    /// // Half of each wait is certain.
    /// let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5)).jitter(Jitter::Equal);
    /// assert!(backoff.waits().next() >= Some(Duration::from_millis(50)));
    /// ```
    ///
    /// # Panics
    ///
    /// If a share is not from 0 to 1.
    #[must_use]
    #[track_caller]
    pub fn jitter(self, jitter: Jitter) -> Self {
        valid(self.try_jitter(jitter))
    }

    /// [`jitter`](Self::jitter), with an error in place of a panic.
    pub fn try_jitter(self, jitter: Jitter) -> Result<Self, InvalidSetting> {
        jitter.check()?;
        Ok(Self { jitter, ..self })
    }

    /// Returns the longest wait before retry number `retry`, counted from 0.
    #[must_use]
    pub fn ceiling(&self, retry: u32) -> Duration {
        self.longest(&Retry::new(retry))
    }

    fn growing(growth: Growth, first: Duration, max: Duration) -> Result<Self, InvalidSetting> {
        ensure!(!first.is_zero(), "Backoff: the first wait must not be zero");
        ensure!(first <= max, "Backoff: the first wait, {first:?}, is longer than the longest, {max:?}");
        Ok(Self { growth, max: Some(max), jitter: Jitter::Full })
    }

    /// Returns true if the waits have no jitter and do not grow, unless the user's own function makes them.
    pub(crate) fn is_steady(&self) -> bool {
        self.growth.is_flat() && self.jitter == Jitter::None
    }

    /// Returns the longest wait before a retry, whatever the last wait was.
    pub(crate) fn longest(&self, retry: &Retry) -> Duration {
        match (self.jitter, self.max, self.growth.first()) {
            (Jitter::Decorrelated, Some(max), Some(first)) => {
                scaled(first, f64::from(DECORRELATED).powf(f64::from(retry.number) + 1.0)).min(max)
            }
            _ => self.capped(self.range(&Retry { spread: Duration::ZERO, ..*retry }).1),
        }
    }

    /// Returns the wait before a retry.
    pub(crate) fn wait(&self, retry: &Retry, rng: &mut impl Rng) -> Duration {
        let (least, most) = self.range(retry);
        self.capped(if self.jitter == Jitter::None { most } else { rng.random_range(least..=most) })
    }

    /// As [`wait`](Self::wait), but at least half of the ceiling: a circuit that is probed at once protects no one.
    /// `custom` is what [`custom_wait`](Self::custom_wait) has returned.
    pub(crate) fn wait_at_least_half(&self, retry: u32, custom: Option<Duration>, rng: &mut impl Rng) -> Duration {
        if let Some(wait) = custom {
            return Self { growth: Growth::Constant(wait), ..*self }.wait_at_least_half(retry, None, rng);
        }
        let most = self.ceiling(retry);
        let least = match self.jitter {
            Jitter::None => return most,
            Jitter::Decorrelated => most / 2,
            _ => self.range(&Retry::new(retry)).0.max(most / 2),
        };
        rng.random_range(least..=most)
    }

    /// Calls the user's function, if there is one, for a retry of this number after this wait.
    pub(crate) fn custom_wait(&self, retry: impl FnOnce() -> (u32, Option<Duration>)) -> Option<Duration> {
        let Growth::Custom(function) = &self.growth else { return None };
        let (number, last_wait) = retry();
        Some(function.call(&Retry { last_wait, ..Retry::new(number) }))
    }

    /// The shortest and the longest wait that can be drawn, before the last cap.
    fn range(&self, retry: &Retry) -> (Duration, Duration) {
        let wait = self.growth.wait(retry);
        let wait = self.max.map_or(wait, |max| wait.min(self.jitter.cap(max)));
        let spread = retry.spread.min(self.max.unwrap_or(wait));
        match (self.jitter, self.max, self.growth.first()) {
            (Jitter::Full, ..) => (Duration::ZERO, wait.max(spread)),
            (Jitter::Equal, ..) => (wait.max(spread) / 2, wait.max(spread)),
            (Jitter::Proportional(share), ..) => (scaled(wait, 1.0 - share), scaled(wait, 1.0 + share).max(spread)),
            (Jitter::OnTop(share), ..) => (wait, scaled(wait, 1.0 + share).max(spread)),
            (Jitter::Decorrelated, Some(max), Some(first)) => {
                let last = retry.last_wait.unwrap_or(first).clamp(first, max);
                (first, last.saturating_mul(DECORRELATED.into()).max(spread))
            }
            (Jitter::Decorrelated | Jitter::None, ..) => (wait, wait),
        }
    }

    fn capped(&self, wait: Duration) -> Duration {
        self.max.map_or(wait, |max| wait.min(max))
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
        // Nothing but the last wait counts: not the number of the retry, and a last wait of zero is a transparent
        // retry.
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
            let wait = backoff.wait_at_least_half(1, None, &mut rng);
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
