//! What is judged of a configuration.

use std::time::Duration;

use rampart_sim::lint::{Facts, Row, Settings, SlowCalls, Tokens, Waits, lint};
use tower_rampart::config::{Config, NameConfig, Preset};
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

use super::{SECOND, facts};

#[test]
fn defaults_are_those_of_the_builders() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _clock = runtime.enter();
    let ours = Settings::default();
    assert_eq!(format!("{:?}", ours.retry_layer().unwrap()), format!("{:?}", RetryLayer::new_for_http()));
    let breaker = ours.breaker_layer().unwrap().unwrap();
    assert_eq!(format!("{breaker:?}"), format!("{:?}", CircuitBreakerLayer::new_for_http()));
}

#[test]
fn a_configuration_without_fields_is_the_defaults() {
    assert_eq!(Settings::of(&NameConfig::default(), &facts()), Settings::default());
}

#[test]
fn a_configuration_is_judged_by_what_its_layers_do() {
    let settings = |text: &str| {
        let config = Config::read(toml::Deserializer::parse(text).unwrap()).unwrap();
        // Ten calls a second.
        Settings::of(&config.settings("billing"), &Facts::new(200, 10.0, 2_500.0))
    };
    let default = Settings::default();
    let all = settings(
        "
        [retry]
        max_attempts = 4
        backoff.fixed.wait = '250ms'
        attempt_timeout = '1s'
        deadline = '10s'
        budget.ratio = { ratio = 0.5, reserve = 3, ttl = '1m', min_per_second = 4 }
        [breaker]
        window.time.length = '30s'
        minimum_calls = 7
        failure_rate = 0.5
        consecutive_failures = 5
        outage = { failures = 6, lasting = '1s' }
        no_outage = true
        slow_calls = { limit = '1s', rate = 0.8 }
        half_open_max_calls = 4
        success_threshold = 2
        open_for.linear = { first = '1s', step = '2s', max = '90s' }
        [per_name.billing.retry]
        max_attempts = 5
    ",
    );
    let expected = Settings {
        max_attempts: 5,
        backoff: Waits::fixed(SECOND / 4),
        attempt_timeout: Some(SECOND),
        deadline: Some(10 * SECOND),
        budget: Tokens { ratio: 0.5, reserve: 3, ttl: 60 * SECOND, min_per_second: 4 },
        no_budget: false,
        breaker: true,
        forced_open: false,
        window: Some(30 * SECOND),
        minimum_calls: Some(7),
        failure_rate: 0.5,
        consecutive_failures: Some(5),
        outage: Some(Row { failures: 6, lasting: SECOND }),
        no_outage: true,
        slow_calls: Some(SlowCalls { limit: SECOND, rate: 0.8 }),
        open_for: Waits { first: SECOND, max: 90 * SECOND },
        half_open_max_calls: 4,
        success_threshold: 2,
    };
    assert_eq!(all, expected);

    // What the rules know in other words.
    let count = settings("breaker.window.count.calls = 15");
    assert_eq!((count.window, count.minimum_calls), (Some(3 * SECOND / 2), Some(15)));
    for mode in ["disabled", "observe_only", "forced_open", "reject_retries_only"] {
        assert!(!settings(&format!("breaker.mode = '{mode}'")).breaker, "{mode}");
    }
    let saved = |reserve| Tokens { ratio: 0.0, reserve, ttl: Duration::MAX, min_per_second: 0 };
    for (budget, tokens) in [
        ("grpc = { max_tokens = 10, token_ratio = 0.1 }", saved(5)),
        // Three at once, a tenth of a second each.
        (
            "concurrent = { percent = 20, minimum = 3 }",
            Tokens { ratio: 0.2, reserve: 0, ttl: Duration::ZERO, min_per_second: 30 },
        ),
        ("ratio.ratio = 0.1", Tokens { ratio: 0.1, ..Tokens::default() }),
    ] {
        assert_eq!(settings(&format!("retry.budget.{budget}")), Settings { budget: tokens, ..default }, "{budget}");
    }
    assert_eq!(settings("retry.budget = 'aws_standard'").budget, saved(100));
    assert_eq!(settings("retry.budget = 'unlimited'"), Settings { no_budget: true, ..default });
    let preset = settings("preset = 'fast_internal'");
    assert_eq!((preset.max_attempts, preset.deadline), (2, Some(SECOND)));
}

#[test]
fn presets_fit_what_they_are_for_and_batch_costs_what_the_docs_say() {
    let found = |preset: Preset, facts: Facts| {
        let settings = Settings::of(&Config::from(preset).settings("billing"), &facts);
        lint(&settings, &facts).iter().map(|finding| finding.setting).collect::<Vec<_>>()
    };
    assert_eq!(found(Preset::FastInternal, Facts::new(100, 20.0, 2_500.0)), [""; 0]);
    let api = Facts { typical_latency: 2 * SECOND, ..Facts::new(10, 5.0, 1_000.0) };
    assert_eq!(found(Preset::ThirdPartyApi, api), [""; 0]);
    let report = Facts { typical_latency: 10 * SECOND, ..Facts::new(20, 1.0, 25.0) };
    assert_eq!(found(Preset::Batch, report), ["budget", "open_for"]);
}
