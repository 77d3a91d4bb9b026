//! Crates with their metrics on, each over the stack that they have without on the path `metrics`.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use tower::Layer;
use tower_rampart::metrics::{Source, prometheus_text};

use super::{rampart, resilience, seatbelt};
use crate::contenders::{Contender, Stack};
use crate::paths::Path;
use crate::upstream::{Inner, Requests};

pub(crate) const RAMPART: &str = "rampart, metrics";
pub(crate) const RAMPART_NOTE: &str = "prometheus_text of both handles after every round, in its time";
pub(crate) const SEATBELT: &str = "seatbelt, metrics";
pub(crate) const SEATBELT_NOTE: &str = "with a meter of the SDK of OpenTelemetry, which exports nothing during a run";
pub(crate) const RESILIENCE: &str = "tower-resilience, metrics";
pub(crate) const RESILIENCE_NOTE: &str = "with a recorder of atomics in a DashMap, which nothing reads; without a recorder it is \
    tower-resilience, which makes its keys all the same wherever its feature is on";

pub(crate) fn rampart(path: Path) -> Option<Contender> {
    let build = || -> Box<dyn Stack> {
        let (retry, breaker) = rampart::metrics();
        let stack = Box::new(retry.layer(breaker.layer(Inner::Healthy)));
        Box::new(Scraped { stack, sources: [Arc::new(retry.handle()), Arc::new(breaker.handle())] })
    };
    (path == Path::Metrics).then(|| Contender { who: RAMPART, build: Box::new(build) })
}

pub(crate) fn seatbelt(path: Path) -> Option<Contender> {
    static PROVIDER: LazyLock<SdkMeterProvider> =
        LazyLock::new(|| SdkMeterProvider::builder().with_periodic_exporter(Discard).build());
    (path == Path::Metrics)
        .then(|| Contender::new(SEATBELT, || seatbelt::stack(&seatbelt::context().use_metrics(&*PROVIDER))))
}

pub(crate) fn resilience(path: Path) -> Option<Contender> {
    let build = || -> Box<dyn Stack> { Box::new(Recorded(Box::new(resilience::stack()))) };
    (path == Path::Metrics).then(|| Contender { who: RESILIENCE, build: Box::new(build) })
}

/// Its numbers are read at the end of each round.
struct Scraped {
    stack: Box<dyn Stack>,
    sources: [Arc<dyn Source + Send + Sync>; 2],
}

impl Stack for Scraped {
    fn drive(&mut self, requests: &mut Requests, calls: usize) -> usize {
        let answered = self.stack.drive(requests, calls);
        let [retries, breakers] = &self.sources;
        black_box(prometheus_text(&[&**retries, &**breakers]));
        answered
    }

    fn another(&self) -> Box<dyn Stack> {
        Box::new(Self { stack: self.stack.another(), sources: self.sources.clone() })
    }
}

/// Has a recorder while it is driven. The facade asks for one of the thread first, so this is no slower than a global.
struct Recorded(Box<dyn Stack>);

impl Stack for Recorded {
    fn drive(&mut self, requests: &mut Requests, calls: usize) -> usize {
        static ATOMICS: LazyLock<Atomics> = LazyLock::new(Atomics::default);
        with_local_recorder(&*ATOMICS, || self.0.drive(requests, calls))
    }

    fn another(&self) -> Box<dyn Stack> {
        Box::new(Self(self.0.another()))
    }
}

/// Little of what a recorder does: it finds an atomic by the key, and adds to it.
#[derive(Default)]
struct Atomics {
    numbers: DashMap<Key, Arc<AtomicU64>, RandomState>,
    histograms: DashMap<Key, Arc<CountAndSum>, RandomState>,
}

impl Atomics {
    fn number(&self, key: &Key) -> Arc<AtomicU64> {
        match self.numbers.get(key) {
            Some(number) => number.clone(),
            None => self.numbers.entry(key.clone()).or_default().clone(),
        }
    }
}

impl Recorder for Atomics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(match self.histograms.get(key) {
            Some(histogram) => histogram.clone(),
            None => self.histograms.entry(key.clone()).or_default().clone(),
        })
    }
}

/// A histogram without buckets.
#[derive(Default)]
struct CountAndSum {
    count: AtomicU64,
    sum: AtomicU64,
}

impl HistogramFn for CountAndSum {
    fn record(&self, value: f64) {
        CounterFn::increment(&self.count, 1);
        GaugeFn::increment(&self.sum, value);
    }
}

struct Discard;

impl PushMetricExporter for Discard {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}
