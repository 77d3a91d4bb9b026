//! The lock-free parts under all interleavings of a few threads, with a bounded number of preemptions:
//!
//! ```text
//! RUSTFLAGS="--cfg rampart_loom" cargo test --lib loom_
//! ```
//!
//! `LOOM_MAX_PREEMPTIONS` sets another bound than 2.
//!
//! The cells, engines and windows are the real ones; only the registry's reference count is played by an atomic.

mod nested;

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::thread;

use crate::breaker::config::Settings;
use crate::breaker::control::events::Subscribers;
use crate::breaker::core::node::{Cell, Ending, Held, Shared};
use crate::breaker::core::state_machine::{Attempt, Grant};
use crate::breaker::core::waiters::Waiters;
use crate::breaker::core::window::{Counts, Kind, Outcome, Recorder, Shape};
use crate::breaker::{Snapshot, State, Window};
use crate::classify::Health;
use crate::clock::{Clock, Moment};
use crate::invalid_setting::valid;

const FAILURE: Ending = Ending::Judged(Health::Failure, None);
const SUCCESS: Ending = Ending::Judged(Health::Success, None);
const FAILED: Outcome = Outcome { failed: true, slow: true };
const OK: Outcome = Outcome { failed: false, slow: false };
const SECOND: Duration = Duration::from_secs(1);

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.check(run);
}

fn observer() -> Arc<Subscribers> {
    Arc::default()
}

fn cell(set: impl FnOnce(&mut Settings)) -> Arc<Cell> {
    let mut settings = Settings::default();
    set(&mut settings);
    let shared = Shared {
        policy: settings.policy(),
        is_partitioned: true,
        clock: Clock::start(),
        observer: observer(),
        waiters: Waiters::default(),
    };
    Arc::new(Cell::new(Arc::new(shared), "(model)".into()))
}

fn counts(cell: &Cell) -> Counts {
    let Snapshot { calls, failures, slow, .. } = cell.snapshot();
    Counts { calls, failures, slow }
}

fn grant(cell: &Arc<Cell>) -> Grant {
    match cell.acquire(Attempt::First) {
        Ok(Held::Own(grant)) => grant,
        Ok(Held::Both(_)) | Err(_) => Grant::Uncounted,
    }
}

/// Fails once, and is due to be probed.
fn tripped(probes: u32, successes: u32) -> Arc<Cell> {
    let cell = cell(|settings| {
        valid(settings.set_window(Window::count(1)));
        valid(settings.set_open_for(SECOND.into()));
        valid(settings.set_half_open_max_calls(probes));
        valid(settings.set_success_threshold(successes));
    });
    cell.settle(grant(&cell), None, FAILURE);
    assert_eq!(cell.state(), State::Open);
    cell.clock().set(2 * SECOND);
    cell
}

/// Runs both at once and waits for them.
fn both(one: impl FnOnce() + 'static, other: impl FnOnce() + 'static) {
    let (one, other) = (thread::spawn(one), thread::spawn(other));
    one.join().unwrap();
    other.join().unwrap();
}

#[test]
fn loom_concurrent_failures_trip_once() {
    model(|| {
        let cell = cell(|settings| {
            valid(settings.set_window(Window::count(3)));
            valid(settings.set_minimum_calls(2));
            valid(settings.set_failure_rate(1.0));
        });
        let fail = |cell: Arc<Cell>| move || cell.settle(grant(&cell), None, FAILURE);
        both(fail(cell.clone()), fail(cell.clone()));
        assert_eq!((cell.state(), cell.snapshot().generation), (State::Open, 1));
    });
}

#[test]
fn loom_a_success_that_completes_the_minimum_opens_unless_the_failure_does() {
    loom::model(|| {
        let cell = cell(|settings| {
            valid(settings.set_window(Window::count(3)));
            valid(settings.set_minimum_calls(2));
            valid(settings.set_failure_rate(0.5));
        });
        let end = |cell: Arc<Cell>, ending| move || cell.settle(grant(&cell), None, ending);
        both(end(cell.clone(), FAILURE), end(cell.clone(), SUCCESS));
        assert_eq!((cell.state(), cell.snapshot().generation), (State::Open, 1));
    });
}

