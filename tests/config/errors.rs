//! What is wrong in a file, and where.

use std::time::Duration;

use tower_rampart::breaker::State;
use tower_rampart::config::{Config, HumanDuration};

use super::{from_json, from_toml, rejects};

#[track_caller]
fn rejects_with(text: &str, message: &str, nearest: &str) {
    let error = from_toml(text).unwrap_err();
    assert_eq!(error.to_string(), format!("{message}; the nearest allowed value is {nearest}"));
    assert_eq!(error.nearest(), Some(nearest));
}

#[test]
fn unknown_fields_and_wrong_types_name_their_path() {
    rejects("[retry]\nmax_atempts = 3", "retry.max_atempts", "unknown field `max_atempts`");
    rejects("[rety]", "rety", "unknown field `rety`");
    rejects(
        "[per_name.billing.breaker.window.time]\nlong = '1s'",
        "per_name.billing.breaker.window.time.long",
        "unknown",
    );
    rejects("[retry]\nmax_attempts = '3'", "retry.max_attempts", "invalid type: string \"3\", expected u32");
    rejects("[retry]\nmax_attempts = -1", "retry.max_attempts", "expected u32");
    rejects("[retry]\nmax_attempts = 4294967296", "retry.max_attempts", "expected u32");
    rejects("[breaker]\nmode = 'off'", "breaker.mode", "unknown variant `off`, expected one of `automatic`");
    rejects("retry = 3", "retry", "invalid type");
    rejects("[retry.budget.tokens]", "retry.budget", "unknown variant `tokens`");
    let error = from_json(r#"{ "breaker": { "failure_rate": "high" } }"#).unwrap_err();
    assert_eq!(error.path(), "breaker.failure_rate");
}

#[test]
fn duplicate_keys_are_errors_in_every_format() {
    for text in [
        r#"{ "retry": {}, "retry": {} }"#,
        r#"{ "retry": { "max_attempts": 2, "max_attempts": 3 } }"#,
        r#"{ "per_name": { "billing": {}, "billing": {} } }"#,
    ] {
        let error = from_json(text).unwrap_err();
        assert!(error.to_string().contains("duplicate"), "{error}");
    }
    assert!(toml::Deserializer::parse("[retry]\n[retry]").map(Config::read).map_or(true, |read| read.is_err()));
}

#[test]
fn durations_have_units() {
    let deadline =
        |text: &str| from_toml(&format!("retry.deadline = {text}")).map(|config| config.retry.deadline.unwrap().0);
    for (text, millis) in [("'250ms'", 250), ("'1m30s'", 90_000), ("'1m 30s'", 90_000), ("'2h'", 7_200_000)] {
        assert_eq!(deadline(text).unwrap(), Duration::from_millis(millis), "{text}");
    }
    for text in
        ["5", "0", "0.5", "'5'", "'0'", "''", "' '", "'-1s'", "'1 parsec'", "'nan'", "'9999999999999999999999s'"]
    {
        let error = deadline(text).unwrap_err();
        assert_eq!(error.path(), "retry.deadline", "{text}: {error}");
        assert!(error.to_string().contains("a duration in quotes, each number with its unit"), "{text}: {error}");
    }
    assert_eq!(HumanDuration(Duration::from_millis(90_250)).to_string(), "1m 30s 250ms");
}

#[test]
fn rejected_values_name_path_value_reason_and_the_nearest_allowed() {
    rejects_with(
        "breaker.failure_rate = 1.5",
        "breaker.failure_rate: the rate must be over 0 and at most 1, but is 1.5",
        "1",
    );
    rejects_with(
        "breaker.failure_rate = 0",
        "breaker.failure_rate: the rate must be over 0 and at most 1, but is 0",
        "0.001",
    );
    rejects_with(
        "breaker.failure_rate = -0.5",
        "breaker.failure_rate: the rate must be over 0 and at most 1, but is -0.5",
        "0.001",
    );
    rejects_with(
        "retry.max_attempts = 0",
        "retry.max_attempts: max_attempts includes the first try and must be at least 1, but is 0",
        "1",
    );
    rejects_with("retry.deadline = '0s'", "retry.deadline: deadline must not be zero", "\"1ms\"");
    rejects_with("breaker.probe_lease = '0ms'", "breaker.probe_lease: must not be zero", "\"1ms\"");
    rejects_with("breaker.minimum_children = 1", "breaker.minimum_children: must be at least 2, but is 1", "2");
    rejects_with(
        "breaker.consecutive_failures = 20000",
        "breaker.consecutive_failures: must be at most 16383, but is 20000",
        "16383",
    );
    rejects_with(
        "breaker.minimum_calls = 200\nbreaker.window.count.calls = 100",
        "breaker.minimum_calls: 200 calls never fit into a window of 100",
        "100",
    );
}

#[test]
fn values_without_neighbors_are_rejected_too() {
    assert_eq!(rejects("breaker.failure_rate = nan", "breaker.failure_rate", "but is NaN").nearest(), None);
    rejects("breaker.failure_rate = inf", "breaker.failure_rate", "but is inf");
    rejects("breaker.window.time.length = '1us'", "breaker.window", "is too short for buckets of 1ms");
    rejects("breaker.window.time.buckets = 5", "breaker.window", "time.length is missing");
    rejects("breaker.window.time = { length = '1s', buckets = 0 }", "breaker.window", "the buckets must lie between");
    rejects("breaker.slow_calls = { limit = '1s', rate = 2 }", "breaker.slow_calls", "but is 2");
    rejects("breaker.slow_calls.limit = '1s'", "breaker.slow_calls", "rate is missing");
    rejects("breaker.ramp = { shares = [0.5, 0.1], calls = 20 }", "breaker.ramp", "must not shrink");
    rejects("breaker.open_for.fixed.wait = '0s'", "breaker.open_for", "must not be zero");
    rejects(
        "retry.backoff.exponential = { first = '5s', max = '1s' }",
        "retry.backoff",
        "5s, is longer than the longest",
    );
    rejects("retry.backoff.exponential = { first = '1s', max = '5s', factor = 0.5 }", "retry.backoff", "but is 0.5");
    rejects("retry.backoff.fixed = { wait = '1s', jitter.proportional = 2 }", "retry.backoff", "but is 2");
    rejects("retry.budget.ratio.ratio = -1", "retry.budget", "but is -1");
    rejects("retry.budget.ratio.capacity = 0", "retry.budget", "but is 0");
    rejects("retry.budget.grpc.max_tokens = 5", "retry.budget", "grpc.token_ratio is missing");
    rejects("retry.hedge.quantile = 1", "retry.hedge", "but is 1");
    rejects("retry.deadline_header.seconds = 'content-length'", "retry.deadline_header", "content-length");
    rejects("retry.guard.attempt_header = 'a b'", "retry.guard", "\"a b\" is not the name of a header");
    rejects("classify.statuses = [{ first = 99, verdict.class = 'terminal' }]", "classify.statuses", "99..=99");
    rejects("classify.codes = [{ code = 17, verdict.class = 'terminal' }]", "classify.codes", "there is no code 17");
}

#[test]
fn huge_durations_are_no_panic() {
    let config = from_toml(
        "
        [retry]
        deadline = '500000000y'
        attempt_timeout = '500000000y'
        max_retry_after = '500000000y'
        budget.ratio.ttl = '500000000y'
        backoff.exponential = { first = '1y', max = '500000000y' }
        [breaker]
        window.time.length = '500000000y'
        probe_lease = '500000000y'
        open_for.fixed.wait = '500000000y'
        slow_calls = { limit = '500000000y', rate = 1 }
    ",
    )
    .unwrap();
    let breaker = config.breaker_layer("default").unwrap().breaker();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn an_error_names_the_part_that_it_comes_from() {
    rejects("per_name.billing.retry.max_attempts = 0", "per_name.billing.retry.max_attempts", "but is 0");
    rejects("per_name.'a b'.retry.max_attempts = 0", "per_name.\"a b\".retry.max_attempts", "but is 0");
    rejects("per_name.''.retry.max_attempts = 1", "per_name.\"\".retry.name", "must not be empty");
    // What is wrong is the common window, but only together with what the name sets.
    let text = "breaker.window.count.calls = 10\nper_name.billing.breaker.minimum_calls = 11";
    let error = rejects(text, "per_name.billing.breaker.minimum_calls", "11 calls never fit into a window of 10");
    assert_eq!(error.nearest(), Some("10"));
    let config = Config::default();
    assert_eq!(config.retry_layer("").unwrap_err().path(), "retry.name");
}

#[test]
fn the_common_part_is_checked_beside_a_name_of_its_name() {
    let text = "retry.max_attempts = 0\nper_name.default.retry.max_attempts = 2";
    rejects(text, "retry.max_attempts", "but is 0");
}
