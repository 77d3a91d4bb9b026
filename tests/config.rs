//! Settings from files.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::{CircuitBreaker, State};
use tower_rampart::classify::{Class, Classifier, DistrustRefusals, Health, Processed, Verdict};
use tower_rampart::config::{Config, ConfigError, HumanDuration};
use tower_rampart::retry::ReplayBody;
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

fn from_toml(text: &str) -> Result<Config, ConfigError> {
    Config::read(toml::Deserializer::parse(text).unwrap())
}

fn from_json(text: &str) -> Result<Config, ConfigError> {
    Config::read(&mut serde_json::Deserializer::from_str(text))
}

#[track_caller]
fn rejects(text: &str, path: &str, reason: &str) -> ConfigError {
    let error = from_toml(text).unwrap_err();
    assert_eq!(error.path(), path, "{error}");
    assert!(error.to_string().contains(reason), "{error}");
    error
}

#[track_caller]
fn rejects_with(text: &str, message: &str, nearest: &str) {
    let error = from_toml(text).unwrap_err();
    assert_eq!(error.to_string(), format!("{message}; the nearest allowed value is {nearest}"));
    assert_eq!(error.nearest(), Some(nearest));
}

/// Sends a call to an upstream that always answers with this status, and returns how many attempts came and how long
/// they took.
async fn attempts(layer: RetryLayer, status: u16) -> (u32, Duration) {
    let sent = std::sync::atomic::AtomicU32::new(0);
    let service = ServiceBuilder::new().layer(layer).service(service_fn(|_: http::Request<ReplayBody<String>>| {
        sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move { Ok::<_, std::io::Error>(http::Response::builder().status(status).body(String::new()).unwrap()) }
    }));
    let start = tokio::time::Instant::now();
    let _ = service.oneshot(http::Request::get("http://billing/").body(String::new()).unwrap()).await.unwrap();
    (sent.into_inner(), start.elapsed())
}

/// The settings of a layer, without the times when it was made.
fn settings(layer: &RetryLayer) -> String {
    let text = format!("{layer:?}");
    let (first, rest) = text.split_once("Instant {").unwrap();
    first.to_owned() + &rest.split("Instant {").map(|part| part.split_once('}').unwrap().1).collect::<String>()
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(from_toml("").unwrap(), Config::default());
    assert_eq!(from_json("{}").unwrap(), Config::default());
    let layer = Config::default().retry_layer("default").unwrap();
    assert_eq!(settings(&layer), settings(&RetryLayer::new_for_http()));
    assert_eq!(from_json("").unwrap_err().to_string(), "EOF while parsing a value at line 1 column 0");
}

#[test]
fn the_example_round_trips_and_is_valid() {
    let example = Config::example();
    let text = toml::to_string(&example).unwrap();
    assert_eq!(from_toml(&text).unwrap(), example);
    assert_eq!(from_json(&serde_json::to_string(&example).unwrap()).unwrap(), example);
    assert!(text.contains("deadline = \"1m 30s\""), "{text}");
}

