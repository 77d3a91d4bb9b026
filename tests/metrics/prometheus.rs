use tower_rampart::breaker::partition;
use tower_rampart::metrics::{Metric, prometheus_text};
use tower_rampart::retry::{Budget, RetryPolicy};
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

use crate::scrape::Scrape;

#[test]
fn each_family_has_its_help_and_type_once() {
    let (one, other) = (RetryPolicy::new().name("one"), RetryPolicy::new().name("other"));
    let text = prometheus_text(&[&one.handle(), &other.handle()]);
    let budget = "\
# HELP rampart_retry_budget_balance Tokens of the retry budget, of the emptiest one if there are several.
# TYPE rampart_retry_budget_balance gauge
rampart_retry_budget_balance{name=\"one\"} 10
rampart_retry_budget_balance{name=\"other\"} 10
";
    assert!(text.contains(budget), "{text}");
    let waits = "\
# TYPE rampart_retry_wait_seconds summary
rampart_retry_wait_seconds_sum{name=\"one\"} 0
rampart_retry_wait_seconds_sum{name=\"other\"} 0
rampart_retry_wait_seconds_count{name=\"one\"} 0
";
    assert!(text.contains(waits), "{text}");
    for line in text.lines().filter(|line| line.starts_with('#')) {
        assert_eq!(text.matches(&format!("{line}\n")).count(), 1, "{line}");
    }
}

#[test]
fn names_and_labels_are_escaped() {
    let layer = CircuitBreakerLayer::new_for_http()
        .name("quotes \" and \\ and\nlines")
        .partition_by(partition::by(|key: &String| key.clone()));
    let breakers = layer.handle();
    breakers.force_open(&"back\\slash".to_owned());
    let text = prometheus_text(&[&breakers]);
    assert!(text.contains(r#"{name="quotes \" and \\ and\nlines""#), "{text}");
    // The label is what `Debug` writes, which has escaped it once.
    assert!(text.contains(r#"partition="back\\\\slash"} 0"#), "{text}");
    assert_eq!(Scrape::of(&[&breakers]).sum("rampart_breaker_partitions", &[("state", "open")]), 1.0);
}

#[test]
fn layers_of_one_name_add_up() {
    let layer = || CircuitBreakerLayer::new_for_http().name("billing");
    let (one, other) = (layer(), layer());
    one.breaker().try_acquire().unwrap().succeed();
    other.breaker().try_acquire().unwrap().succeed();
    let scrape = Scrape::of(&[&one.handle(), &other.handle()]);
    assert_eq!(scrape.sum("rampart_breaker_calls_total", &[("name", "billing"), ("outcome", "success")]), 2.0);
}

#[test]
fn of_the_budgets_of_one_name_the_emptiest_one_is_shown() {
    let shared = Budget::default();
    let layer = |budget| RetryLayer::new_for_http().name("billing").budget(budget);
    let balance = |one: RetryLayer, other: RetryLayer| {
        Scrape::of(&[&one.handle(), &other.handle()]).sum("rampart_retry_budget_balance", &[("name", "billing")])
    };
    assert_eq!(balance(layer(shared.clone()), layer(shared)), 10.0);
    assert_eq!(balance(layer(Budget::default()), layer(Budget::default().reserve(3))), 3.0);
}

#[test]
fn every_metric_has_a_name_of_its_own_in_both_forms() {
    let unique = |name: fn(&Metric) -> &'static str| {
        let names: std::collections::HashSet<_> = Metric::ALL.iter().map(name).collect();
        names.len() == Metric::ALL.len()
    };
    assert!(unique(|metric| metric.name) && unique(|metric| metric.prometheus));
    for Metric { name, prometheus, .. } in Metric::ALL {
        assert!(name.starts_with("rampart.") && prometheus.starts_with("rampart_"), "{name}, {prometheus}");
        assert!(prometheus.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{prometheus}");
    }
}
