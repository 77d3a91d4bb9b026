//! Every expression of the dashboard and of the alert rules asks for what a scrape has. With nothing installed: in
//! `tests/real`, Prometheus answers them.

use std::collections::BTreeSet;

use tower_rampart::CircuitBreakerLayer;
use tower_rampart::retry::RetryPolicy;

use crate::scrape::{Scrape, Series};
use crate::stack;

const DASHBOARD: &str = include_str!("../../docs/grafana.json");
const ALERTS: &str = include_str!("../../docs/alerts.yaml");

/// The words of PromQL that the expressions use.
const WORDS: [&str; 8] = ["by", "increase", "label_values", "max", "min", "rate", "sum", "topk"];

/// What an expression asks for.
struct Query {
    metric: String,
    /// Label, operator, value.
    matchers: Vec<(String, String, String)>,
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_:".contains(letter)
}

/// Takes an expression apart: its queries and the labels that it groups by.
fn parse(expression: &str) -> Result<(Vec<Query>, BTreeSet<String>), String> {
    let open = |letter| expression.matches(letter).count();
    if open('(') != open(')') || open('{') != open('}') || open('[') != open(']') {
        return Err("is not balanced".into());
    }
    let (mut queries, mut labels) = (Vec::new(), BTreeSet::new());
    let mut rest = expression;
    while let Some(start) = rest.find(is_word) {
        let is_duration = rest[..start].ends_with(['[', '$']);
        rest = &rest[start..];
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        let word;
        (word, rest) = rest.split_at(end);
        if word.starts_with("rampart_") {
            let mut matchers = Vec::new();
            if let Some(inside) = rest.strip_prefix('{') {
                let (inside, after) = inside.split_once('}').unwrap();
                rest = after;
                for matcher in inside.split(',') {
                    let (label, value) = matcher.trim().strip_suffix('"').unwrap().split_once('"').unwrap();
                    let name: String = label.chars().filter(|letter| is_word(*letter)).collect();
                    matchers.push((name.clone(), label[name.len()..].to_owned(), value.to_owned()));
                }
            }
            queries.push(Query { metric: word.to_owned(), matchers });
        } else if word == "by" {
            let (inside, after) = rest.trim_start().strip_prefix('(').unwrap().split_once(')').unwrap();
            rest = after;
            labels.extend(inside.split(',').map(|label| label.trim().to_owned()));
        } else if !is_duration && !WORDS.contains(&word) && word.parse::<f64>().is_err() {
            return Err(format!("has the unknown word {word}"));
        }
    }
    Ok((queries, labels))
}

impl Query {
    /// Whether a series of the scrape matches; for each of several values one.
    fn finds(&self, series: &[Series]) -> bool {
        let of_metric = || series.iter().filter(|series| series.metric == self.metric);
        let holds = |series: &Series, (label, operator, value): &(String, String, String)| {
            let Some(have) = series.labels.get(label) else { return false };
            match &**operator {
                "=" => have == value,
                "!=" => have != value,
                "=~" => value.starts_with('$') || value.split('|').any(|value| value == have),
                _ => false,
            }
        };
        let finds_each = |(label, operator, value): &(String, String, String)| {
            operator != "=~"
                || value.starts_with('$')
                || value
                    .split('|')
                    .all(|value| of_metric().any(|series| series.labels.get(label).is_some_and(|have| have == value)))
        };
        of_metric().any(|series| self.matchers.iter().all(|matcher| holds(series, matcher)))
            && self.matchers.iter().all(finds_each)
    }
}

/// Says what is wrong with an expression.
fn check(expression: &str, shown: &[String], series: &[Series]) -> Result<(), String> {
    let (queries, labels) = parse(expression)?;
    if queries.is_empty() {
        return Err("asks for nothing".into());
    }
    for query in &queries {
        if !query.finds(series) {
            return Err(format!("finds no {} like that", query.metric));
        }
        let has = |label: &String| {
            series.iter().any(|series| series.metric == query.metric && series.labels.contains_key(label))
        };
        if let Some(label) = labels.iter().find(|label| !has(label)) {
            return Err(format!("groups by {label}, which {} has not", query.metric));
        }
    }
    match shown.iter().find(|label| !labels.contains(*label)) {
        Some(label) => Err(format!("shows {label}, which it does not keep")),
        None => Ok(()),
    }
}

