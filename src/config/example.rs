//! A configuration in which every field is set.

use super::fields::millis;
use super::{
    AbandonedConfig, BackoffConfig, BreakerConfig, BudgetConfig, ClassifyConfig, CodeConfig, Config,
    DeadlineHeaderConfig, ExponentialConfig, GuardConfig, HedgeConfig, NameConfig, OutageConfig, Preset, RampConfig,
    RatioConfig, RetryConfig, SlowCallsConfig, StatusConfig, TimeWindowConfig, VerdictConfig, WindowConfig,
};
use crate::breaker::Mode;
use crate::classify::{Class, Health, Processed};
use crate::retry::Jitter;

impl Config {
    /// Returns a configuration in which every field is set, to begin a file with:
    ///
    /// ```
    /// use tower_rampart::config::Config;
    ///
    /// println!("{}", toml::to_string(&Config::example())?);
    /// # Ok::<(), toml::ser::Error>(())
    /// ```
    ///
    /// Its values are valid, and no advice: delete what you do not mean to change.
    #[must_use]
    pub fn example() -> Self {
        let name = NameConfig {
            preset: Some(Preset::Batch),
            retry: RetryConfig { max_attempts: Some(5), ..RetryConfig::default() },
            ..NameConfig::default()
        };
        Self {
            preset: Some(Preset::ThirdPartyApi),
            classify: classify(),
            retry: retry(),
            breaker: breaker(),
            per_name: [("billing".to_owned(), name)].into(),
        }
    }
}

fn classify() -> ClassifyConfig {
    let verdict = VerdictConfig {
        class: Class::Transient,
        processed: Some(Processed::No),
        health: Some(Health::Throttled),
        should_retry: Some(true),
        retry_after: Some(millis(1_000)),
    };
    ClassifyConfig {
        statuses: Some(vec![StatusConfig { first: 520, last: Some(529), verdict: verdict.clone() }]),
        rate_limit_reset: Some(true),
        codes: Some(vec![CodeConfig { code: 10, verdict }]),
        distrust_refusals: Some(true),
    }
}

fn retry() -> RetryConfig {
    RetryConfig {
        max_attempts: Some(3),
        backoff: Some(exponential(100, 5_000)),
        attempt_timeout: Some(millis(2_000)),
        deadline: Some(millis(90_000)),
        deadline_header: Some(DeadlineHeaderConfig::Milliseconds("x-request-timeout-ms".to_owned())),
        guard: Some(GuardConfig { max_depth: Some(1), attempt_header: Some("x-retry-attempt".to_owned()) }),
        budget: Some(BudgetConfig::Ratio(RatioConfig {
            ratio: Some(0.2),
            reserve: Some(10),
            capacity: Some(100),
            ttl: Some(millis(2_000)),
            min_per_second: Some(1),
        })),
        max_partitions: Some(10_000),
        max_retry_after: Some(millis(60_000)),
        clamp_retry_after: Some(false),
        max_replay_bytes: Some(65_536),
        retry_circuit_open: Some(false),
        distrust_refusals: Some(true),
        hedge: Some(HedgeConfig::Quantile(0.95)),
    }
}

fn breaker() -> BreakerConfig {
    BreakerConfig {
        window: Some(WindowConfig::Time(TimeWindowConfig { length: Some(millis(10_000)), buckets: Some(10) })),
        minimum_calls: Some(20),
        failure_rate: Some(0.9),
        slow_calls: Some(SlowCallsConfig { limit: Some(millis(1_000)), rate: Some(0.9) }),
        consecutive_failures: Some(50),
        outage: Some(OutageConfig { failures: Some(10), lasting: Some(millis(2_000)) }),
        no_outage: Some(false),
        open_for: Some(exponential(1_000, 2_000)),
        honor_retry_after: Some(millis(60_000)),
        half_open_max_calls: Some(3),
        success_threshold: Some(1),
        probe_lease: Some(millis(30_000)),
        ramp: Some(RampConfig { shares: Some(vec![0.05, 0.25, 0.5]), calls: Some(20) }),
        abandoned: Some(AbandonedConfig::FailureAfter(millis(1_000))),
        mode: Some(Mode::ObserveOnly),
        max_partitions: Some(10_000),
        minimum_children: Some(3),
        redact_labels: Some(true),
        flight_recorder: Some(4_096),
        distrust_refusals: Some(true),
    }
}

fn exponential(first: u64, max: u64) -> BackoffConfig {
    BackoffConfig::Exponential(ExponentialConfig {
        first: Some(millis(first)),
        max: Some(millis(max)),
        factor: Some(2.0),
        jitter: Some(Jitter::Full),
    })
}
