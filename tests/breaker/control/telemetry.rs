use std::cell::{Cell, RefCell};
use std::io::Write;
use std::sync::Once;

use futures_util::FutureExt;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitBreaker, State, Window, partition};

use crate::support::*;

thread_local! {
    /// The events on the thread of a test, which is its own.
    static TOLD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        assert!(!PANICS.get(), "on demand");
        TOLD.with_borrow_mut(|told| told.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn watch() -> Self {
        // One for all: subscribers that come and go with other tests make tracing forget for a moment who listens.
        static LISTEN: Once = Once::new();
        LISTEN.call_once(|| {
            let subscriber = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(|| Lines).finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        TOLD.take();
        Self
    }

    fn read(&self) -> Vec<String> {
        TOLD.with_borrow(|told| String::from_utf8(told.clone()).unwrap().lines().map(str::to_owned).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn one_event_for_a_change_and_none_for_a_call() {
    let lines = Lines::watch();
    let layer = layer().window(Window::count(4)).open_for(SECOND).half_open_max_calls(1).success_threshold(1);
    let (service, _) = over(&layer);
    calls(&service, 1_000, Do::Succeed).await;
    assert!(lines.read().is_empty());
    calls(&service, 4, Do::Fail).await;
    advance(SECOND).await;
    call(&service, Do::Succeed).await;
    layer.breaker().force_open();
    layer.breaker().reset();
    layer.breaker().reset();
    let common = "tower_rampart::breaker: circuit breaker changed name=\"test\" partition=\"(default)\"";
    assert_eq!(
        lines.read(),
        [
            format!(" WARN {common} from=closed to=open mode=automatic cause=\"failure rate\" rate=0.5 calls=4"),
            format!(" INFO {common} from=open to=half-open mode=automatic cause=\"open time over\" rate=0.5 calls=4"),
            format!(
                " INFO {common} from=half-open to=closed mode=automatic cause=\"probes succeeded\" rate=0.5 calls=4"
            ),
            format!(" WARN {common} from=closed to=open mode=forced open cause=\"by hand\" rate=0.0 calls=0"),
            format!(" INFO {common} from=open to=closed mode=automatic cause=\"by hand\" rate=0.0 calls=0"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_shared_breaker_is_reported_once_a_minute() {
    let lines = Lines::watch();
    let layer = layer().partition_by(partition::by(|request: &(u64, Do)| request.0)).max_partitions(1);
    let (service, _) = over(&layer);
    layer.handle().disable(&0);
    let before = lines.read().len();
    for id in 1..100 {
        call_for(&service, id, Do::Succeed).await;
        advance(SECOND).await;
    }
    let warnings = lines.read().split_off(before);
    let expected = |calls| {
        format!(
            " WARN tower_rampart::breaker: all partitions are in use: new ones share a few breakers name=\"test\" \
             max_partitions=1 calls={calls}"
        )
    };
    assert_eq!(warnings, [expected(1), expected(61)]);
}

#[test]
fn rule_11_a_reconfiguration_is_reported_once_by_the_names_of_what_it_changes() {
    let lines = Lines::watch();
    let layer = CircuitBreakerLayer::new_for_http().name("test").partition_by(partition::extension::<u64>());
    let breakers = layer.handle();
    for id in 0..3 {
        breakers.get_or_insert(&id).unwrap();
    }
    let other = || CircuitBreaker::builder().minimum_calls(7).failure_rate(0.3).outage(4, SECOND);
    assert!(!breakers.reconfigure(&other()).unwrap().is_empty());
    assert!(breakers.reconfigure(&other()).unwrap().is_empty());
    assert!(breakers.reconfigure(&other().name("other")).is_err());
    let expected = " INFO tower_rampart::breaker: circuit breakers reconfigured name=\"test\" \
                    changes=minimum_calls, failure_rate, outage";
    assert_eq!(lines.read(), [expected]);
}

#[test]
fn a_subscriber_of_tracing_that_panics_costs_no_reconfiguration() {
    let _lines = Lines::watch();
    let breakers = layer().handle();
    PANICS.set(true);
    let changes = breakers.reconfigure(&CircuitBreaker::builder().minimum_calls(7));
    PANICS.set(false);
    assert!(changes.unwrap().iter().any(|name| name == "minimum_calls"));
}

#[tokio::test(start_paused = true)]
async fn telemetry_never_shows_a_redacted_key() {
    let lines = Lines::watch();
    let layer = layer()
        .window(Window::count(1))
        .partition_by(partition::by(|request: &(&'static str, Do)| request.0))
        .redact_labels(true);
    let (service, _) = over(&layer);
    call_for(&service, "hunter2", Do::Fail).await;
    let lines = lines.read();
    assert!(lines.len() == 1 && !lines[0].contains("hunter2"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn rule_10_a_subscriber_of_tracing_that_panics_costs_no_call_and_no_news() {
    let lines = Lines::watch();
    let layer = layer()
        .window(Window::count(1))
        .open_for(SECOND)
        .half_open_max_calls(1)
        .success_threshold(1)
        .partition_by(partition::by(|request: &(u64, Do)| request.0))
        .max_partitions(1);
    let (service, upstream) = over(&layer);
    let (mut watch, mut events) = (layer.handle().get_or_insert(&1).unwrap().watch(), layer.handle().subscribe(8));
    PANICS.set(true);
    assert_eq!(call_for(&service, 1, Do::Fail).await, Outcome::Failed("failed".into()));
    advance(SECOND).await;
    assert_eq!(call_for(&service, 1, Do::Succeed).await, OK, "the probe settles");
    assert_eq!(call_for(&service, 2, Do::Succeed).await, OK, "shares the overflow breaker, which is reported");
    PANICS.set(false);
    assert_eq!((upstream.calls(), upstream.in_flight()), (3, 0));
    assert_eq!(watch.changed().now_or_never().unwrap().state, State::Closed);
    let states: Vec<_> = std::iter::from_fn(|| events.try_recv()).map(|event| event.to).collect();
    assert_eq!(states, [State::Open, State::HalfOpen, State::Closed]);
    assert!(lines.read().is_empty());
}