/// The labels in a legend or an annotation, in double braces.
fn shown(text: &str) -> Vec<String> {
    let inside = text.split("{{").skip(1).filter_map(|text| text.split_once("}}"));
    let names = inside.map(|(inside, _)| inside.trim()).filter(|inside| !inside.starts_with("$value"));
    names.map(|name| name.trim_start_matches("$labels.").to_owned()).collect()
}

async fn series() -> Vec<Series> {
    let (retries, breakers) = stack::handles().await;
    Scrape::of(&[&retries, &breakers]).series().collect()
}

#[tokio::test(start_paused = true)]
async fn every_expression_of_the_dashboard_finds_its_series() {
    let series = series().await;
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut asked = String::new();
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let (expression, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
            check(expression, &shown(legend), &series).unwrap_or_else(|error| panic!("{expression} {error}"));
            asked += expression;
        }
    }
    // No metric is missing from it.
    for metric in tower_rampart::metrics::Metric::ALL {
        assert!(asked.contains(metric.prometheus), "{}", metric.prometheus);
    }
    let variable = dashboard["templating"]["list"][1]["query"].as_str().unwrap();
    for metric in ["rampart_breaker_partitions", "rampart_retry_calls_total"] {
        assert!(variable.contains(metric) && series.iter().any(|series| series.metric == metric), "{variable}");
    }
}

/// What is added to nothing is nothing.
#[test]
fn a_sum_asks_for_series_that_are_there_from_the_start() {
    let (retries, breakers) = (RetryPolicy::new().handle(), CircuitBreakerLayer::new_for_http().handle());
    let fresh: Vec<_> = Scrape::of(&[&retries, &breakers]).series().collect();
    let expressions = DASHBOARD.lines().filter_map(|line| line.trim().strip_prefix(r#""expr": "#));
    let sums: Vec<_> = expressions.filter(|expression| expression.contains(" + ")).collect();
    assert!(!sums.is_empty());
    for sum in sums {
        check(&sum.replace('\\', ""), &[], &fresh).unwrap_or_else(|error| panic!("{sum} {error}"));
    }
}

#[tokio::test(start_paused = true)]
async fn every_expression_of_the_alert_rules_finds_its_series() {
    let series = series().await;
    let rules: Vec<_> = ALERTS.split("- alert: ").skip(1).collect();
    assert_eq!(rules.len(), 8);
    for rule in rules {
        let field = |name: &str| rule.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap_or_default();
        let expression = field("expr: ");
        let shown = shown(field("summary: "));
        check(expression, &shown, &series).unwrap_or_else(|error| panic!("{expression} {error}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_expression_is_found() {
    let series = series().await;
    let wrong = |expression: &str, legend: &str| check(expression, &shown(legend), &series).unwrap_err();
    assert_eq!(wrong("rampart_breaker_calls", ""), "finds no rampart_breaker_calls like that");
    let misspelt = r#"sum(rampart_breaker_calls_total{outcome="failed"})"#;
    assert_eq!(wrong(misspelt, ""), "finds no rampart_breaker_calls_total like that");
    let half = r#"rampart_breaker_calls_total{outcome=~"success|failed"}"#;
    assert_eq!(wrong(half, ""), "finds no rampart_breaker_calls_total like that");
    let by = "sum by (partition) (rampart_breaker_partitions)";
    assert_eq!(wrong(by, ""), "groups by partition, which rampart_breaker_partitions has not");
    assert_eq!(wrong("raet(rampart_breaker_calls_total[5m])", ""), "has the unknown word raet");
    assert_eq!(wrong("sum(rampart_breaker_partitions))", ""), "is not balanced");
    assert_eq!(wrong("sum by (name) (rampart_breaker_partitions)", "{{state}}"), "shows state, which it does not keep");
    assert_eq!(wrong("1 > 0", ""), "asks for nothing");
}
