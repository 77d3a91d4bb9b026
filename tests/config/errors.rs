//! What is wrong in a file, and where.

use tower_rampart::config::Config;

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
fn values_within_tables_are_named_by_their_whole_path() {
    for (text, path, nearest) in [
        ("breaker.window.time.length = '1us'", "breaker.window.time.length", "\"1ms\""),
        ("breaker.window.time = { length = '5ms', buckets = 10 }", "breaker.window.time.length", "\"10ms\""),
        ("breaker.window.time = { length = '1s', buckets = 0 }", "breaker.window.time.buckets", "1"),
        ("breaker.window.count.calls = 0", "breaker.window.count.calls", "1"),
        ("breaker.slow_calls = { limit = '1s', rate = 2 }", "breaker.slow_calls.rate", "1"),
        ("breaker.outage = { failures = 20000, lasting = '1s' }", "breaker.outage.failures", "16383"),
        ("breaker.ramp = { shares = [0.1, 0.5, 0.2], calls = 20 }", "breaker.ramp.shares[2]", "0.5"),
        ("breaker.ramp = { shares = [0.5], calls = 0 }", "breaker.ramp.calls", "1"),
        ("breaker.open_for.fixed.wait = '0s'", "breaker.open_for.fixed.wait", "\"1ms\""),
        ("retry.backoff.exponential = { first = '5s', max = '1s' }", "retry.backoff.exponential.first", "\"1s\""),
        ("retry.backoff.exponential = { first = '5s', max = '0s' }", "retry.backoff.exponential.max", "\"5s\""),
        (
            "retry.backoff.exponential = { first = '1s', max = '5s', factor = 0.5 }",
            "retry.backoff.exponential.factor",
            "1",
        ),
        (
            "retry.backoff.fixed = { wait = '1s', jitter.proportional = 2 }",
            "retry.backoff.fixed.jitter.proportional",
            "1",
        ),
        ("retry.backoff.fixed = { wait = '1s', jitter.on_top = -1 }", "retry.backoff.fixed.jitter.on_top", "0"),
        ("retry.budget.ratio.ratio = -1", "retry.budget.ratio.ratio", "0"),
        ("retry.budget.ratio = { reserve = 7, capacity = 0 }", "retry.budget.ratio.capacity", "1"),
        ("retry.budget.grpc = { max_tokens = 2000, token_ratio = 0.1 }", "retry.budget.grpc.max_tokens", "1000"),
        ("retry.budget.concurrent = { percent = 101, minimum = 1 }", "retry.budget.concurrent.percent", "100"),
        ("retry.hedge.quantile = 1", "retry.hedge.quantile", "0.999"),
        (
            "classify.statuses = [{ first = 500, verdict.class = 'terminal' }, { first = 99, verdict.class = 'terminal' }]",
            "classify.statuses[1].first",
            "100",
        ),
        (
            "classify.statuses = [{ first = 500, last = 1000, verdict.class = 'terminal' }]",
            "classify.statuses[0].last",
            "999",
        ),
        ("classify.codes = [{ code = 17, verdict.class = 'terminal' }]", "classify.codes[0].code", "16"),
    ] {
        let error = rejects(text, path, "");
        assert_eq!(error.nearest(), Some(nearest), "{text}: {error}");
    }
}

#[test]
fn values_without_neighbors_are_named_too() {
    for (text, path, reason) in [
        ("breaker.failure_rate = nan", "breaker.failure_rate", "but is NaN"),
        ("breaker.slow_calls = { limit = '1s', rate = nan }", "breaker.slow_calls.rate", "but is NaN"),
        ("retry.deadline_header.seconds = 'content-length'", "retry.deadline_header.seconds", "content-length"),
        ("retry.guard.attempt_header = 'a b'", "retry.guard.attempt_header", "\"a b\" is not the name of a header"),
        // Two values are wrong, so that no other one in the place of either helps.
        ("breaker.ramp = { shares = [2], calls = 0 }", "breaker.ramp", "[2.0]"),
        ("breaker.window.time.buckets = 5", "breaker.window", "time.length is missing"),
        ("breaker.slow_calls.limit = '1s'", "breaker.slow_calls", "rate is missing"),
        ("retry.budget.grpc.max_tokens = 5", "retry.budget", "grpc.token_ratio is missing"),
        ("breaker.ramp = { shares = [], calls = 1 }", "breaker.ramp", "at least one"),
    ] {
        rejects(text, path, reason);
    }
}

#[test]
fn a_value_of_the_common_part_is_named_only_if_no_value_of_the_name_is_wrong() {
    let common = "breaker.window.time.length = '1s'\n";
    let text = format!("{common}per_name.billing.breaker.window.time.buckets = 5000");
    let error = rejects(&text, "per_name.billing.breaker.window.time.buckets", "5000");
    assert_eq!(error.nearest(), Some("1000"));
    let text =
        "retry.backoff.exponential = { first = '5s', max = '9s' }\nper_name.a.retry.backoff.exponential.max = '4s'";
    let error = rejects(text, "per_name.a.retry.backoff.exponential.max", "longer");
    assert_eq!(error.nearest(), Some("\"5s\""));
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
fn a_path_quotes_names_and_is_one_line() {
    for (name, quoted) in
        [("'a.b'", "\"a.b\""), ("\"a\\nb\"", "\"a\\nb\""), ("\"a\\\"b\"", "\"a\\\"b\""), ("'é'", "\"é\"")]
    {
        // From the format and from a setter.
        rejects(
            &format!("per_name.{name}.retry.max_attempts = 'x'"),
            &format!("per_name.{quoted}.retry.max_attempts"),
            "u32",
        );
        rejects(
            &format!("per_name.{name}.retry.max_attempts = 0"),
            &format!("per_name.{quoted}.retry.max_attempts"),
            "is 0",
        );
    }
}

#[test]
fn a_message_leaves_out_the_middle_of_a_long_value() {
    let long = "é".repeat(1 << 20);
    for text in [
        format!("retry.deadline = '{long}'"),
        format!("retry.'{long}' = 1"),
        format!("breaker.mode = '{long}'"),
        format!("retry.guard.attempt_header = '{long}'"),
        format!("per_name.'{long}'.retry.max_attempts = 0"),
    ] {
        let message = from_toml(&text).unwrap_err().to_string();
        assert!(message.chars().count() < 2_200, "{message}");
    }
    let message = from_toml(&format!("retry.deadline = '{long}'")).unwrap_err().to_string();
    assert!(message.starts_with("retry.deadline: TOML parse error at line 1, column 18"), "{message}");
    assert!(message.ends_with("each number with its unit, such as \"250ms\" or \"1m30s\""), "{message}");
}

#[test]
fn a_long_list_is_searched_within_seconds() {
    let statuses = "{ first = 409, verdict.class = 'terminal' }, ".repeat(5_000);
    let text = format!("classify.statuses = [{statuses}{{ first = 99, verdict.class = 'terminal' }}]");
    let error = rejects(&text, "classify.statuses[5000].first", "99..=99");
    assert_eq!(error.nearest(), Some("100"));
}

#[test]
fn the_common_part_is_checked_beside_a_name_of_its_name() {
    let text = "retry.max_attempts = 0\nper_name.default.retry.max_attempts = 2";
    rejects(text, "retry.max_attempts", "but is 0");
}
