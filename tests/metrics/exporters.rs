//! Both exporters show what the text for Prometheus shows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tower_rampart::metrics::{Metric, Sample, Source};

use crate::stack;

/// The name of a metric, and the labels of a series.
type Name = (String, BTreeMap<String, String>);

type Numbers = BTreeMap<Name, f64>;

fn expected(sources: &[&dyn Source]) -> Numbers {
    let mut samples = Vec::new();
    sources.iter().for_each(|source| source.collect(&mut samples));
    let mut numbers = Numbers::new();
    for Sample { metric, labels, value, .. } in samples {
        let labels = labels.into_iter().map(|(label, value)| (label.to_owned(), value)).collect();
        *numbers.entry((metric.name.to_owned(), labels)).or_default() += value;
    }
    numbers
}

#[cfg(feature = "metrics")]
mod facade {
    use std::sync::atomic::{AtomicU64, Ordering};

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use tower_rampart::CircuitBreakerLayer;
    use tower_rampart::metrics::{Kind, Publisher};

    use super::*;

    /// Keeps the bits of every series.
    #[derive(Default)]
    struct Registered {
        series: Mutex<BTreeMap<Name, (bool, Arc<AtomicU64>)>>,
        described: Mutex<Vec<String>>,
    }

    impl Registered {
        fn register(&self, key: &Key, is_counter: bool) -> Arc<AtomicU64> {
            let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
            let mut series = self.series.lock().unwrap();
            series.entry((key.name().to_owned(), labels)).or_insert((is_counter, Arc::default())).1.clone()
        }

        fn numbers(&self) -> Numbers {
            let series = self.series.lock().unwrap();
            let number = |is_counter: bool, bits: u64| if is_counter { bits as f64 } else { f64::from_bits(bits) };
            series.iter().map(|(key, (is, bits))| (key.clone(), number(*is, bits.load(Ordering::Relaxed)))).collect()
        }
    }

    impl Recorder for Registered {
        fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
            self.described.lock().unwrap().push(key.as_str().to_owned());
        }

        fn describe_gauge(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
            self.described.lock().unwrap().push(key.as_str().to_owned());
        }

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.register(key, true))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.register(key, false))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_facade_shows_every_number() {
        let (retries, breakers) = stack::handles().await;
        let sources: [&dyn Source; 2] = [&retries, &breakers];
        let (recorder, mut publisher) = (Registered::default(), Publisher::new());
        metrics::with_local_recorder(&recorder, || publisher.publish(&sources));
        assert_eq!(recorder.numbers(), expected(&sources));
        assert_eq!(recorder.described.lock().unwrap().len(), Metric::ALL.len());

        breakers.default_partition().try_acquire().unwrap().fail();
        metrics::with_local_recorder(&recorder, || publisher.publish(&sources));
        assert_eq!(recorder.numbers(), expected(&sources));
        let is_counter = |(name, _): &Name| {
            Metric::ALL.iter().any(|metric| metric.name == name && metric.kind == Kind::Counter && metric.unit != "s")
        };
        assert!(recorder.series.lock().unwrap().iter().all(|(key, (counter, _))| *counter == is_counter(key)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_recorder_forgot_is_published_again() {
        let (retries, breakers) = stack::handles().await;
        let sources: [&dyn Source; 2] = [&retries, &breakers];
        let (recorder, mut publisher) = (Registered::default(), Publisher::new());
        for _ in 0..2 {
            metrics::with_local_recorder(&recorder, || publisher.publish(&sources));
            assert_eq!(recorder.numbers(), expected(&sources));
            recorder.series.lock().unwrap().clear();
        }
    }

    #[test]
    fn a_breaker_that_closes_is_set_to_zero() {
        let layer = CircuitBreakerLayer::new_for_http().name("billing");
        let (recorder, mut publisher) = (Registered::default(), Publisher::new());
        layer.breaker().force_open();
        let closed = |numbers: Numbers| {
            let mut open = numbers.into_iter().filter(|((name, _), _)| name == "rampart.breaker.open");
            (open.next().map(|(_, value)| value), open.next())
        };
        metrics::with_local_recorder(&recorder, || publisher.publish(&[&layer.handle()]));
        let number = f64::to_bits(7.0);
        let key = recorder.numbers().into_keys().find(|(name, _)| name == "rampart.breaker.open").unwrap();
        recorder.series.lock().unwrap()[&key].1.store(number, Ordering::Relaxed);
        layer.breaker().automatic();
        metrics::with_local_recorder(&recorder, || publisher.publish(&[&layer.handle()]));
        assert_eq!(closed(recorder.numbers()), (Some(0.0), None));
    }
}

#[cfg(feature = "opentelemetry")]
mod opentelemetry_sdk {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use opentelemetry::KeyValue;
    use opentelemetry::metrics::{
        AsyncInstrument, AsyncInstrumentBuilder, Callback, InstrumentProvider, Meter, ObservableCounter,
        ObservableGauge,
    };
    use tower_rampart::metrics::observe;

    use super::*;

    /// The instruments of an SDK that collects by hand.
    #[derive(Default)]
    struct Instruments(Mutex<Vec<(String, Callback<f64>)>>);

    struct Instrument<'a> {
        name: &'a str,
        numbers: Mutex<&'a mut Numbers>,
    }

    impl InstrumentProvider for Instruments {
        fn f64_observable_counter(
            &self,
            builder: AsyncInstrumentBuilder<'_, ObservableCounter<f64>, f64>,
        ) -> ObservableCounter<f64> {
            self.0.lock().unwrap().extend(builder.callbacks.into_iter().map(|call| (builder.name.to_string(), call)));
            ObservableCounter::new()
        }

        fn f64_observable_gauge(
            &self,
            builder: AsyncInstrumentBuilder<'_, ObservableGauge<f64>, f64>,
        ) -> ObservableGauge<f64> {
            self.0.lock().unwrap().extend(builder.callbacks.into_iter().map(|call| (builder.name.to_string(), call)));
            ObservableGauge::new()
        }
    }

    impl AsyncInstrument<f64> for Instrument<'_> {
        fn observe(&self, number: f64, attributes: &[KeyValue]) {
            let labels = attributes.iter().map(|pair| (pair.key.to_string(), pair.value.to_string())).collect();
            self.numbers.lock().unwrap().insert((self.name.to_owned(), labels), number);
        }
    }

    impl Instruments {
        fn collect(&self) -> Numbers {
            let mut numbers = Numbers::new();
            for (name, callback) in &*self.0.lock().unwrap() {
                callback(&Instrument { name, numbers: Mutex::new(&mut numbers) });
            }
            numbers
        }
    }

    /// Counts how often it is read.
    struct Counted<S>(S, Arc<AtomicUsize>);

    impl<S: Source> Source for Counted<S> {
        fn collect(&self, samples: &mut Vec<Sample>) {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.collect(samples);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_collection_shows_every_number_and_reads_the_breakers_once() {
        let (retries, breakers) = stack::handles().await;
        let (instruments, reads) = (Arc::new(Instruments::default()), Arc::new(AtomicUsize::new(0)));
        let meter = Meter::new(instruments.clone());
        observe(&meter, vec![Arc::new(retries.clone()), Arc::new(Counted(breakers.clone(), reads.clone()))]);
        let sources: [&dyn Source; 2] = [&retries, &breakers];
        assert_eq!(instruments.collect(), expected(&sources));
        breakers.default_partition().try_acquire().unwrap().fail();
        assert_eq!(instruments.collect(), expected(&sources));
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        assert_eq!(instruments.0.lock().unwrap().len(), Metric::ALL.len());
    }
}
