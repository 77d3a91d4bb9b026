//! Settings of a file that change while calls run.

use std::collections::BTreeSet;

use tower_rampart::breaker::partition;
use tower_rampart::config::Config;
use tower_rampart::retry::Budget;

use super::from_toml;

#[test]
fn each_field_of_retries_changes_or_is_an_error_that_names_it() {
    let changed = [
        "max_attempts = 7",
        "backoff.fixed = { wait = '7s' }",
        "attempt_timeout = '7s'",
        "deadline = '7s'",
        "budget.ratio = { ratio = 0.7 }",
        "max_partitions = 7",
        "max_retry_after = '7s'",
        "clamp_retry_after = true",
        "retry_circuit_open = true",
    ];
    let kept = [
        "deadline_header.seconds = 'x-timeout'",
        "guard = {}",
        "max_replay_bytes = 7",
        "distrust_refusals = true",
        "hedge.quantile = 0.7",
    ];
    let mut fields = BTreeSet::new();
    for line in changed.iter().chain(&kept) {
        let handle = Config::default().retry_layer("billing").unwrap();
        let handle = handle.budget_by(partition::by(|_: &u64| 7), Budget::default()).handle();
        let (layer, hedge) = from_toml(&format!("[retry]\n{line}")).unwrap().hedged_retry("billing").unwrap();
        let result = match hedge {
            Some(hedge) => handle.reconfigure(&layer.hedge(hedge)),
            None => handle.reconfigure(&layer),
        };
        let field = line.split(['.', ' ']).next().unwrap();
        match result {
            Ok(changes) => {
                assert_eq!((changes.to_string(), changed.contains(line)), (field.to_owned(), true), "{line}")
            }
            Err(error) => {
                assert!(kept.contains(line) && error.to_string().starts_with(&format!("{field}: ")), "{error}");
            }
        }
        fields.insert(field.to_owned());
    }
    let example = serde_json::to_value(Config::example()).unwrap();
    let all = example["retry"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, all);
}
