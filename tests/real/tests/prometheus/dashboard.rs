use std::path::Path;

use rampart_real::process::installed;
use serde_json::Value;
use tower_rampart::metrics::{Kind, Metric};

use crate::outage::{self, NAMES};
use crate::server::{Prometheus, RANGE, encoded, eventually};
use crate::support::skip;

const DASHBOARD: &str = include_str!("../../../../docs/grafana.json");

/// What the panels show of the outage, besides both names.
const SHOWN: [(&str, &[(&str, &str)]); 7] = [
    ("Breakers that are not closed", &[("state", "open")]),
    ("Calls by outcome", &[("outcome", "success"), ("outcome", "failure"), ("outcome", "rejected")]),
    ("Transitions", &[("from", "closed"), ("from", "open"), ("from", "half-open"), ("cause", "probe failed")]),
    ("Probes", &[("result", "success"), ("result", "failure")]),
    ("Open for the longest time", &[("partition", r#"\"gone\""#)]),
    ("Calls after a retry, and calls that failed", &[("result", "recovered"), ("result", "budget")]),
    ("Further attempts by reason", &[("reason", "status"), ("reason", "goaway")]),
];

/// Replaces the variables as Grafana does. The brackets of a name are escaped for the regex and for the string.
fn replaced(expression: &str, names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| name.replace('(', r"\\(").replace(')', r"\\)")).collect();
    let names = if let [name] = &names[..] { name.clone() } else { format!("({})", names.join("|")) };
    let expression = expression.replace("$__rate_interval", RANGE).replace("$name", &names);
    assert!(!expression.contains('$'), "{expression}");
    expression
}

/// Asks until all of these labels have been seen with a number above 0.
async fn assert_shows(prometheus: &Prometheus, expression: &str, legend: &str, labels: &[(&str, &str)]) {
    let mut missing = labels.to_vec();
    eventually(async || {
        let found = prometheus.query(expression).await;
        for series in &found {
            for label in legend.split("{{").skip(1).map(|text| text.split_once("}}").unwrap().0) {
                assert!(series.labels.contains_key(label), "{expression} keeps no {label}: {:?}", series.labels);
            }
        }
        for series in found.iter().filter(|series| series.value > 0.0) {
            missing.retain(|(label, value)| series.labels.get(*label).is_none_or(|have| have != value));
        }
        if missing.is_empty() { Ok(()) } else { Err(format!("{expression} does not show {missing:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_shows_what_happens() {
    let Some(program) = installed("prometheus") else { return skip("prometheus") };
    let prometheus = Prometheus::start(&program, outage::start().await.unwrap(), Path::new("none.yaml")).await;
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();

    // The variable, of which Grafana asks for the values of a label.
    let variable = dashboard["templating"]["list"][1]["query"].as_str().unwrap();
    let selector = variable.strip_prefix("label_values(").unwrap().strip_suffix(", name)").unwrap();
    let path = format!("label/name/values?match[]={}", encoded(selector));
    eventually(async || {
        let values = prometheus.api(&path).await;
        if values == serde_json::json!(NAMES) { Ok(()) } else { Err(format!("{variable} has {values}")) }
    })
    .await;

    let panels = dashboard["panels"].as_array().unwrap();
    for (title, _) in SHOWN {
        assert!(panels.iter().any(|panel| panel["title"] == title), "there is no panel {title}");
    }
    for panel in panels {
        let shown = SHOWN.iter().find(|(title, _)| panel["title"] == *title).map_or(&[][..], |(_, labels)| labels);
        for target in panel["targets"].as_array().unwrap() {
            let (expression, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
            let labels: Vec<_> = NAMES.iter().map(|name| ("name", *name)).chain(shown.iter().copied()).collect();
            assert_shows(&prometheus, &replaced(expression, &NAMES), legend, &labels).await;
            let one = replaced(expression, &NAMES[..1]);
            assert_shows(&prometheus, &one, legend, &[("name", NAMES[0])]).await;
            let found = prometheus.query(&one).await;
            assert!(found.iter().all(|series| series.labels["name"] == NAMES[0]), "{one} shows other layers");
        }
    }

    let types = prometheus.api("metadata").await;
    for Metric { prometheus: name, kind, .. } in Metric::ALL {
        let family = name.trim_end_matches("_sum").trim_end_matches("_count");
        let expected = match kind {
            _ if family != *name => "summary",
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        assert_eq!(types[family][0]["type"], expected, "{name}");
        // No counter has fallen.
        let falls = prometheus.query(&format!("resets({name}[5m])")).await;
        assert!(*kind == Kind::Gauge || falls.iter().all(|series| series.value == 0.0), "{name}");
    }
}
