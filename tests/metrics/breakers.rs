use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use tokio::time::advance;
use tower::{Layer, Service, service_fn};
use tower_rampart::breaker::{CircuitBreaker, Mode, Window, partition};
use tower_rampart::classify::{HttpClassifier, Verdict};
use tower_rampart::metrics::Metric;
use tower_rampart::{BoxError, CircuitBreakerLayer};

use crate::scrape::Scrape;

type Tenants = CircuitBreakerLayer<HttpClassifier, partition::By<fn(&u64) -> u64, u64>>;

const CALLS: &str = "rampart_breaker_calls_total";
const PARTITIONS: &str = "rampart_breaker_partitions";
const TRANSITIONS: &str = "rampart_breaker_transitions_total";
const PROBES: &str = "rampart_breaker_probes_total";
const OPEN: &str = "rampart_breaker_open_seconds";

fn tenants() -> Tenants {
    let key: fn(&u64) -> u64 = |key| *key;
    CircuitBreakerLayer::new_for_http().name("tenants").partition_by(partition::by(key))
}

fn calls(scrape: &Scrape) -> [f64; 3] {
    ["success", "failure", "rejected"].map(|outcome| scrape.sum(CALLS, &[("outcome", outcome)]))
}

fn states(scrape: &Scrape) -> [f64; 3] {
    ["closed", "open", "half-open"].map(|state| scrape.sum(PARTITIONS, &[("state", state)]))
}

fn succeed(breaker: &CircuitBreaker) {
    breaker.try_acquire().unwrap().succeed();
}

fn fail(breaker: &CircuitBreaker) {
    breaker.try_acquire().unwrap().fail();
}

