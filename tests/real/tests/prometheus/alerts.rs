use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rampart_real::process::installed;
use tower_rampart::metrics::Metric;

use crate::outage::{self, NAMES};
use crate::server::{Found, Prometheus, eventually, get};
use crate::support::skip;

fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// Runs promtool if it is installed, and expects it to find no fault.
fn assert_no_fault(arguments: &[&str], input: impl Into<Stdio>) {
    let Some(promtool) = installed("promtool") else { return skip("promtool") };
    let output = Command::new(promtool).args(arguments).stdin(input).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert!(output.status.success(), "{text}");
}

#[test]
fn the_rules_are_well_formed() {
    assert_no_fault(&["check", "rules", path("../../docs/alerts.yaml").to_str().unwrap()], Stdio::null());
}

#[test]
fn every_alert_fires_beyond_its_limit_only() {
    assert_no_fault(&["test", "rules", path("tests/prometheus/alerts.yaml").to_str().unwrap()], Stdio::null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_passes_the_linter_of_prometheus() {
    let address = outage::start().await.unwrap();
    let mut text = String::new();
    eventually(async || {
        (_, text) = get(address, "/metrics").await.unwrap();
        match Metric::ALL.iter().find(|metric| !text.contains(&format!("\n{}{{", metric.prometheus))) {
            Some(metric) => Err(format!("there is no {} yet", metric.prometheus)),
            None => Ok(()),
        }
    })
    .await;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    assert_no_fault(&["check", "metrics"], file);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_asks_for_what_is_scraped() {
    let Some(program) = installed("prometheus") else { return skip("prometheus") };
    let target = outage::start().await.unwrap();
    let prometheus = Prometheus::start(&program, target, &path("../../docs/alerts.yaml")).await;
    let groups = prometheus.api("rules").await;
    let rules = groups["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 8);
    for rule in rules {
        // Without its limit, which not every rule is beyond.
        let (expression, _) = rule["query"].as_str().unwrap().rsplit_once(" > ").unwrap();
        eventually(async || {
            let found = prometheus.query(expression).await;
            let is_of = |series: &Found, name| series.labels.get("name").is_some_and(|have| have == name);
            let has = |name| found.iter().any(|series| is_of(series, name) && series.value > 0.0);
            if NAMES.into_iter().all(has) { Ok(()) } else { Err(format!("{expression} finds nothing")) }
        })
        .await;
    }
    eventually(async || {
        let groups = prometheus.api("rules").await;
        let mut rules = groups["groups"][0]["rules"].as_array().unwrap().iter();
        match rules.find(|rule| rule["health"] != "ok") {
            None => Ok(()),
            Some(rule) => Err(format!("{rule:#}")),
        }
    })
    .await;
}
