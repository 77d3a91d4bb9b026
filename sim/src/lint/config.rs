//! What the rules judge of a configuration.

use std::time::Duration;

use tower_rampart::breaker::Mode;
use tower_rampart::config::{
    BackoffConfig, BudgetConfig, HumanDuration, NameConfig, OutageConfig, RatioConfig, WindowConfig,
};

use super::numbers::time;
use super::{Facts, Row, Settings, Tokens, Waits};

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
            budget: retry.budget.as_ref().map_or(default.budget, tokens),
            no_budget: retry.budget == Some(BudgetConfig::Unlimited),
            breaker: breaker.mode.unwrap_or_default() == Mode::Automatic,
            window: breaker.window.as_ref().and_then(|window| length(window, facts)),
            minimum_calls: breaker.minimum_calls.or_else(|| breaker.window.as_ref().and_then(fitting_minimum)),
            failure_rate: breaker.failure_rate.unwrap_or(default.failure_rate),
            consecutive_failures: breaker.consecutive_failures,
            outage: breaker.outage.as_ref().and_then(row),
            no_outage: breaker.no_outage.unwrap_or(default.no_outage),
            open_for: breaker.open_for.as_ref().and_then(waits).unwrap_or(default.open_for),
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

fn tokens(budget: &BudgetConfig) -> Tokens {
    let default = Tokens::default();
    match budget {
        BudgetConfig::Ratio(RatioConfig { ratio, reserve, ttl, .. }) => Tokens {
            ratio: ratio.unwrap_or(default.ratio),
            reserve: reserve.unwrap_or(default.reserve),
            ttl: ttl.map_or(default.ttl, |ttl| ttl.0),
        },
        // Without successes they end, and half of the tokens is what they have until then.
        BudgetConfig::Grpc(grpc) => saved(grpc.max_tokens.unwrap_or(0) / 2),
        BudgetConfig::AwsStandard => saved(AWS_RETRIES),
        BudgetConfig::Concurrent(concurrent) => {
            Tokens { ratio: concurrent.percent.unwrap_or(0.0) / 100.0, reserve: 0, ttl: Duration::ZERO }
        }
        _ => default,
    }
}

/// 500 tokens, of which a retry takes five.
const AWS_RETRIES: u32 = 100;

fn saved(reserve: u32) -> Tokens {
    Tokens { ratio: 0.0, reserve, ttl: Duration::MAX }
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