#[test]
fn loom_concurrent_failures_in_a_row_trip_once() {
    model(|| {
        let cell = cell(|settings| valid(settings.set_consecutive_failures(2)));
        // Both begin after the first has been counted, which begins the row.
        let grants = [grant(&cell), grant(&cell)];
        cell.settle(grant(&cell), None, SUCCESS);
        let fail = |cell: Arc<Cell>, grant| move || cell.settle(grant, None, FAILURE);
        both(fail(cell.clone(), grants[0]), fail(cell.clone(), grants[1]));
        assert_eq!((cell.state(), cell.snapshot().generation), (State::Open, 1));
    });
}

#[test]
fn loom_exactly_as_many_probes_as_there_are_places() {
    model(|| {
        let cell = tripped(2, 2);
        let admitted = Arc::new(AtomicUsize::new(0));
        let call = |cell: Arc<Cell>, admitted: Arc<AtomicUsize>| {
            move || {
                if cell.acquire(Attempt::First).is_ok() {
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let third = thread::spawn(call(cell.clone(), admitted.clone()));
        both(call(cell.clone(), admitted.clone()), call(cell.clone(), admitted.clone()));
        third.join().unwrap();
        assert_eq!((admitted.load(Ordering::Relaxed), cell.state()), (2, State::HalfOpen));
    });
}

#[test]
fn loom_probes_that_differ_decide_once() {
    model(|| {
        let cell = tripped(2, 1);
        let grants = [grant(&cell), grant(&cell)];
        let end = |cell: Arc<Cell>, grant, ending| move || cell.settle(grant, None, ending);
        both(end(cell.clone(), grants[0], SUCCESS), end(cell.clone(), grants[1], FAILURE));
        // Closed, half-open and then either.
        assert_eq!(cell.snapshot().generation, 3);
        assert_ne!(cell.state(), State::HalfOpen);
    });
}

#[test]
fn loom_a_stale_permit_does_not_reach_the_next_window() {
    for window in [Window::count(2), Window::time(60 * SECOND).buckets(2)] {
        model(move || {
            let cell = cell(|settings| {
                valid(settings.set_window(window));
            });
            let stale = grant(&cell);
            let late = cell.clone();
            let fresh = cell.clone();
            both(
                move || late.settle(stale, None, FAILURE),
                move || {
                    fresh.reset();
                    fresh.settle(grant(&fresh), None, SUCCESS);
                },
            );
            assert_eq!(counts(&cell), Counts { calls: 1, failures: 0, slow: 0 });
        });
    }
}

#[test]
fn loom_a_stale_permit_does_not_reach_a_window_in_a_later_bucket() {
    model(|| {
        let cell = cell(|settings| valid(settings.set_window(Window::time(2 * SECOND).buckets(2))));
        let stale = grant(&cell);
        // The stale recorder has to move the window on, while it is emptied.
        cell.clock().set(SECOND);
        let (late, fresh) = (cell.clone(), cell.clone());
        both(
            move || late.settle(stale, None, FAILURE),
            move || {
                fresh.reset();
                fresh.settle(grant(&fresh), None, SUCCESS);
            },
        );
        assert_eq!(counts(&cell), Counts { calls: 1, failures: 0, slow: 0 });
    });
}

#[test]
fn loom_buckets_rotate_without_losing_a_call() {
    model(|| {
        let (recorder, shape) = two_buckets();
        // It is marked, and the mark goes when the window moves on from here, unless the second failure is there by then.
        recorder.record(shape, at(0), FAILED, || true);
        let seen_by_one = Arc::new(AtomicUsize::new(0));
        let record = |recorder: Arc<Recorder>, second, outcome| {
            let seen_by_one = seen_by_one.clone();
            move || {
                let seen = recorder.record(shape, at(second), outcome, || true).unwrap_or_default();
                if (seen.calls, seen.failures) == (2, 1) {
                    seen_by_one.store(1, Ordering::Relaxed);
                }
            }
        };
        both(record(recorder.clone(), 1, FAILED), record(recorder.clone(), 2, OK));
        assert_eq!(seen_by_one.load(Ordering::Relaxed), 1, "or nobody opens the breaker");
        let held = Counts { calls: 2, failures: 1, slow: 1 };
        assert_eq!(recorder.counts(shape, Moment::at(2 * SECOND)), held);
        let seen = recorder.record(shape, at(2), OK, || true);
        assert_eq!(seen, Some(Counts { calls: 3, ..held }), "the window is marked");
    });
}

#[test]
fn loom_of_failures_in_neighbouring_buckets_one_sees_both() {
    loom::model(|| {
        let (recorder, shape) = two_buckets();
        let most = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let record = |recorder: Arc<Recorder>, [failures, slow]: [Arc<AtomicUsize>; 2], second| {
            move || {
                let seen = recorder.record(shape, at(second), FAILED, || true).unwrap_or_default();
                failures.fetch_max(seen.failures as usize, Ordering::Relaxed);
                slow.fetch_max(seen.slow as usize, Ordering::Relaxed);
            }
        };
        both(record(recorder.clone(), most.clone(), 0), record(recorder.clone(), most.clone(), 1));
        assert_eq!(most.map(|most| most.load(Ordering::Relaxed)), [2, 2], "or nobody opens the breaker");
    });
}

#[test]
fn loom_a_jump_over_the_whole_window_keeps_nothing_old() {
    model(|| {
        let (recorder, shape) = two_buckets();
        recorder.record(shape, at(0), FAILED, || true);
        let record = |recorder: Arc<Recorder>, second| {
            move || {
                recorder.record(shape, at(second), OK, || true);
            }
        };
        both(record(recorder.clone(), 1), record(recorder.clone(), 9));
        let counts = recorder.counts(shape, Moment::at(9 * SECOND));
        assert!((1..=2).contains(&counts.calls) && counts.failures == 0, "{counts:?}");
    });
}

#[test]
fn loom_counters_and_slots_agree_when_recorders_lap_each_other() {
    model(|| {
        let shape = Shape::new(Kind::Count(1), true);
        let recorder = Arc::new(Recorder::new(shape));
        let record = |recorder: Arc<Recorder>, outcome| {
            move || {
                recorder.record(shape, None, outcome, || true);
            }
        };
        both(record(recorder.clone(), FAILED), record(recorder.clone(), OK));
        let now = Moment::at(SECOND);
        let left = recorder.counts(shape, now);
        assert!(left.calls == 1 && left.failures <= 1 && left.failures == left.slow, "{left:?}");
        // What is in the slot comes out of the counters again.
        recorder.record(shape, None, OK, || true);
        assert_eq!(recorder.counts(shape, now), Counts { calls: 1, failures: 0, slow: 0 });
    });
}

#[test]
fn loom_a_retired_cell_loses_no_call() {
    model(|| {
        let cell = cell(|settings| valid(settings.set_window(Window::count(4))));
        // The map's own.
        let holders = Arc::new(AtomicUsize::new(1));
        let counted = Arc::new(AtomicUsize::new(0));
        let retired = Arc::new(AtomicUsize::new(0));
        both(
            {
                let (cell, holders, counted) = (cell.clone(), holders.clone(), counted.clone());
                move || {
                    holders.fetch_add(1, Ordering::Relaxed);
                    fence(Ordering::SeqCst);
                    if !cell.is_gone() {
                        cell.settle(grant(&cell), None, FAILURE);
                        counted.store(1, Ordering::Relaxed);
                    }
                    holders.fetch_sub(1, Ordering::Release);
                }
            },
            {
                let (cell, holders, retired) = (cell.clone(), holders.clone(), retired.clone());
                move || {
                    if cell.retire(|| holders.load(Ordering::Relaxed) == 1) {
                        retired.store(1, Ordering::Relaxed);
                    }
                }
            },
        );
        let (counted, retired) = (counted.load(Ordering::Relaxed), retired.load(Ordering::Relaxed));
        assert!(counted + retired <= 1, "a cell was forgotten together with a call");
        assert_eq!(cell.snapshot().failures, counted as u64);
    });
}

fn two_buckets() -> (Arc<Recorder>, Shape) {
    let shape = Shape::new(Kind::Time { length: 2 * SECOND, buckets: 2 }, true);
    (Arc::new(Recorder::new(shape)), shape)
}

fn at(second: u32) -> Option<Moment> {
    Some(Moment::at(second * SECOND))
}
