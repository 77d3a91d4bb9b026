use std::time::Duration;

use tower_rampart::breaker::Window;
use tower_rampart::retry::{Backoff, Budget};
use tower_rampart::{CircuitBreakerLayer, InvalidSetting, RetryLayer};

/// The settings of both layers that [`lint`](super::lint) judges, with the names and defaults of their builders.
///
/// ```
/// use rampart_sim::lint::Settings;
///
/// let settings = Settings { max_attempts: 4, ..Settings::default() };
/// let layers = (settings.retry_layer()?, settings.breaker_layer()?);
/// # let _ = layers;
/// # Ok::<(), tower_rampart::InvalidSetting>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Attempts of one call, the first included.
    pub max_attempts: u32,
    /// The waits between them.
    pub backoff: Waits,
    /// What cuts one attempt.
    pub attempt_timeout: Option<Duration>,
    /// What cuts the call.
    pub deadline: Option<Duration>,
    /// What limits the retries of all calls.
    pub budget: Tokens,
    /// Whether nothing does.
    pub no_budget: bool,
    /// Whether there is a breaker, inside of the retries.
    pub breaker: bool,
    /// Whether the breaker rejects every call instead.
    pub forced_open: bool,
    /// The time over which the breaker counts calls. `None` is the default of the builder, 10 s.
    pub window: Option<Duration>,
    /// With fewer calls in the window the rate is not judged. `None` is the default of the builder, 20.
    pub minimum_calls: Option<u32>,
    /// The share of failures that opens the breaker.
    pub failure_rate: f64,
    /// So many failures in a row open it, too.
    pub consecutive_failures: Option<u32>,
    /// A row of failures that lasts opens it, too. `None` is the default of the builder: ten, or as many as the
    /// minimum, over 2 s, or none with `consecutive_failures`.
    pub outage: Option<Row>,
    /// Whether no row does.
    pub no_outage: bool,
    /// A share of slow calls opens it, too.
    pub slow_calls: Option<SlowCalls>,
    /// How long it stays open.
    pub open_for: Waits,
    /// Calls that a half-open breaker admits at once.
    pub half_open_max_calls: u32,
    /// Successes that close it.
    pub success_threshold: u32,
}

/// Waits that double from the first up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The first wait.
    pub first: Duration,
    /// The longest wait. If it is the first, all are the same, without jitter.
    pub max: Duration,
}

/// The settings of a [`Budget`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tokens {
    /// Retries for every call, over time.
    pub ratio: f64,
    /// Retries that can be made before any call has paid for them.
    pub reserve: u32,
    /// How long tokens last.
    pub ttl: Duration,
    /// Retries a second beside the ratio.
    pub min_per_second: u32,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// How many.
    pub failures: u32,
    /// The least time from the first to the last.
    pub lasting: Duration,
}

/// When slow calls open the breaker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowCalls {
    /// Longer calls are slow.
    pub limit: Duration,
    /// The share of slow calls that opens it.
    pub rate: f64,
}

// What the builders take if nothing is set; the other defaults are below.
const DEFAULT_WINDOW: Duration = Duration::from_secs(10);
pub(super) const DEFAULT_MINIMUM: u32 = 20;
const DEFAULT_OUTAGE: Row = Row { failures: 10, lasting: Duration::from_secs(2) };
/// The most tokens of a budget.
const CAPACITY: f64 = 100.0;

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff: Waits { first: Duration::from_millis(100), max: Duration::from_secs(5) },
            attempt_timeout: None,
            deadline: None,
            budget: Tokens::default(),
            no_budget: false,
            breaker: true,
            forced_open: false,
            window: None,
            minimum_calls: None,
            failure_rate: 0.9,
            consecutive_failures: None,
            outage: None,
            no_outage: false,
            slow_calls: None,
            open_for: Waits { first: Duration::from_secs(1), max: Duration::from_secs(2) },
            half_open_max_calls: 3,
            success_threshold: 1,
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self { ratio: 0.2, reserve: 10, ttl: Duration::from_secs(2), min_per_second: 0 }
    }
}

