use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use rampart_real::process::installed;
use tower_rampart::metrics::Metric;

use crate::outage::{self, NAMES};
use crate::server::{Prometheus, eventually, get};
use crate::support::skip;

fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// Runs promtool if it is installed, and expects it to be content.
fn assert_content(arguments: &[&str], input: Option<File>) {
    let Some(promtool) = installed("promtool") else { return skip("promtool") };
    let mut command = Command::new(promtool);
    if let Some(input) = input {
        command.stdin(input);
    }
    let output = command.args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert!(output.status.success(), "{text}");
}

#[test]
fn the_rules_are_well_formed() {
    assert_content(&["check", "rules", path("../../docs/alerts.yaml").to_str().unwrap()], None);
}

#[test]
fn every_alert_fires_beyond_its_limit_only() {
    assert_content(&["test", "rules", path("tests/prometheus/alerts.yaml").to_str().unwrap()], None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_passes_the_linter_of_prometheus() {
    let address = outage::start().await.unwrap();
    let mut file = tempfile::tempfile().unwrap();
    eventually(async || {
        let (_, text) = get(address, "/metrics").await.unwrap();
        match Metric::ALL.iter().find(|metric| !text.contains(&format!("\n{}{{", metric.prometheus))) {
            Some(metric) => Err(format!("there is no {} yet", metric.prometheus)),
            None => {
                (&file).write_all(text.as_bytes()).unwrap();
                Ok(())
            }
        }
    })
    .await;
    file.rewind().unwrap();
    assert_content(&["check", "metrics"], Some(file));
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
            let has = |name| found.iter().any(|series| series.labels["name"] == name && series.value > 0.0);
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