#[test]
fn the_number_of_series_does_not_depend_on_the_number_of_keys() {
    let series = |keys| {
        let breakers = tenants().max_partitions(100_000).handle();
        for key in 0..keys {
            let breaker = breakers.get_or_insert(&key).unwrap();
            // A fifth of them is open.
            if key % 5 == 0 { breaker.force_open() } else { succeed(&breaker) }
        }
        let scrape = Scrape::of(&[&breakers]);
        assert_eq!(states(&scrape), [keys as f64 * 0.8, keys as f64 * 0.2, 0.0]);
        scrape.0.len()
    };
    assert_eq!((series(100), series(100_000)), (44, 44));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_evicted_takes_nothing_from_the_totals() {
    let breakers = tenants().max_partitions(8).handle();
    for key in 0..100 {
        let breaker = breakers.get_or_insert(&key).unwrap();
        succeed(&breaker);
        succeed(&breaker);
        fail(&breaker);
        drop(breaker);
        assert!(breakers.len() <= 8);
        let rounds = (key + 1) as f64;
        assert_eq!(calls(&Scrape::of(&[&breakers])), [2.0 * rounds, rounds, 0.0]);
        // Until its window is empty and its failures are forgotten.
        advance(Duration::from_secs(120)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_removed_takes_nothing_from_the_totals() {
    let breakers = tenants().handle();
    let held = breakers.get_or_insert(&7).unwrap();
    succeed(&held);
    held.force_open();
    let _ = held.try_acquire();
    assert!(breakers.remove(&7));
    assert_eq!(calls(&Scrape::of(&[&breakers])), [1.0, 0.0, 1.0]);
    drop(held);
    assert_eq!(calls(&Scrape::of(&[&breakers])), [1.0, 0.0, 1.0]);
}

#[test]
fn counters_never_fall_and_lose_no_call_while_partitions_are_evicted() {
    const EACH: u64 = 20_000;
    let window = Window::time(Duration::from_millis(1)).buckets(1);
    let breakers = tenants().window(window).max_partitions(16).handle();
    thread::scope(|scope| {
        let callers = [0, 1].map(|thread| {
            let breakers = &breakers;
            scope.spawn(move || {
                for call in 0..EACH {
                    let key = call * 7 % 64 + thread;
                    let found = breakers.get_or_insert(&key);
                    succeed(&found.unwrap_or_else(|| breakers.overflow_partition(&key)));
                }
            })
        });
        let mut last = 0.0;
        while !callers.iter().all(ScopedJoinHandle::is_finished) {
            let [now, ..] = calls(&Scrape::of(&[&breakers]));
            assert!(now >= last && now <= (2 * EACH) as f64, "{now} after {last}");
            last = now;
        }
    });
    assert_eq!(calls(&Scrape::of(&[&breakers])), [(2 * EACH) as f64, 0.0, 0.0]);
}

#[test]
fn the_states_add_up_while_partitions_are_evicted() {
    const CAP: u64 = 64;
    const OPEN: u64 = 4;
    let breakers = tenants().max_partitions(CAP as usize).handle();
    for key in 0..CAP {
        let breaker = breakers.get_or_insert(&key).unwrap();
        if key < OPEN {
            breaker.force_open();
        }
    }
    thread::scope(|scope| {
        let callers = [0, 1].map(|thread| {
            let breakers = &breakers;
            scope.spawn(move || {
                for key in (CAP..20_000).step_by(2) {
                    let _ = breakers.get_or_insert(&(key + thread));
                }
            })
        });
        while !callers.iter().all(ScopedJoinHandle::is_finished) {
            let states = states(&Scrape::of(&[&breakers]));
            // One leaves before another takes its place.
            let all = states.iter().sum::<f64>();
            assert!((CAP as f64 - 1.0..=CAP as f64).contains(&all), "{states:?}");
            assert_eq!(states[1], OPEN as f64);
            assert!((CAP as usize - 1..=CAP as usize).contains(&breakers.len()));
        }
    });
}

#[test]
fn every_partition_is_in_one_state_while_they_change() {
    let breakers = tenants().handle();
    let all: Vec<_> = (0..200).filter_map(|key| breakers.get_or_insert(&key)).collect();
    thread::scope(|scope| {
        let changing = scope.spawn(|| {
            for step in 0..100_000_usize {
                let modes = [Mode::ForcedOpen, Mode::Automatic, Mode::Disabled];
                all[step * 31 % all.len()].set_mode(modes[step % 3]);
            }
        });
        while !changing.is_finished() {
            assert_eq!(states(&Scrape::of(&[&breakers])).iter().sum::<f64>(), 200.0);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn transitions_and_probes_are_counted_by_what_happened() {
    let layer = CircuitBreakerLayer::new_for_http()
        .consecutive_failures(2)
        .open_for(Duration::from_secs(5))
        .half_open_max_calls(2)
        .success_threshold(2);
    let (breaker, breakers) = (layer.breaker(), layer.handle());
    fail(&breaker);
    fail(&breaker);
    for _ in 0..3 {
        assert!(breaker.try_acquire().is_err());
    }
    advance(Duration::from_secs(5)).await;
    // Due, although no call has come.
    assert_eq!(states(&Scrape::of(&[&breakers])), [0.0, 0.0, 1.0]);
    fail(&breaker);
    advance(Duration::from_secs(5)).await;
    drop(breaker.try_acquire().unwrap());
    breaker.try_acquire().unwrap().settle(Verdict::neutral());
    succeed(&breaker);
    let late = breaker.try_acquire().unwrap();
    succeed(&breaker);
    late.fail();
    breaker.reset();

    let scrape = Scrape::of(&[&breakers]);
    let transition = |from, to, cause| scrape.sum(TRANSITIONS, &[("from", from), ("to", to), ("cause", cause)]);
    assert_eq!(transition("closed", "open", "consecutive failures"), 1.0);
    assert_eq!(transition("open", "half-open", "open time over"), 2.0);
    assert_eq!(transition("half-open", "open", "probe failed"), 1.0);
    assert_eq!(transition("half-open", "closed", "probes succeeded"), 1.0);
    // Neither a reset of a closed breaker nor anything else.
    assert_eq!(scrape.sum(TRANSITIONS, &[]), 5.0);
    let probes = ["success", "failure", "neutral"].map(|result| scrape.sum(PROBES, &[("result", result)]));
    assert_eq!(probes, [2.0, 1.0, 2.0]);
    // The probes are among the calls.
    assert_eq!(calls(&scrape), [2.0, 3.0, 3.0]);
    assert_eq!(states(&scrape), [1.0, 0.0, 0.0]);
}

#[tokio::test(start_paused = true)]
async fn the_twenty_that_are_open_for_the_longest_time_are_shown() {
    let breakers = tenants().handle();
    for key in 0..30 {
        breakers.force_open(&key);
        advance(Duration::from_secs(10)).await;
    }
    breakers.automatic(&0);
    let scrape = Scrape::of(&[&breakers]);
    let open = scrape.series().filter(|series| series.metric == OPEN);
    let mut shown: Vec<u64> = open.map(|series| series.labels["partition"].parse().unwrap()).collect();
    shown.sort_unstable();
    assert_eq!(shown, (1..=20).collect::<Vec<_>>());
    assert_eq!(scrape.sum(OPEN, &[("partition", "1")]), 290.0);
    // No other metric shows a partition.
    assert!(scrape.series().all(|series| series.metric == OPEN || !series.labels.contains_key("partition")));
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_does_not_begin_the_open_time_anew() {
    let layer = CircuitBreakerLayer::new_for_http().consecutive_failures(1).open_for(Duration::from_secs(5));
    let (breaker, breakers) = (layer.breaker(), layer.handle());
    for _ in 0..3 {
        fail(&breaker);
        advance(Duration::from_secs(5)).await;
    }
    assert_eq!(Scrape::of(&[&breakers]).sum(OPEN, &[("partition", "(default)")]), 15.0);
    let now = breaker.snapshot();
    assert_eq!((now.openings, now.open_since), (3, Some(Duration::from_secs(15))));
    succeed(&breaker);
    assert_eq!(Scrape::of(&[&breakers]).sum(OPEN, &[]), 0.0);
    assert_eq!((breaker.snapshot().trip, breaker.snapshot().openings), (None, 0));
}

#[test]
fn redacted_labels_stay_redacted() {
    let key: fn(&u64) -> u64 = |key| *key;
    let breakers = CircuitBreakerLayer::new_for_http().redact_labels(true).partition_by(partition::by(key)).handle();
    breakers.force_open(&4_711);
    let scrape = Scrape::of(&[&breakers]);
    let label = scrape.series().find_map(|series| series.labels.get("partition").cloned()).unwrap();
    assert!(label.starts_with('#') && label.len() == 17, "{label}");
}

#[test]
fn calls_that_find_no_room_are_counted() {
    let layer = CircuitBreakerLayer::new_for_http().partition_by(partition::extension::<u64>()).max_partitions(1);
    let breakers = layer.handle();
    let _held = breakers.get_or_insert(&0);
    let inner = service_fn(|_: http::Request<()>| async { Ok::<_, BoxError>(http::Response::new(())) });
    let mut service = layer.layer(inner);
    for key in 1..=3_u64 {
        drop(service.call(http::Request::builder().extension(key).body(()).unwrap()));
    }
    let overflowed = Metric::BREAKER_OVERFLOWED.prometheus;
    assert_eq!(Scrape::of(&[&breakers]).sum(overflowed, &[]), 3.0);
}