#[test]
fn every_setter_has_a_field() {
    // What a file cannot hold: code, and the seed, which must differ from process to process.
    const CODE: [&str; 17] = [
        "attempt_timeout_by",
        "budget_by",
        "classifier",
        "clone_bodies",
        "counters",
        "idempotent",
        "judge_body",
        "nested_in",
        "on_give_up",
        "on_retry",
        "on_verdict",
        "partition_by",
        "partition_label",
        "policy",
        "route",
        "seed",
        "when",
    ];
    const OTHER_FIELDS: [(&str, &str); 5] = [
        ("name", "per_name"),
        ("no_budget", "budget"),
        ("reject_retries_only", "mode"),
        ("status", "statuses"),
        ("code", "codes"),
    ];
    let example = serde_json::to_value(Config::example()).unwrap();
    let api = include_str!("../public-api.txt");
    let mut code = BTreeSet::new();
    for (part, layer) in [
        ("/retry", "RetryLayer"),
        ("/retry/backoff/exponential", "retry::Backoff"),
        ("/retry/budget/ratio", "retry::Budget"),
        ("/retry/guard", "retry::RetryGuard"),
        ("/breaker", "CircuitBreakerLayer"),
        ("/breaker/window/time", "breaker::Window"),
        ("/classify", "ClassifyLayer"),
        ("/classify", "classify::HttpClassifier"),
        ("/classify", "classify::GrpcClassifier"),
    ] {
        let table = example.pointer(part).unwrap().as_object().unwrap();
        let mut fields: BTreeSet<&str> = table.keys().map(String::as_str).collect();
        fields.insert("per_name");
        for setter in api.lines().filter_map(|line| setter(line, layer)) {
            let field = OTHER_FIELDS.iter().find(|(name, _)| *name == setter).map_or(setter, |(_, field)| field);
            if CODE.contains(&setter) {
                code.insert(setter);
            } else {
                assert!(fields.contains(field), "{part} has no field {field} for {layer}::{setter}");
            }
        }
    }
    // Otherwise the listing is not read as it is written.
    assert_eq!(code, BTreeSet::from(CODE));
}

/// Every field, with a value that is not the default of its setter.
const CHANGED: &str = "
    [retry]
    max_attempts = 7
    backoff.fixed.wait = '1s'
    attempt_timeout = '1s'
    deadline = '1s'
    deadline_header.seconds = 'x-timeout'
    guard.max_depth = 4
    budget = 'unlimited'
    max_partitions = 7
    max_retry_after = '1s'
    clamp_retry_after = true
    max_replay_bytes = 7
    retry_circuit_open = true
    distrust_refusals = true
    hedge.after = '1s'
    [breaker]
    window.count.calls = 7
    minimum_calls = 7
    failure_rate = 0.7
    slow_calls = { limit = '1s', rate = 0.7 }
    consecutive_failures = 7
    outage = { failures = 7, lasting = '1s' }
    no_outage = true
    open_for.fixed.wait = '7s'
    honor_retry_after = '1s'
    half_open_max_calls = 7
    success_threshold = 7
    probe_lease = '7s'
    ramp = { shares = [0.7], calls = 7 }
    abandoned = 'neutral'
    mode = 'disabled'
    max_partitions = 7
    minimum_children = 7
    redact_labels = true
    flight_recorder = 7
    distrust_refusals = true
    [classify]
    statuses = [{ first = 409, verdict.class = 'transient' }]
    rate_limit_reset = true
    codes = [{ code = 10, verdict.class = 'terminal' }]
    distrust_refusals = true
";

#[test]
fn every_field_changes_its_layer() {
    let keys = |table: &serde_json::Value| table.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let example = serde_json::to_value(Config::example()).unwrap();
    let changed = serde_json::to_value(from_toml(CHANGED).unwrap()).unwrap();
    let layers = |config: &Config| {
        let (retry, hedge) = config.hedged_retry("default").unwrap();
        let (http, grpc) = (config.http_classifier("default").unwrap(), config.grpc_classifier("default").unwrap());
        format!("{} {hedge:?} {:?} {http:?} {grpc:?}", settings(&retry), config.breaker_layer("default").unwrap())
    };
    for part in ["retry", "breaker", "classify"] {
        assert_eq!(keys(&changed[part]), keys(&example[part]));
        for (field, value) in changed[part].as_object().unwrap() {
            // A breaker's layer does not print its classifier: the next test.
            if part == "breaker" && field == "distrust_refusals" {
                continue;
            }
            let config = from_json(&json!({ part: { field: value } }).to_string()).unwrap();
            assert_ne!(layers(&config), layers(&Config::default()), "{part}.{field} changes nothing");
        }
    }
}

