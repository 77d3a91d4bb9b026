//! What the formats of serde allow, and a configuration does not.

use tower_rampart::config::Config;

use super::{from_json, rejects};

#[test]
fn a_list_is_no_table() {
    for (text, path) in [
        ("[]", ""),
        (r#"{ "retry": [5] }"#, "retry"),
        (r#"{ "breaker": [] }"#, "breaker"),
        (r#"{ "classify": [] }"#, "classify"),
        (r#"{ "classify": { "statuses": [[409]] } }"#, "classify.statuses[0]"),
        (r#"{ "classify": { "codes": [{ "code": 1, "verdict": ["transient"] }] } }"#, "classify.codes[0].verdict"),
        (r#"{ "retry": { "backoff": { "fixed": ["1s"] } } }"#, "retry.backoff.fixed"),
        (r#"{ "retry": { "guard": [3] } }"#, "retry.guard"),
        (r#"{ "breaker": { "window": { "count": [10] } } }"#, "breaker.window.count"),
        (r#"{ "breaker": { "slow_calls": ["1s", 0.5] } }"#, "breaker.slow_calls"),
        (r#"{ "per_name": [] }"#, "per_name"),
        (r#"{ "per_name": { "billing": ["batch"] } }"#, "per_name.billing"),
        (r#"{ "per_name": { "billing": { "retry": [5] } } }"#, "per_name.billing.retry"),
    ] {
        let error = from_json(text).unwrap_err();
        assert_eq!(error.path(), path, "{text}: {error}");
        assert!(error.to_string().contains("invalid type: sequence, expected a table"), "{text}: {error}");
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        if json.is_object() {
            rejects(&toml::to_string(&json).unwrap(), path, "invalid type: sequence, expected a table");
        }
    }
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
