use std::sync::{Arc, Mutex, PoisonError};

use ::opentelemetry::KeyValue;
use ::opentelemetry::metrics::{AsyncInstrument, Meter};

use super::sample::read;
use super::{Kind, Metric, Sample, Source};

/// Registers an observable instrument for each metric. The SDK asks for the numbers when it collects.
///
/// ```
/// use std::sync::Arc;
/// use tower_rampart::metrics::observe;
/// use tower_rampart::{CircuitBreakerLayer, RetryLayer};
///
/// let retry = RetryLayer::new_for_http().name("billing");
/// let breaker = CircuitBreakerLayer::new_for_http().name("billing");
/// let meter = opentelemetry::global::meter("my-service");
/// observe(&meter, vec![Arc::new(retry.handle()), Arc::new(breaker.handle())]);
/// ```
pub fn observe(meter: &Meter, sources: Vec<Arc<dyn Source + Send + Sync>>) {
    let reading = Arc::new(Mutex::new(Reading { sources, samples: Vec::new(), unread: Vec::new() }));
    for metric in Metric::ALL {
        let reading = reading.clone();
        let observe = move |instrument: &dyn AsyncInstrument<f64>| {
            let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
            for Sample { labels, value, .. } in reading.of(metric) {
                let attributes: Vec<_> =
                    labels.iter().map(|(label, value)| KeyValue::new(*label, value.clone())).collect();
                instrument.observe(*value, &attributes);
            }
        };
        match metric.kind {
            Kind::Counter => {
                let builder = meter.f64_observable_counter(metric.name);
                builder.with_unit(metric.unit).with_description(metric.help).with_callback(observe).build();
            }
            Kind::Gauge => {
                let builder = meter.f64_observable_gauge(metric.name);
                builder.with_unit(metric.unit).with_description(metric.help).with_callback(observe).build();
            }
        }
    }
}

/// What was read last, so that the instruments of one collection look at the partitions once.
struct Reading {
    sources: Vec<Arc<dyn Source + Send + Sync>>,
    samples: Vec<Sample>,
    /// The metrics that have not been asked for since.
    unread: Vec<&'static str>,
}

impl Reading {
    /// Reads anew when a metric is asked for the second time.
    fn of(&mut self, metric: &Metric) -> impl Iterator<Item = &Sample> {
        if !self.unread.contains(&metric.name) {
            self.samples = read(self.sources.iter().map(|source| &**source as &dyn Source));
            self.unread = Metric::ALL.iter().map(|metric| metric.name).collect();
        }
        self.unread.retain(|unread| *unread != metric.name);
        self.samples.iter().filter(move |sample| sample.metric.name == metric.name)
    }
}
