use std::collections::HashMap;
use std::fmt;

use ::metrics::{Counter, Gauge, Label, Unit};

use super::sample::read;
use super::{Kind, Metric, Sample, Source};

/// Publishes through the facade `metrics`, to the recorder that is installed.
///
/// The facade does not ask for numbers, so call [`publish`](Self::publish) every few seconds, or before each scrape.
///
/// ```
/// use tower_rampart::CircuitBreakerLayer;
/// use tower_rampart::metrics::Publisher;
///
/// let breakers = CircuitBreakerLayer::new_for_http().name("billing").handle();
/// let mut publisher = Publisher::new();
/// publisher.publish(&[&breakers]);
/// ```
#[derive(Default)]
pub struct Publisher {
    /// What was published last.
    series: HashMap<Name, Series>,
    is_described: bool,
}

/// The name of a metric, and the labels of a series.
type Name = (&'static str, Vec<(&'static str, String)>);

enum Series {
    Counter(Counter),
    Gauge(Gauge),
}

impl Publisher {
    /// Creates a publisher. It keeps the handles of the recorder that is installed when a series first appears.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes what the sources have counted. A breaker that is no longer among those that are open for the longest
    /// time is set to 0, and its series stays until the recorder forgets it: set an idle timeout there. The facade counts
    /// in whole numbers, so the sum of the waits is a gauge.
    pub fn publish(&mut self, sources: &[&dyn Source]) {
        if !std::mem::replace(&mut self.is_described, true) {
            Metric::ALL.iter().for_each(describe);
        }
        let mut last = std::mem::take(&mut self.series);
        for Sample { metric, labels, value } in read(sources.iter().copied()) {
            let key = (metric.name, labels);
            let series = last.remove(&key).unwrap_or_else(|| Series::new(&metric, &key.1));
            series.set(value);
            self.series.insert(key, series);
        }
        for series in last.into_values() {
            if let Series::Gauge(gauge) = series {
                gauge.set(0.0);
            }
        }
    }
}

impl Series {
    fn new(metric: &Metric, labels: &[(&'static str, String)]) -> Self {
        let labels: Vec<_> = labels.iter().map(|(label, value)| Label::new(*label, value.clone())).collect();
        if is_whole(metric) {
            Self::Counter(::metrics::counter!(metric.name, labels))
        } else {
            Self::Gauge(::metrics::gauge!(metric.name, labels))
        }
    }

    fn set(&self, value: f64) {
        match self {
            // A count, which is no fraction and not negative.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Self::Counter(counter) => counter.absolute(value as u64),
            Self::Gauge(gauge) => gauge.set(value),
        }
    }
}

fn describe(metric: &Metric) {
    let unit = if metric.unit == "s" { Unit::Seconds } else { Unit::Count };
    if is_whole(metric) {
        ::metrics::describe_counter!(metric.name, unit, metric.help);
    } else {
        ::metrics::describe_gauge!(metric.name, unit, metric.help);
    }
}

fn is_whole(metric: &Metric) -> bool {
    metric.kind == Kind::Counter && metric.unit != "s"
}

/// The handles show nothing.
impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("series", &self.series.len()).finish_non_exhaustive()
    }
}
