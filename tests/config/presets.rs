//! What presets set, and what overrides them.

use serde_json::json;
use tower_rampart::config::{Config, Preset};

use super::{from_json, from_toml, rejects, settings};

#[test]
fn presets_are_what_the_docs_show() {
    let docs = include_str!("../../docs/CONFIG.md");
    let (_, shown) = docs.split_once("```toml\n[per_name.fast_internal").unwrap();
    let shown = format!("[per_name.fast_internal{}", shown.split_once("```").unwrap().0);
    let shown = from_toml(&shown).unwrap();
    assert_eq!(shown.per_name.len(), 3);
    for (name, settings) in &shown.per_name {
        let preset: Preset = serde_json::from_value(json!(name)).unwrap();
        assert_eq!(preset.settings(), *settings, "{name}");
        Config::from(preset).check().unwrap();
        // The minimum of calls is in no preset, so that it fits any window.
        from_toml(&format!("preset = '{name}'\nbreaker.window.count.calls = 1")).unwrap();
    }
}

#[test]
fn the_files_of_the_docs_are_valid() {
    let docs = include_str!("../../docs/CONFIG.md");
    let files: Vec<&str> = docs.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(files.len(), 3);
    for file in files {
        from_toml(file).unwrap();
    }
}

#[test]
fn a_preset_lies_below_the_part_that_names_it() {
    let config = from_toml(
        "
        preset = 'batch'
        [retry]
        attempt_timeout = '7s'
        backoff.exponential.first = '3s'
        max_replay_bytes = 9
        [per_name.payments]
        preset = 'third_party_api'
        retry.deadline = '8s'
        [per_name.search.retry]
        max_attempts = 2
    ",
    )
    .unwrap();
    let retry = |name: &str| {
        let retry = config.settings(name).retry;
        (retry.attempt_timeout.map(|timeout| timeout.to_string()), retry.max_attempts, retry.retry_circuit_open)
    };
    assert_eq!(retry("other"), (Some("7s".to_owned()), Some(20), Some(true)));
    assert_eq!(retry("search"), (Some("7s".to_owned()), Some(2), Some(true)));
    assert_eq!(retry("payments"), (Some("10s".to_owned()), Some(4), None), "nothing of the common preset");
    let payments = config.settings("payments");
    assert_eq!(payments.retry.deadline.unwrap().to_string(), "8s");
    assert_eq!(payments.retry.max_replay_bytes, Some(9));
    let backoff = |name: &str| json!(config.settings(name).retry.backoff);
    assert_eq!(backoff("other"), json!({ "exponential": { "first": "3s", "max": "2m" } }));
    assert_eq!(backoff("payments"), json!({ "exponential": { "first": "500ms", "max": "10s" } }));
    // The layers are made of the same settings.
    let by_hand = json!({ "retry": config.settings("payments").retry }).to_string();
    let layer = |config: &Config| settings(&config.retry_layer("payments").unwrap());
    assert_eq!(layer(&config), layer(&from_json(&by_hand).unwrap()));
    rejects("preset = 'fast'", "preset", "unknown variant `fast`, expected one of `fast_internal`");
}