#[test]
fn the_classifier_of_a_breaker_distrusts_refusals() {
    #[derive(Clone)]
    struct Distrusts(bool);
    impl DistrustRefusals for Distrusts {
        fn distrust_refusals(self) -> Self {
            Self(true)
        }
    }
    impl Classifier<()> for Distrusts {
        fn classify(&self, _: Result<&(), &(dyn std::error::Error + 'static)>) -> Verdict {
            if self.0 { Class::Success } else { Class::Transient }.into()
        }
    }
    for (text, failures) in [("", 1), ("breaker.distrust_refusals = false", 1), ("breaker.distrust_refusals = true", 0)]
    {
        let layer = CircuitBreakerLayer::new(Distrusts(false));
        let layer = from_toml(text).unwrap().configure_breaker("default", layer).unwrap();
        let service = layer.layer(service_fn(|(): ()| std::future::ready(Ok::<_, std::io::Error>(()))));
        service.oneshot(()).now_or_never().unwrap().unwrap();
        assert_eq!(layer.breaker().snapshot().failures, failures, "{text}");
    }
}

/// The name of a setter of a layer, without `try_`: a method that takes and returns it.
fn setter<'a>(line: &'a str, layer: &str) -> Option<&'a str> {
    let rest = line.strip_prefix("pub fn ").or(line.strip_prefix("pub const fn "))?.strip_prefix(layer)?;
    let mut depth = 0;
    let (_, method) = rest.split_at(rest.find(|character| {
        match character {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        depth == 0 && character == ':'
    })?);
    let method = method.strip_prefix("::")?;
    let (name, signature) =
        method.split_at(method.find(|character: char| character != '_' && !character.is_alphanumeric())?);
    let (_, signature) = signature.split_once("(self")?;
    let returns_itself = signature.contains("Self") || signature.contains(layer);
    returns_itself.then(|| name.strip_prefix("try_").unwrap_or(name))
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
fn a_name_overrides_field_by_field() {
    let config = from_toml(
        "
        [retry]
        max_attempts = 4
        deadline = '10s'
        backoff.exponential = { first = '1s', max = '5s', jitter = 'none' }
        budget.ratio = { ratio = 0.1, reserve = 7 }
        [per_name.billing.retry]
        deadline = '20s'
        backoff.exponential.max = '2s'
        budget.ratio.ratio = 0.5
        [per_name.search.retry]
        backoff.fixed.wait = '3s'
        budget = 'unlimited'
    ",
    )
    .unwrap();
    let layer = |name: &str| settings(&config.retry_layer(name).unwrap());
    let by_hand = |text: &str, name: &str| settings(&from_toml(text).unwrap().retry_layer(name).unwrap());
    let common = "
        retry.max_attempts = 4
        retry.deadline = '10s'
        retry.backoff.exponential = { first = '1s', max = '5s', jitter = 'none' }
        retry.budget.ratio = { ratio = 0.1, reserve = 7 }
    ";
    assert_eq!(layer("unknown"), by_hand(common, "unknown"));
    let billing = "
        retry.max_attempts = 4
        retry.deadline = '20s'
        retry.backoff.exponential = { first = '1s', max = '2s', jitter = 'none' }
        retry.budget.ratio = { ratio = 0.5, reserve = 7 }
    ";
    assert_eq!(layer("billing"), by_hand(billing, "billing"));
    let search = "
        retry.max_attempts = 4
        retry.deadline = '10s'
        retry.backoff.fixed.wait = '3s'
        retry.budget = 'unlimited'
    ";
    assert_eq!(layer("search"), by_hand(search, "search"));
    assert_eq!(config.budget("billing").unwrap().balance(), Some(7.0));
    assert_eq!(config.budget("search").unwrap().balance(), None);
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

#[tokio::test(start_paused = true)]
async fn the_retry_layer_does_what_the_file_says() {
    let config = from_toml(
        "
        retry.backoff.fixed.wait = '1s'
        retry.max_attempts = 2
        [per_name.billing.retry]
        max_attempts = 4
    ",
    )
    .unwrap();
    assert_eq!(attempts(config.retry_layer("other").unwrap(), 503).await, (2, Duration::from_secs(1)));
    assert_eq!(attempts(config.retry_layer("billing").unwrap(), 503).await, (4, Duration::from_secs(3)));
}

#[test]
fn the_breaker_does_what_the_file_says() {
    let config = from_toml(
        "
        breaker.consecutive_failures = 3
        breaker.open_for.fixed.wait = '30s'
        [per_name.billing.breaker]
        consecutive_failures = 2
    ",
    )
    .unwrap();
    let failures_until_open = |name: &str| {
        let breaker = config.configure_breaker(name, CircuitBreaker::builder()).unwrap().build();
        let failures = (1..9).find(|_| {
            breaker.try_acquire().unwrap().fail();
            breaker.state() == State::Open
        });
        (failures, breaker.snapshot().retry_after.map(|time| time.as_secs_f64().round()))
    };
    assert_eq!(failures_until_open("other"), (Some(3), Some(30.0)));
    assert_eq!(failures_until_open("billing"), (Some(2), Some(30.0)));
}

#[test]
fn statuses_and_codes_are_classified_as_the_file_says() {
    let config = from_toml("
        [classify]
        statuses = [
            { first = 400, last = 499, verdict.class = 'ambiguous' },
            { first = 409, verdict = { class = 'transient', processed = 'no', health = 'neutral', retry_after = '2s' } },
        ]
        codes = [{ code = 5, verdict.class = 'success' }]
        [per_name.search.classify]
        statuses = [{ first = 404, verdict.class = 'success' }]
    ").unwrap();
    let class = |name: &str, status: u16| {
        let response = http::Response::builder().status(status).body(()).unwrap();
        config.http_classifier(name).unwrap().classify(Ok(&response))
    };
    assert_eq!(class("billing", 404).class(), Class::Ambiguous);
    assert_eq!(class("search", 404).class(), Class::Success);
    assert_eq!(class("search", 409).class(), Class::Terminal, "a list replaces the common one");
    let conflict = class("billing", 409);
    assert_eq!((conflict.class(), conflict.processed()), (Class::Transient, Processed::No));
    assert_eq!((conflict.health(), conflict.retry_after()), (Health::Neutral, Some(Duration::from_secs(2))));
    let response = http::Response::builder().header("grpc-status", "5").body(()).unwrap();
    assert_eq!(config.grpc_classifier("billing").unwrap().classify(Ok(&response)).class(), Class::Success);
}

#[test]
fn a_hedge_is_not_dropped_silently() {
    let config = from_toml("per_name.billing.retry.hedge.after = '50ms'").unwrap();
    assert!(config.retry_layer("other").is_ok());
    let error = config.retry_layer("billing").unwrap_err();
    assert_eq!(error.path(), "per_name.billing.retry.hedge");
    let (_, hedge) = config.hedged_retry("billing").unwrap();
    assert_eq!(hedge, Some(tower_rampart::retry::Hedge::after(Duration::from_millis(50))));
}

#[test]
fn no_outage_of_the_common_part_can_be_lifted() {
    let config = from_toml(
        "
        breaker.no_outage = true
        [per_name.billing.breaker]
        no_outage = false
        outage = { failures = 3, lasting = '0s' }
    ",
    )
    .unwrap();
    let layer = |name: &str| format!("{:?}", config.breaker_layer(name).unwrap());
    assert!(layer("other").contains("outage: Some(None)"), "{}", layer("other"));
    assert!(layer("billing").contains("outage: Some(Some(Outage { failures: 3"), "{}", layer("billing"));
}

#[cfg(feature = "schemars")]
#[test]
fn the_schema_has_every_field_and_no_other() {
    let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
    let example = serde_json::to_value(Config::example()).unwrap();
    for (part, table) in [("retry", "RetryConfig"), ("breaker", "BreakerConfig"), ("classify", "ClassifyConfig")] {
        let table = &schema["$defs"][table];
        assert_eq!(table["additionalProperties"], json!(false));
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(&table["properties"]), keys(&example[part]));
    }
    assert_eq!(schema["$defs"]["HumanDuration"]["type"], "string");
}
