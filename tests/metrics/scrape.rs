//! A reader of Prometheus' text format, which is strict.

use std::collections::BTreeMap;

use tower_rampart::metrics::{Source, prometheus_text};

/// The numbers by their series, such as `rampart_breaker_calls_total{name="a",outcome="success"}`.
#[derive(Debug, PartialEq)]
pub(crate) struct Scrape(pub(crate) BTreeMap<String, f64>);

/// A series taken apart.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) metric: String,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Scrape {
    pub(crate) fn of(sources: &[&dyn Source]) -> Self {
        let text = prometheus_text(sources);
        let mut series = BTreeMap::new();
        let mut family = "";
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                family = kind.split_once(' ').unwrap().0;
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(family) && name.contains('{') && name.ends_with('}'), "{line} is not in {family}");
            let value: f64 = value.parse().unwrap();
            assert!(series.insert(name.to_owned(), value).is_none(), "{name} comes twice");
        }
        Self(series)
    }

    /// The sum of the series of this metric whose labels contain these.
    pub(crate) fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let matching = self.0.iter().filter(|(series, _)| {
            let series = Series::of(series);
            series.metric == metric
                && labels.iter().all(|(label, value)| series.labels.get(*label).is_some_and(|have| have == value))
        });
        matching.map(|(_, value)| value).sum()
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = Series> + '_ {
        self.0.keys().map(|series| Series::of(series))
    }
}

impl Series {
    fn of(text: &str) -> Self {
        let (metric, labels) = text.split_once('{').unwrap();
        let mut labels = labels.strip_suffix('}').unwrap();
        let mut all = BTreeMap::new();
        while let Some((label, rest)) = labels.split_once("=\"") {
            let mut value = String::new();
            let mut letters = rest.chars();
            loop {
                match letters.next().unwrap() {
                    '"' => break,
                    '\\' => value.push(match letters.next().unwrap() {
                        'n' => '\n',
                        escaped @ ('\\' | '"') => escaped,
                        other => panic!("\\{other} in {text}"),
                    }),
                    letter => value.push(letter),
                }
            }
            all.insert(label.to_owned(), value);
            labels = letters.as_str().strip_prefix(',').unwrap_or(letters.as_str());
        }
        assert_eq!(labels, "", "{text}");
        Self { metric: metric.to_owned(), labels: all }
    }
}
