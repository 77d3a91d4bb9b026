//! What the rules judge of a configuration.

use std::path::Path;
use std::time::Duration;

use tower_rampart::breaker::Mode;
use tower_rampart::config::{
    BackoffConfig, BudgetConfig, Config, HumanDuration, NameConfig, OutageConfig, RatioConfig, SlowCallsConfig,
    WindowConfig,
};

use super::numbers::time;
use super::{Facts, Row, Settings, SlowCalls, Tokens, Waits};
use crate::scenario::{ScenarioError, toml_file};

/// Reads a configuration in TOML, as `docs/CONFIG.md` describes it, for [`Settings::of`].
///
/// # Errors
///
/// If there is no such file, a field is wrong, or a setter rejects its value.
pub fn read(path: &Path) -> Result<Config, ScenarioError> {
    let (file, text) = toml_file::read(path)?;
    let config: Config = toml_file::parse(&file, &text)?;
    config.check().map_err(|error| ScenarioError::new(&file, "", error))?;
    Ok(config)
}

impl Settings {
    /// Returns what is judged of the settings of a name, which [`Config::settings`] returns.
    ///
    /// A window of calls counts as the time that so many calls take. A budget counts as the retries that it allows for
    /// every call while all calls fail, and those that it saves. A breaker that is not in the automatic mode counts as
    /// none.
    ///
    /// ```
    /// use rampart_sim::lint::{Facts, Settings, lint};
    /// use tower_rampart::config::Config;
    ///
    /// let config = Config::read(toml::Deserializer::parse("breaker.open_for.fixed.wait = '30s'")?)?;
    /// let facts = Facts::new(50, 200.0, 12_500.0);
    /// let findings = lint(&Settings::of(&config.settings("billing"), &facts), &facts);
    /// assert!(findings.iter().any(|finding| finding.setting == "open_for"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`Config::settings`]: tower_rampart::config::Config::settings
    #[must_use]
    pub fn of(config: &NameConfig, facts: &Facts) -> Self {
        let (retry, breaker) = (&config.retry, &config.breaker);
        let default = Self::default();
        Self {
            max_attempts: retry.max_attempts.unwrap_or(default.max_attempts),
            backoff: retry.backoff.as_ref().and_then(waits).unwrap_or(default.backoff),
            attempt_timeout: retry.attempt_timeout.map(|timeout| timeout.0),
            deadline: retry.deadline.map(|deadline| deadline.0),
            budget: retry.budget.as_ref().map_or(default.budget, |budget| tokens(budget, facts)),
            no_budget: retry.budget == Some(BudgetConfig::Unlimited),
            breaker: breaker.mode.unwrap_or_default() == Mode::Automatic,
            forced_open: breaker.mode == Some(Mode::ForcedOpen),
            window: breaker.window.as_ref().and_then(|window| length(window, facts)),
            minimum_calls: breaker.minimum_calls.or_else(|| breaker.window.as_ref().and_then(fitting_minimum)),
            failure_rate: breaker.failure_rate.unwrap_or(default.failure_rate),
            consecutive_failures: breaker.consecutive_failures,
            outage: breaker.outage.as_ref().and_then(row),
            no_outage: breaker.no_outage.unwrap_or(default.no_outage),
            slow_calls: breaker.slow_calls.as_ref().and_then(slow_calls),
            open_for: breaker.open_for.as_ref().and_then(waits).unwrap_or(default.open_for),
            half_open_max_calls: breaker.half_open_max_calls.unwrap_or(default.half_open_max_calls),
            success_threshold: breaker.success_threshold.unwrap_or(default.success_threshold),
        }
    }
}

// What is missing below has been an error since the file was checked.

fn waits(backoff: &BackoffConfig) -> Option<Waits> {
    let (first, max) = match backoff {
        BackoffConfig::Fixed(fixed) => (fixed.wait, fixed.wait),
        BackoffConfig::Linear(linear) => (linear.first, linear.max),
        BackoffConfig::Exponential(exponential) => (exponential.first, exponential.max),
        BackoffConfig::Fibonacci(growing) | BackoffConfig::Decorrelated(growing) => (growing.first, growing.max),
        _ => (None, None),
    };
    Some(Waits { first: first?.0, max: max?.0 })
}

fn tokens(budget: &BudgetConfig, facts: &Facts) -> Tokens {
    let default = Tokens::default();
    match budget {
        BudgetConfig::Ratio(RatioConfig { ratio, reserve, ttl, min_per_second, .. }) => Tokens {
            ratio: ratio.unwrap_or(default.ratio),
            reserve: reserve.unwrap_or(default.reserve),
            ttl: ttl.map_or(default.ttl, |ttl| ttl.0),
            min_per_second: min_per_second.unwrap_or(default.min_per_second),
        },
        // Without successes they end, and half of the tokens is what they have until then.
        BudgetConfig::Grpc(grpc) => saved(grpc.max_tokens.unwrap_or(0) / 2),
        BudgetConfig::AwsStandard => saved(AWS_RETRIES),
        // Those that are always allowed follow each other as fast as the upstream answers.
        BudgetConfig::Concurrent(concurrent) => Tokens {
            ratio: concurrent.percent.unwrap_or(0.0) / 100.0,
            reserve: 0,
            ttl: Duration::ZERO,
            min_per_second: (f64::from(concurrent.minimum.unwrap_or(0)) / facts.typical_latency.as_secs_f64()) as u32,
        },
        _ => default,
    }
}

/// 500 tokens, of which a retry takes five.
const AWS_RETRIES: u32 = 100;

fn saved(reserve: u32) -> Tokens {
    Tokens { ratio: 0.0, reserve, ttl: Duration::MAX, min_per_second: 0 }
}

fn length(window: &WindowConfig, facts: &Facts) -> Option<Duration> {
    match window {
        WindowConfig::Time(window) => window.length.map(|HumanDuration(length)| length),
        WindowConfig::Count(window) => Some(time(f64::from(window.calls?) / facts.calls_per_second)),
        _ => None,
    }
}

/// The default of the minimum, where a window of fewer calls lowers it.
fn fitting_minimum(window: &WindowConfig) -> Option<u32> {
    match window {
        WindowConfig::Count(window) => window.calls.map(|calls| calls.min(super::settings::DEFAULT_MINIMUM)),
        _ => None,
    }
}

fn row(outage: &OutageConfig) -> Option<Row> {
    Some(Row { failures: outage.failures?, lasting: outage.lasting?.0 })
}

fn slow_calls(slow: &SlowCallsConfig) -> Option<SlowCalls> {
    Some(SlowCalls { limit: slow.limit?.0, rate: slow.rate? })
}
