//! Every setting has a field, and every field its effect.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::classify::{Class, Classifier, DistrustRefusals, Verdict};
use tower_rampart::config::Config;

use super::{from_json, from_toml, settings};

#[test]
fn every_setter_has_a_field() {
    // What a file cannot hold: code, what changes the type of a layer, and the seed, which must differ from process to process.
    const CODE: [&str; 18] = [
        "attempt_spans",
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
    let api = include_str!("../../public-api.txt");
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

#[test]
fn every_constructor_has_a_kind() {
    // `custom` is code, and the other two are written as another kind.
    const OTHERS: [&str; 3] = ["custom", "default", "none"];
    let api = include_str!("../../public-api.txt");
    for (field, part, count) in [
        ("retry.backoff", "retry::Backoff", 5),
        ("retry.budget", "retry::Budget", 5),
        ("retry.deadline_header", "retry::DeadlineHeader", 2),
        ("retry.hedge", "retry::Hedge", 2),
        ("breaker.window", "breaker::Window", 2),
    ] {
        let error = from_toml(&format!("{field}.unknown = 1")).unwrap_err().to_string();
        let constructors = api.lines().filter_map(|line| constructor(line, part));
        let constructors: BTreeSet<_> = constructors.filter(|name| !OTHERS.contains(name)).collect();
        assert_eq!(constructors.len(), count, "{part}: {constructors:?}");
        for name in constructors {
            assert!(error.contains(&format!("`{name}`")), "{field} has no kind for {part}::{name}");
        }
    }
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

/// The name of a constructor, without `try_`: a function of the type that returns it.
fn constructor<'a>(line: &'a str, part: &str) -> Option<&'a str> {
    let rest = line.strip_prefix("pub fn ").or(line.strip_prefix("pub const fn "))?;
    let (name, signature) = rest.strip_prefix(part)?.strip_prefix("::")?.split_once('(')?;
    let takes_itself = ["self", "&self", "&mut self"].iter().any(|receiver| signature.starts_with(receiver));
    // A conversion is one of the others in other words.
    let constructs = !takes_itself && signature.contains("Self") && name != "from";
    constructs.then(|| name.strip_prefix("try_").unwrap_or(name))
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
    // A list is no table.
    let defs = schema["$defs"].as_object().unwrap();
    let tables = defs.iter().filter(|(name, _)| !["HumanDuration", "Jitter"].contains(&name.as_str()));
    for (name, table) in tables
        .chain([(&"Config".to_owned(), &schema)])
        .filter(|(_, table)| table["oneOf"].is_null() && table["enum"].is_null())
    {
        assert_eq!((&table["type"], &table["additionalProperties"]), (&json!("object"), &json!(false)), "{name}");
    }
}
