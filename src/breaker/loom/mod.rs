//! The lock-free parts under all interleavings of a few threads, with a bounded number of preemptions:
//!
//! ```text
//! CARGO_PROFILE_TEST_OPT_LEVEL=1 RUSTFLAGS="--cfg rampart_loom" cargo test --lib loom_
//! ```
//!
//! Without that level the frames of a debug build overflow the stacks of loom's threads.
//!
//! `LOOM_MAX_PREEMPTIONS` sets another bound than 2.
//!
//! The nodes, engines and windows are the real ones; an atomic stands for the reference count of the registry.

mod nested;
mod reconfigure;

use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::thread;

use crate::breaker::config::Config;
use crate::breaker::core::node::{Admission, Completion, Node, Shared};
use crate::breaker::core::state_machine::{Attempt, PermitKind};
use crate::breaker::core::waiters::News;
use crate::breaker::core::window::{Counts, Kind, Outcome, SlidingWindow, WindowConfig};
use crate::breaker::observe::layer_observer::LayerObserver;
use crate::breaker::{Mode, Snapshot, State, Window};
use crate::classify::Health;
use crate::clock::{Clock, Moment};
use crate::settings::invalid_setting::valid;

const FAILURE: Completion = Completion::Judged(Health::Failure, None);
const SUCCESS: Completion = Completion::Judged(Health::Success, None);
const FAILED: Outcome = Outcome { failed: true, slow: true };
const OK: Outcome = Outcome { failed: false, slow: false };
const SECOND: Duration = Duration::from_secs(1);

impl SlidingWindow {
    fn record(
        &self,
        config: WindowConfig,
        now: Option<Moment>,
        outcome: Outcome,
        live: impl Fn() -> bool,
    ) -> Option<Counts> {
        self.try_record(config, now, outcome, live).unwrap_or_default()
    }
}

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.check(run);
}

fn observer() -> Arc<LayerObserver> {
    Arc::default()
}

fn node(set: impl FnOnce(&mut Config)) -> Arc<Node> {
    let mut config = Config::default();
    set(&mut config);
    let shared = Shared::new(config.policy(), true, Clock::start(), observer(), None);
    Arc::new(Node::new(shared, "(model)".into()))
}

fn counts(node: &Node) -> Counts {
    let Snapshot { calls, failures, slow, .. } = node.snapshot();
    Counts { calls, failures, slow }
}

fn permit(node: &Arc<Node>) -> PermitKind {
    node.admit(Attempt::First).map_or(PermitKind::Uncounted, |admission| admission.permits().0)
}

/// Fails once, and is due to be probed.
fn tripped(probes: u32, successes: u32) -> Arc<Node> {
    let node = node(|config| {
        valid(config.set_window(Window::count(1)));
        valid(config.set_open_for(SECOND.into()));
        valid(config.set_half_open_max_calls(probes));
        valid(config.set_success_threshold(successes));
    });
    node.settle(permit(&node), None, FAILURE);
    assert_eq!(node.state(), State::Open);
    node.clock().set(2 * SECOND);
    node
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
        let node = node(|config| {
            valid(config.set_window(Window::count(3)));
            valid(config.set_minimum_calls(2));
            valid(config.set_failure_rate(1.0));
        });
        let fail = |node: Arc<Node>| move || node.settle(permit(&node), None, FAILURE);
        both(fail(node.clone()), fail(node.clone()));
        assert_eq!((node.state(), node.snapshot().generation), (State::Open, 1));
    });
}

#[test]
fn loom_a_success_that_completes_the_minimum_opens_unless_the_failure_does() {
    loom::model(|| {
        let node = node(|config| {
            valid(config.set_window(Window::count(3)));
            valid(config.set_minimum_calls(2));
            valid(config.set_failure_rate(0.5));
        });
        let end = |node: Arc<Node>, completion| move || node.settle(permit(&node), None, completion);
        both(end(node.clone(), FAILURE), end(node.clone(), SUCCESS));
        assert_eq!((node.state(), node.snapshot().generation), (State::Open, 1));
    });
}