impl Settings {
    /// Builds the retry layer.
    ///
    /// # Errors
    ///
    /// Returns the setting that the builder rejects.
    pub fn retry_layer(&self) -> Result<RetryLayer, InvalidSetting> {
        let mut layer =
            RetryLayer::new_for_http().try_max_attempts(self.max_attempts)?.backoff(self.backoff.backoff()?);
        if let Some(timeout) = self.attempt_timeout {
            layer = layer.try_attempt_timeout(timeout)?;
        }
        if let Some(deadline) = self.deadline {
            layer = layer.try_deadline(deadline)?;
        }
        let Tokens { ratio, reserve, ttl, min_per_second } = self.budget;
        let budget = Budget::try_ratio(ratio)?.reserve(reserve).ttl(ttl).min_per_second(min_per_second);
        Ok(layer.budget(if self.no_budget { Budget::unlimited() } else { budget }))
    }

    /// Builds the breaker's layer, or returns `None` if there is no breaker.
    ///
    /// # Errors
    ///
    /// Returns the setting that the builder rejects.
    pub fn breaker_layer(&self) -> Result<Option<CircuitBreakerLayer>, InvalidSetting> {
        if !self.breaker {
            return Ok(None);
        }
        let mut layer = CircuitBreakerLayer::new_for_http()
            .try_failure_rate(self.failure_rate)?
            .try_open_for(self.open_for.backoff()?)?
            .try_half_open_max_calls(self.half_open_max_calls)?
            .try_success_threshold(self.success_threshold)?;
        if let Some(window) = self.window {
            layer = layer.try_window(Window::try_time(window)?)?;
        }
        if let Some(calls) = self.minimum_calls {
            layer = layer.try_minimum_calls(calls)?;
        }
        if let Some(failures) = self.consecutive_failures {
            layer = layer.try_consecutive_failures(failures)?;
        }
        if let Some(Row { failures, lasting }) = self.outage {
            layer = layer.try_outage(failures, lasting)?;
        }
        if self.no_outage {
            layer = layer.no_outage();
        }
        if let Some(SlowCalls { limit, rate }) = self.slow_calls {
            layer = layer.try_slow_calls(limit, rate)?;
        }
        Ok(Some(layer))
    }

    pub(super) fn window(&self) -> Duration {
        self.window.unwrap_or(DEFAULT_WINDOW)
    }

    /// The row of failures that the breaker takes for an outage.
    pub(super) fn outage(&self) -> Option<Row> {
        let default = || {
            let failures = DEFAULT_OUTAGE.failures.max(self.minimum_calls.unwrap_or(0));
            self.consecutive_failures.is_none().then_some(Row { failures, ..DEFAULT_OUTAGE })
        };
        if self.no_outage { None } else { self.outage.or_else(default) }
    }

    pub(super) fn minimum(&self) -> u32 {
        self.minimum_calls.unwrap_or(DEFAULT_MINIMUM)
    }

    /// Retries for every call, over time, while all calls fail.
    pub(super) fn retries(&self, calls_per_second: f64) -> f64 {
        let attempts = f64::from(self.max_attempts) - 1.0;
        let Tokens { ratio, min_per_second, .. } = self.budget;
        if self.no_budget { attempts } else { (ratio + f64::from(min_per_second) / calls_per_second).min(attempts) }
    }

    /// What cuts an attempt first, by the name of its setting.
    pub(super) fn cut(&self) -> Option<(&'static str, Duration)> {
        let cuts = [("attempt_timeout", self.attempt_timeout), ("deadline", self.deadline)];
        cuts.into_iter().filter_map(|(setting, time)| Some((setting, time?))).min_by_key(|(_, time)| *time)
    }
}

impl Tokens {
    /// The tokens that a process has saved after a time without retries, with so many calls a second.
    pub(super) fn saved(&self, calls_per_second: f64) -> f64 {
        let ttl = self.ttl.as_secs_f64();
        let beside = f64::from(self.min_per_second) * ttl.max(1.0);
        (self.ratio * calls_per_second * ttl).max(beside).clamp(1.0, CAPACITY)
    }

    /// The tokens of the start that a process still holds in an outage of this length, if it began with the last one.
    pub(super) fn lasting_reserve(&self, outage: Duration) -> f64 {
        if self.ttl > outage { self.reserve.into() } else { 0.0 }
    }
}

impl Waits {
    /// Always the same wait.
    #[must_use]
    pub const fn fixed(wait: Duration) -> Self {
        Self { first: wait, max: wait }
    }

    fn backoff(self) -> Result<Backoff, InvalidSetting> {
        if self.first == self.max {
            Ok(Backoff::fixed(self.first))
        } else {
            Backoff::try_exponential(self.first, self.max)
        }
    }
}
