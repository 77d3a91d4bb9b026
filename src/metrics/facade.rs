use std::collections::HashSet;
use std::fmt;

use ::metrics::{Label, Unit};

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
    /// The gauges that were published last. Not their handles: a recorder that has forgotten a series reads no old handle.
    gauges: HashSet<Name>,
}

/// The name of a metric, and the labels of a series.
type Name = (&'static str, Vec<(&'static str, String)>);

impl Publisher {
    /// Creates a publisher.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes what the sources have counted. A breaker that is no longer among those that are open for the longest
    /// time is set to 0, and its series stays until the recorder forgets it, as the facade can remove none: set an idle
    /// timeout there that is longer than the time between two calls of this. The facade counts in whole numbers, so the
    /// sum of the waits is a gauge.
    pub fn publish(&mut self, sources: &[&dyn Source]) {
        Metric::ALL.iter().for_each(describe);
        let mut last = std::mem::take(&mut self.gauges);
        for Sample { metric, labels, value } in read(sources.iter().copied()) {
            if is_whole(&metric) {
                // A count, which is no fraction and not negative.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                ::metrics::counter!(metric.name, of_facade(&labels)).absolute(value as u64);
            } else {
                ::metrics::gauge!(metric.name, of_facade(&labels)).set(value);
                let name = (metric.name, labels);
                last.remove(&name);
                self.gauges.insert(name);
            }
        }
        for (name, labels) in last {
            ::metrics::gauge!(name, of_facade(&labels)).set(0.0);
        }
    }
}

fn of_facade(labels: &[(&'static str, String)]) -> Vec<Label> {
    labels.iter().map(|(label, value)| Label::new(*label, value.clone())).collect()
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

/// Without the labels, which may be keys of callers.
impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("gauges", &self.gauges.len()).finish_non_exhaustive()
    }
}