#[test]
fn loom_concurrent_failures_in_a_row_trip_once() {
    model(|| {
        let node = node(|config| valid(config.set_consecutive_failures(2)));
        // Both begin after the first has been counted, which begins the row.
        let permits = [permit(&node), permit(&node)];
        node.settle(permit(&node), None, SUCCESS);
        let fail = |node: Arc<Node>, permit| move || node.settle(permit, None, FAILURE);
        both(fail(node.clone(), permits[0]), fail(node.clone(), permits[1]));
        assert_eq!((node.state(), node.snapshot().generation), (State::Open, 1));
    });
}

#[test]
fn loom_exactly_as_many_probes_as_there_are_places() {
    model(|| {
        let node = tripped(2, 2);
        let admitted = Arc::new(AtomicUsize::new(0));
        let call = |node: Arc<Node>, admitted: Arc<AtomicUsize>| {
            move || {
                if node.admit(Attempt::First).is_ok() {
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let third = thread::spawn(call(node.clone(), admitted.clone()));
        both(call(node.clone(), admitted.clone()), call(node.clone(), admitted.clone()));
        third.join().unwrap();
        assert_eq!((admitted.load(Ordering::Relaxed), node.state()), (2, State::HalfOpen));
    });
}

#[test]
fn loom_probes_that_differ_decide_once() {
    model(|| {
        let node = tripped(2, 1);
        let permits = [permit(&node), permit(&node)];
        let end = |node: Arc<Node>, permit, completion| move || node.settle(permit, None, completion);
        both(end(node.clone(), permits[0], SUCCESS), end(node.clone(), permits[1], FAILURE));
        // Closed, half-open and then either.
        assert_eq!(node.snapshot().generation, 3);
        assert_ne!(node.state(), State::HalfOpen);
    });
}

#[test]
fn loom_a_body_that_outlives_its_lease_counts_once() {
    model(|| {
        let node = tripped(1, 2);
        let mut streaming = Admission::Own(permit(&node));
        node.head_succeeded(&mut streaming, None);
        // Its lease is over: the next call counts it, and so may its end.
        node.clock().set(100 * SECOND);
        let (reader, caller) = (node.clone(), node.clone());
        both(
            move || reader.settle_admission(streaming, None, Completion::BodyDropped),
            move || caller.settle(permit(&caller), None, Completion::Abandoned),
        );
        assert_eq!(node.state(), State::HalfOpen);
        node.settle(permit(&node), None, SUCCESS);
        assert_eq!((node.state(), node.snapshot().generation), (State::Closed, 3));
    });
}

#[test]
fn loom_calls_that_find_a_ramp_over_close_it_once_and_are_counted() {
    model(|| {
        let node = node(|config| {
            valid(config.set_window(Window::count(4)));
            valid(config.set_minimum_calls(1));
            valid(config.set_failure_rate(1.0));
            valid(config.set_open_for(SECOND.into()));
            valid(config.set_success_threshold(1));
            valid(config.set_ramp(&[0.5], 4));
        });
        node.settle(permit(&node), None, FAILURE);
        node.clock().set(2 * SECOND);
        node.settle(permit(&node), None, SUCCESS);
        assert_eq!((node.state(), node.snapshot().generation), (State::HalfOpen, 2));
        node.clock().set(3 * SECOND);
        let call = |node: Arc<Node>| move || node.settle(permit(&node), None, SUCCESS);
        both(call(node.clone()), call(node.clone()));
        assert_eq!((node.state(), node.snapshot().generation), (State::Closed, 3));
        assert_eq!(counts(&node), Counts { calls: 2, failures: 0, slow: 0 });
    });
}

#[test]
fn loom_a_stale_permit_does_not_reach_the_next_window() {
    for window in [Window::count(2), Window::time(60 * SECOND).buckets(2)] {
        model(move || {
            let node = node(|config| {
                valid(config.set_window(window));
            });
            let stale = permit(&node);
            let late = node.clone();
            let fresh = node.clone();
            both(
                move || late.settle(stale, None, FAILURE),
                move || {
                    fresh.reset();
                    fresh.settle(permit(&fresh), None, SUCCESS);
                },
            );
            assert_eq!(counts(&node), Counts { calls: 1, failures: 0, slow: 0 });
        });
    }
}

#[test]
fn loom_totals_lose_no_call_to_a_reset() {
    for window in [Window::count(1), Window::time(60 * SECOND).buckets(2)] {
        model(move || {
            let node = node(|config| {
                valid(config.set_window(window));
                valid(config.set_minimum_calls(1));
            });
            let permits = [permit(&node), permit(&node)];
            let (one, other) = (node.clone(), node.clone());
            both(
                move || permits.into_iter().for_each(|permit| one.settle(permit, None, SUCCESS)),
                move || {
                    // At any time, a snapshot shows no more than there was, and no fewer than before.
                    let seen = other.snapshot().totals.calls;
                    other.reset();
                    let totals = other.snapshot().totals;
                    assert!(seen <= totals.calls && totals.calls <= 2, "{seen}, then {totals:?}");
                    other.settle(permit(&other), None, FAILURE);
                },
            );
            let totals = node.snapshot().totals;
            // A success of before the reset that comes later does not count.
            assert!(totals.failed == 1 && totals.succeeded <= 2, "{totals:?}");
            assert_eq!(totals.calls, totals.succeeded + totals.failed);
            assert_eq!(totals.transitions, 2, "{totals:?}");
        });
    }
}

#[test]
fn loom_a_stale_permit_does_not_reach_a_window_in_a_later_bucket() {
    model(|| {
        let node = node(|config| valid(config.set_window(Window::time(2 * SECOND).buckets(2))));
        let stale = permit(&node);
        // The stale window has to move the window on, while it is emptied.
        node.clock().set(SECOND);
        let (late, fresh) = (node.clone(), node.clone());
        both(
            move || late.settle(stale, None, FAILURE),
            move || {
                fresh.reset();
                fresh.settle(permit(&fresh), None, SUCCESS);
            },
        );
        assert_eq!(counts(&node), Counts { calls: 1, failures: 0, slow: 0 });
    });
}

#[test]
fn loom_a_reset_shows_no_other_mode_or_state() {
    model(|| {
        let node = node(|config| valid(config.set_window(Window::count(2))));
        node.settle(permit(&node), None, FAILURE);
        let (reset, seen) = (node.clone(), node.clone());
        both(
            move || reset.reset(),
            move || {
                assert_eq!((seen.mode(), seen.state()), (Mode::Automatic, State::Closed));
                // Also a call that comes meanwhile is counted.
                assert!(matches!(permit(&seen), PermitKind::Counted { .. }));
            },
        );
        assert_eq!(counts(&node), Counts::default());
    });
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task registers and then looks, while another thread changes the node: it sees the change or is woken.
fn no_change_is_missed(news: News, sees: impl Fn(&Arc<Node>, (u32, u16)) -> bool + Copy + Send + Sync + 'static) {
    model(move || {
        let node = node(|config| valid(config.set_window(Window::count(2))));
        let woken = Arc::new(Woken::default());
        let changed = node.clone();
        let version = node.version();
        let change = thread::spawn(move || changed.set_mode(Mode::ForcedOpen));
        let mut waiting = node.wait_for(news);
        let waker = Waker::from(woken.clone());
        waiting.register(&Context::from_waker(&waker));
        let saw = sees(&node, version);
        change.join().unwrap();
        let woken = woken.0.load(Ordering::SeqCst);
        assert!(saw || woken == 1, "or it waits for ever");
        assert!(woken <= 1);
    });
}

#[test]
fn loom_a_watcher_misses_no_change() {
    no_change_is_missed(News::Change, |node, version| node.version() != version);
}

#[test]
fn loom_a_waiting_call_misses_no_opening() {
    no_change_is_missed(News::Rejection, |node, _| node.admit(Attempt::First).is_err());
}

#[test]
fn loom_buckets_rotate_without_losing_a_call() {
    for is_one_of_many in [true, false] {
        model(move || {
            let (window, window_config) = two_buckets(is_one_of_many);
            window.record(window_config, at(0), FAILED, || true);
            let seen_by_one = Arc::new(AtomicUsize::new(0));
            let record = |window: Arc<SlidingWindow>, second, outcome| {
                let seen_by_one = seen_by_one.clone();
                move || {
                    let seen = window.record(window_config, at(second), outcome, || true).unwrap_or_default();
                    if (seen.calls, seen.failures) == (2, 1) {
                        seen_by_one.store(1, Ordering::Relaxed);
                    }
                }
            };
            both(record(window.clone(), 1, FAILED), record(window.clone(), 2, OK));
            assert_eq!(seen_by_one.load(Ordering::Relaxed), 1, "or no recorder opens the breaker");
            let held = Counts { calls: 2, failures: 1, slow: 1 };
            assert_eq!(window.counts(window_config, Moment::at(2 * SECOND)), held);
            // Below the minimum a success looks at the failures of earlier buckets too.
            let seen = window.record(window_config, at(2), OK, || true);
            assert_eq!(seen, Some(Counts { calls: 3, ..held }));
        });
    }
}

#[test]
fn loom_of_failures_in_neighbouring_buckets_one_sees_both() {
    for is_one_of_many in [true, false] {
        loom::model(move || {
            let (window, window_config) = two_buckets(is_one_of_many);
            let most = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
            let record = |window: Arc<SlidingWindow>, [failures, slow]: [Arc<AtomicUsize>; 2], second| {
                move || {
                    let seen = window.record(window_config, at(second), FAILED, || true).unwrap_or_default();
                    failures.fetch_max(seen.failures as usize, Ordering::Relaxed);
                    slow.fetch_max(seen.slow as usize, Ordering::Relaxed);
                }
            };
            both(record(window.clone(), most.clone(), 0), record(window.clone(), most.clone(), 1));
            assert_eq!(most.map(|most| most.load(Ordering::Relaxed)), [2, 2], "or no recorder opens the breaker");
        });
    }
}

#[test]
fn loom_a_bucket_begins_once() {
    for is_one_of_many in [true, false] {
        model(move || {
            let (window, window_config) = two_buckets(is_one_of_many);
            window.record(window_config, at(0), FAILED, || true);
            let record = |window: Arc<SlidingWindow>| {
                move || {
                    window.record(window_config, at(1), FAILED, || true);
                }
            };
            both(record(window.clone()), record(window.clone()));
            let counts = |second| window.counts(window_config, Moment::at(second * SECOND));
            assert_eq!(counts(1), Counts { calls: 3, failures: 3, slow: 3 });
            assert_eq!(
                counts(2),
                Counts { calls: 2, failures: 2, slow: 2 },
                "a second beginning would lose the first call"
            );
        });
    }
}

#[test]
fn loom_a_jump_over_the_whole_window_keeps_nothing_old() {
    for is_one_of_many in [true, false] {
        model(move || {
            let (window, window_config) = two_buckets(is_one_of_many);
            window.record(window_config, at(0), FAILED, || true);
            let record = |window: Arc<SlidingWindow>, second| {
                move || {
                    window.record(window_config, at(second), OK, || true);
                }
            };
            both(record(window.clone(), 1), record(window.clone(), 9));
            let counts = window.counts(window_config, Moment::at(9 * SECOND));
            assert!((1..=2).contains(&counts.calls) && counts.failures == 0, "{counts:?}");
        });
    }
}

#[test]
fn loom_counters_and_slots_agree_when_recorders_lap_each_other() {
    model(|| {
        let window_config = WindowConfig::new(Kind::Count(1), true, 1);
        let window = Arc::new(SlidingWindow::new(window_config, true, 0));
        let record = |window: Arc<SlidingWindow>, outcome| {
            move || {
                window.record(window_config, None, outcome, || true);
            }
        };
        both(record(window.clone(), FAILED), record(window.clone(), OK));
        let now = Moment::at(SECOND);
        let left = window.counts(window_config, now);
        assert!(left.calls == 1 && left.failures <= 1 && left.failures == left.slow, "{left:?}");
        // What is in the slot comes out of the counters again.
        window.record(window_config, None, OK, || true);
        assert_eq!(window.counts(window_config, now), Counts { calls: 1, failures: 0, slow: 0 });
    });
}

#[test]
fn loom_a_window_of_time_sees_no_rate_of_slow_calls_above_the_true_one() {
    const SLOW: Outcome = Outcome { failed: false, slow: true };
    const FAST_FAILURE: Outcome = Outcome { failed: true, slow: false };
    for is_one_of_many in [true, false] {
        model(move || {
            let (window, window_config) = two_buckets(is_one_of_many);
            let record = move |window: &SlidingWindow, outcome| {
                let seen = window.record(window_config, at(0), outcome, || true).unwrap_or_default();
                // The slow call comes after another one, so it is one of two calls or of three.
                assert!(seen.slow <= 1 && seen.slow_rate() <= 0.5, "{seen:?}");
            };
            let (one, other) = (window.clone(), window.clone());
            both(
                move || [OK, SLOW].into_iter().for_each(|outcome| record(&other, outcome)),
                move || record(&one, FAST_FAILURE),
            );
            let counts = window.counts(window_config, Moment::at(Duration::ZERO));
            assert_eq!(counts, Counts { calls: 3, failures: 1, slow: 1 });
        });
    }
}

/// The registry's own reference, and those of calls, are counted as in `Arc` and `Weak`.
#[test]
fn loom_an_evicted_node_loses_no_call() {
    model(|| {
        let node = node(|config| valid(config.set_window(Window::count(4))));
        let references = Arc::new(AtomicUsize::new(1));
        let counted = Arc::new(AtomicUsize::new(0));
        let evicted = Arc::new(AtomicUsize::new(0));
        both(
            {
                let (node, references, counted) = (node.clone(), references.clone(), counted.clone());
                move || {
                    // `Weak::upgrade`, and the drop of the `Arc` that it returns.
                    let one_more = |references| (references > 0).then_some(references + 1);
                    if references.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).is_ok() {
                        node.settle(permit(&node), None, FAILURE);
                        counted.store(1, Ordering::Relaxed);
                        references.fetch_sub(1, Ordering::Release);
                    }
                }
            },
            {
                let (node, references, evicted) = (node.clone(), references.clone(), evicted.clone());
                move || {
                    let now = Moment::at(SECOND);
                    // `Arc::try_unwrap`.
                    if node.is_unused(now)
                        && references.compare_exchange(1, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                    {
                        fence(Ordering::Acquire);
                        evicted.store(node.is_unused(now).into(), Ordering::Relaxed);
                    }
                }
            },
        );
        let (counted, evicted) = (counted.load(Ordering::Relaxed), evicted.load(Ordering::Relaxed));
        assert!(counted + evicted <= 1, "a node was forgotten together with a call");
        assert_eq!(node.snapshot().failures, counted as u64);
    });
}

/// In one lane or in two.
fn two_buckets(is_one_of_many: bool) -> (Arc<SlidingWindow>, WindowConfig) {
    let window_config = WindowConfig::new(Kind::Time { length: 2 * SECOND, buckets: 2 }, true, 3);
    (Arc::new(SlidingWindow::new(window_config, is_one_of_many, 0)), window_config)
}

fn at(second: u32) -> Option<Moment> {
    Some(Moment::at(second * SECOND))
}
