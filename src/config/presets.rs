//! What the presets set.

use super::fields::millis;
use super::{
    BackoffConfig, BreakerConfig, BudgetConfig, Config, ExponentialConfig, NameConfig, OutageConfig, Preset,
    RatioConfig, RetryConfig,
};

impl Preset {
    /// Returns what the preset sets.
    #[must_use]
    pub fn settings(self) -> NameConfig {
        let (retry, breaker) = match self {
            Self::FastInternal => fast_internal(),
            Self::ThirdPartyApi => third_party_api(),
            Self::Batch => batch(),
        };
        NameConfig { retry, breaker, ..NameConfig::default() }
    }
}

impl From<Preset> for Config {
    fn from(preset: Preset) -> Self {
        Self { preset: Some(preset), ..Self::default() }
    }
}

fn fast_internal() -> (RetryConfig, BreakerConfig) {
    let retry = RetryConfig {
        max_attempts: Some(2),
        attempt_timeout: Some(millis(250)),
        deadline: Some(millis(1_000)),
        backoff: Some(exponential(25, 250)),
        budget: Some(BudgetConfig::Ratio(RatioConfig { ratio: Some(0.1), ..RatioConfig::default() })),
        ..RetryConfig::default()
    };
    let breaker = BreakerConfig {
        outage: Some(OutageConfig { failures: Some(10), lasting: Some(millis(1_000)) }),
        open_for: Some(exponential(500, 1_000)),
        ..BreakerConfig::default()
    };
    (retry, breaker)
}

fn third_party_api() -> (RetryConfig, BreakerConfig) {
    let budget = RatioConfig { ratio: Some(0.2), ttl: Some(millis(10_000)), ..RatioConfig::default() };
    let retry = RetryConfig {
        max_attempts: Some(4),
        attempt_timeout: Some(millis(10_000)),
        deadline: Some(millis(30_000)),
        backoff: Some(exponential(500, 10_000)),
        budget: Some(BudgetConfig::Ratio(budget)),
        ..RetryConfig::default()
    };
    let breaker = BreakerConfig {
        open_for: Some(exponential(1_000, 10_000)),
        honor_retry_after: Some(millis(60_000)),
        ..BreakerConfig::default()
    };
    (retry, breaker)
}

fn batch() -> (RetryConfig, BreakerConfig) {
    let retry = RetryConfig {
        max_attempts: Some(20),
        attempt_timeout: Some(millis(60_000)),
        deadline: Some(millis(3_600_000)),
        backoff: Some(exponential(1_000, 120_000)),
        budget: Some(BudgetConfig::Unlimited),
        max_retry_after: Some(millis(300_000)),
        retry_circuit_open: Some(true),
        ..RetryConfig::default()
    };
    let breaker = BreakerConfig { open_for: Some(exponential(1_000, 30_000)), ..BreakerConfig::default() };
    (retry, breaker)
}

fn exponential(first: u64, max: u64) -> BackoffConfig {
    BackoffConfig::Exponential(ExponentialConfig {
        first: Some(millis(first)),
        max: Some(millis(max)),
        ..ExponentialConfig::default()
    })
}
