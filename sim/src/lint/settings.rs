use std::time::Duration;

use serde::Deserialize;
use tower_rampart::breaker::Window;
use tower_rampart::retry::{Backoff, Budget};
use tower_rampart::{CircuitBreakerLayer, InvalidSetting, RetryLayer};

use super::text;

/// The settings of both layers that [`lint`](super::lint) judges, with the names and defaults of their builders.
///
/// In a file durations are written as in `"250ms"`, and waits as one duration or as `{ first = "1s", max = "5s" }`.
///
/// ```
/// use rampart_sim::lint::Settings;
///
/// let settings: Settings = serde_json::from_str(r#"{ "max_attempts": 4, "open_for": "30s" }"#)?;
/// let layers = (settings.retry_layer()?, settings.breaker_layer()?);
/// # let _ = layers;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Attempts of one call, the first included.
    pub max_attempts: u32,
    /// The waits between them.
    pub backoff: Waits,
    /// What cuts one attempt.
    #[serde(deserialize_with = "text::optional_duration")]
    pub attempt_timeout: Option<Duration>,
    /// What cuts the call.
    #[serde(deserialize_with = "text::optional_duration")]
    pub deadline: Option<Duration>,
    /// What limits the retries of all calls.
    pub budget: Tokens,
    /// Whether nothing does.
    pub no_budget: bool,
    /// Whether there is a breaker, inside of the retries.
    pub breaker: bool,
    /// The time over which the breaker counts calls.
    #[serde(deserialize_with = "text::duration")]
    pub window: Duration,
    /// With fewer calls in the window the rate is not judged. `None` is the default of the builder, 10.
    pub minimum_calls: Option<u32>,
    /// The share of failures that opens the breaker.
    pub failure_rate: f64,
    /// So many failures in a row open it, too.
    pub consecutive_failures: Option<u32>,
    /// How long it stays open.
    pub open_for: Waits,
}

/// Waits that double from the first up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "text::WaitsText")]
pub struct Waits {
    /// The first wait.
    pub first: Duration,
    /// The longest wait. If it is the first, all are the same, without jitter.
    pub max: Duration,
}

/// The settings of a [`Budget`].
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Retries for every call, over time.
    pub ratio: f64,
    /// Retries that can be made before any call has paid for them.
    pub reserve: u32,
}

const DEFAULT_MINIMUM: u32 = 10;

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
            window: Duration::from_secs(60),
            minimum_calls: None,
            failure_rate: 0.5,
            consecutive_failures: None,
            open_for: Waits { first: Duration::from_secs(30), max: Duration::from_secs(30) },
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self { ratio: 0.2, reserve: 10 }
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
        let budget = Budget::try_ratio(self.budget.ratio)?.reserve(self.budget.reserve);
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
            .try_window(Window::try_time(self.window)?)?
            .try_failure_rate(self.failure_rate)?
            .try_open_for(self.open_for.backoff()?)?;
        if let Some(calls) = self.minimum_calls {
            layer = layer.try_minimum_calls(calls)?;
        }
        if let Some(failures) = self.consecutive_failures {
            layer = layer.try_consecutive_failures(failures)?;
        }
        Ok(Some(layer))
    }

    pub(super) fn minimum(&self) -> u32 {
        self.minimum_calls.unwrap_or(DEFAULT_MINIMUM)
    }

    /// Retries for every call, over time, while all calls fail.
    pub(super) fn retries(&self) -> f64 {
        let attempts = f64::from(self.max_attempts) - 1.0;
        if self.no_budget { attempts } else { self.budget.ratio.min(attempts) }
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
