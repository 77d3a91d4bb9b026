use std::fmt::Write;

use super::sample::read;
use super::{Kind, Metric, Sample, Source};

/// Writes all metrics in the [text format of Prometheus][format], version 0.0.4. Serve it with the content type
/// `text/plain; version=0.0.4`.
///
/// ```
/// use tower_rampart::metrics::prometheus_text;
/// use tower_rampart::{CircuitBreakerLayer, RetryLayer};
///
/// let retry = RetryLayer::new_for_http().name("billing");
/// let breaker = CircuitBreakerLayer::new_for_http().name("billing");
/// let (retries, breakers) = (retry.handle(), breaker.handle());
/// let text = prometheus_text(&[&retries, &breakers]);
/// assert!(text.contains("rampart_retry_budget_balance{name=\"billing\"} 10"), "{text}");
/// ```
///
/// [format]: https://prometheus.io/docs/instrumenting/exposition_formats/
#[must_use]
pub fn prometheus_text(sources: &[&dyn Source]) -> String {
    let samples = read(sources.iter().copied());
    let mut text = String::new();
    let mut family = "";
    for Sample { metric, labels, value } in &samples {
        if family != family_of(metric) {
            family = family_of(metric);
            let kind = match metric.kind {
                // One without quantiles.
                _ if family != metric.prometheus => "summary",
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            // Writing into a string does not fail.
            let _ = writeln!(text, "# HELP {family} {}\n# TYPE {family} {kind}", metric.help);
        }
        text.push_str(metric.prometheus);
        for (place, (label, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(text, "{before}{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(text, "}} {value}");
    }
    text
}

/// Sum and count of one family differ in their last word.
fn family_of(metric: &Metric) -> &'static str {
    let name = metric.prometheus;
    name.strip_suffix("_sum").or_else(|| name.strip_suffix("_count")).unwrap_or(name)
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
