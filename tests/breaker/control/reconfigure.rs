//! Settings that change while the breakers are in use.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use proptest::prelude::*;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::partition::{self, Nested, Unpartitioned};
use tower_rampart::breaker::{AnyRequests, CircuitBreaker, Handle, Mode, Permit, Snapshot, State, Window};
use tower_rampart::classify::HeadOnly;

use crate::support::*;

type Settings = CircuitBreakerLayer<(), Unpartitioned, HeadOnly, AnyRequests>;

/// Only all failures of a window open it.
fn settings() -> Settings {
    CircuitBreaker::builder().failure_rate(1.0).minimum_calls(1).open_for(30 * SECOND)
}

fn breaker(settings: &Settings) -> (CircuitBreaker, Handle<Infallible>) {
    (settings.breaker(), settings.handle())
}

fn record(breaker: &CircuitBreaker, failed: bool) {
    let permit = breaker.try_acquire().unwrap();
    if failed { permit.fail() } else { permit.succeed() }
}

fn fail(breaker: &CircuitBreaker, times: usize) {
    (0..times).for_each(|_| record(breaker, true));
}

fn counts(breaker: &CircuitBreaker) -> (u64, u64) {
    let Snapshot { calls, failures, .. } = breaker.snapshot();
    (calls, failures)
}

fn totals(breaker: &CircuitBreaker) -> (u64, u64, u64) {
    let totals = breaker.snapshot().totals;
    (totals.calls, totals.succeeded, totals.failed)
}

fn reconfigure<K>(handle: &Handle<K>, settings: &Settings) -> String {
    handle.reconfigure(settings).unwrap().to_string()
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_is_reported_by_the_names_of_the_setters() {
    let (_, handle) = breaker(&settings());
    assert_eq!(reconfigure(&handle, &settings()), "none");
    let other = settings().window(Window::count(7)).failure_rate(0.5).ramp(&[0.5], 10).max_partitions(3);
    assert_eq!(reconfigure(&handle, &other), "window, failure_rate, ramp, max_partitions");
    assert_eq!(reconfigure(&handle, &other), "none");
    let all = CircuitBreaker::builder()
        .window(Window::time(SECOND))
        .minimum_calls(2)
        .failure_rate(0.1)
        .slow_calls(SECOND, 0.2)
        .consecutive_failures(3)
        .outage(4, SECOND)
        .open_for(SECOND)
        .honor_retry_after(SECOND)
        .half_open_max_calls(5)
        .success_threshold(6)
        .probe_lease(SECOND)
        .ramp(&[0.1], 7)
        .abandoned(tower_rampart::breaker::Abandoned::Neutral)
        .max_partitions(8)
        .minimum_children(9);
    let (_, handle) = breaker(&CircuitBreaker::builder());
    let changes = handle.reconfigure(&all).unwrap();
    assert_eq!(changes.iter().count(), 15);
    assert_eq!(changes.to_string().split(", ").collect::<Vec<_>>(), changes.iter().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_cannot_change_is_named_and_nothing_changes() {
    let at_first = || settings().name("billing").seed(7).window(Window::count(3));
    let (breaker, handle) = breaker(&at_first());
    let refused = |settings: Settings| handle.reconfigure(&settings).unwrap_err().to_string();
    let other = || settings().window(Window::count(2)).failure_rate(0.1);
    assert_eq!(refused(other().name("search")), r#"name: cannot change at run time, from "billing" to "search""#);
    assert_eq!(
        refused(other().mode(Mode::ForcedOpen)),
        "mode: is that of new breakers, and cannot change at run time to forced open; \
         Handle::set_mode_all sets the others"
    );
    assert_eq!(
        refused(other().redact_labels(true)),
        "redact_labels: cannot change at run time, because the labels are made"
    );
    assert_eq!(refused(other().seed(8)), "seed: cannot change at run time");
    for failed in [false, false, true] {
        record(&breaker, failed);
    }
    assert_eq!((counts(&breaker), breaker.state()), ((3, 1), State::Closed), "nor the window, nor the rate");
    // What is left out stays.
    assert_eq!(reconfigure(&handle, &settings().window(Window::count(3)).failure_rate(0.9)), "failure_rate");
    assert_eq!(breaker.name(), "billing");
}

#[tokio::test(start_paused = true)]
async fn nothing_opens_by_the_change_itself() {
    for (before, after) in [
        (settings().window(Window::count(10)), settings().window(Window::count(10)).failure_rate(0.5)),
        (settings().window(Window::count(10)), settings().window(Window::count(4)).failure_rate(0.5)),
        (settings(), settings().failure_rate(0.5)),
        (settings(), settings().window(Window::count(4)).failure_rate(0.5)),
    ] {
        let (breaker, handle) = breaker(&before);
        for failed in [false, false, true, true] {
            record(&breaker, failed);
        }
        handle.reconfigure(&after).unwrap();
        assert_eq!((breaker.state(), breaker.snapshot().generation), (State::Closed, 0));
        assert_eq!(counts(&breaker), (4, 2));
        record(&breaker, true);
        assert_eq!(breaker.state(), State::Open, "with the next outcome");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_11_an_open_breaker_names_the_limit_that_opened_it() {
    let row = |limit| settings().minimum_calls(100).consecutive_failures(limit);
    let rate = |limit| settings().minimum_calls(1).failure_rate(limit);
    let (breaker, handle) = breaker(&row(3));
    let rejection = || breaker.try_acquire().unwrap_err();
    let limits = || (breaker.snapshot().trip.unwrap().limit, rejection().trip().unwrap().limit);
    fail(&breaker, 3);
    let before = rejection();
    let first = "3 calls in a row failed (3 of 3 in the window)";
    for other in [row(7), rate(0.5), row(3)] {
        handle.reconfigure(&other).unwrap();
        assert_eq!(limits(), (Some(3.0), Some(3.0)));
        assert_eq!(breaker.snapshot().trip.unwrap().to_string(), first);
    }
    handle.reconfigure(&rate(0.4)).unwrap();
    advance(30 * SECOND).await;
    fail(&breaker, 1);
    assert_eq!(limits(), (Some(3.0), Some(3.0)), "a failed probe changes no trip");

    breaker.reset();
    record(&breaker, false);
    fail(&breaker, 1);
    let second = rejection();
    for other in [rate(0.9), row(3), row(7)] {
        handle.reconfigure(&other).unwrap();
        assert_eq!(limits(), (Some(0.4), Some(0.4)));
    }
    breaker.reset();
    fail(&breaker, 7);
    assert_eq!(limits(), (Some(7.0), Some(7.0)));
    let errors = [before, second].map(|open| open.trip().unwrap().to_string());
    assert_eq!(errors, [first, "1 of 2 calls failed (50 %, the limit is 40 %)"], "an error keeps its own");
}

/// Two rows of eras and more, and a setting that comes again.
#[tokio::test(start_paused = true)]
async fn each_of_many_changes_holds() {
    let (breaker, handle) = breaker(&settings());
    for calls in (2..40).chain([7]) {
        handle.reconfigure(&settings().window(Window::count(calls)).minimum_calls(calls)).unwrap();
        breaker.reset();
        fail(&breaker, calls as usize - 1);
        assert_eq!((breaker.state(), counts(&breaker).0), (State::Closed, u64::from(calls) - 1));
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open);
        breaker.reset();
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_different_settings_are_the_most_and_known_ones_come_again() {
    let (_, handle) = breaker(&settings());
    let with = |calls| handle.reconfigure(&settings().consecutive_failures(calls));
    for calls in 1..1_000 {
        assert!(!with(calls).unwrap().is_empty(), "{calls}");
    }
    assert_eq!(with(1_000).unwrap_err().to_string(), "reconfigure: there were 1000 different settings before");
    assert_eq!(with(7).unwrap().to_string(), "consecutive_failures");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_keeps_its_deadline_and_opens_for_the_new_time_next() {
    let (breaker, handle) = breaker(&settings().window(Window::count(1)));
    record(&breaker, true);
    let generation = breaker.snapshot().generation;
    advance(10 * SECOND).await;
    handle.reconfigure(&settings().window(Window::count(5)).open_for(3 * SECOND)).unwrap();
    assert_eq!(breaker.snapshot().retry_after, Some(20 * SECOND));
    assert_eq!((breaker.state(), breaker.snapshot().generation), (State::Open, generation));
    advance(20 * SECOND).await;
    record(&breaker, true);
    assert_eq!(breaker.snapshot().retry_after, Some(3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_half_open_breaker_keeps_its_probes_and_their_permits() {
    let window = Window::count(1);
    let (breaker, handle) = breaker(&settings().window(window).half_open_max_calls(2).success_threshold(2));
    record(&breaker, true);
    advance(30 * SECOND).await;
    let probes = [(); 2].map(|()| breaker.try_acquire().unwrap());
    assert!(breaker.try_acquire().is_err());
    let generation = breaker.snapshot().generation;
    handle.reconfigure(&settings().window(Window::time(SECOND)).half_open_max_calls(3).success_threshold(3)).unwrap();
    assert_eq!((breaker.snapshot().remaining_probes, breaker.snapshot().generation), (Some(1), generation));
    let third = breaker.try_acquire().unwrap();
    assert!(breaker.try_acquire().is_err());
    probes.into_iter().for_each(Permit::succeed);
    assert_eq!(breaker.state(), State::HalfOpen, "three close it now");
    third.succeed();
    assert_eq!((breaker.state(), totals(&breaker)), (State::Closed, (4, 3, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_permit_of_before_counts_in_the_window_of_after() {
    for (before, after) in [
        (Window::count(3), Window::count(9)),
        (Window::count(9), Window::time(SECOND)),
        (Window::time(SECOND), Window::time(60 * SECOND)),
        (Window::time(SECOND), Window::count(9)),
    ] {
        let (breaker, handle) = breaker(&settings().window(before));
        record(&breaker, false);
        let permit = breaker.try_acquire().unwrap();
        handle.reconfigure(&settings().window(after)).unwrap();
        permit.fail();
        assert_eq!((counts(&breaker), totals(&breaker)), ((2, 1), (2, 1, 1)), "{before:?} {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn modes_set_by_hand_stay() {
    for mode in [Mode::ForcedOpen, Mode::Disabled, Mode::ObserveOnly, Mode::RejectRetriesOnly] {
        let (breaker, handle) = breaker(&settings());
        breaker.set_mode(mode);
        let before = breaker.snapshot();
        handle.reconfigure(&settings().window(Window::count(9)).failure_rate(0.1)).unwrap();
        assert_eq!(breaker.snapshot(), before, "{mode}");
        breaker.automatic();
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open, "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_outlive_a_change_and_begin_anew_if_they_were_not_watched() {
    let window = |window| settings().window(window).minimum_calls(100).consecutive_failures(3);
    let (breaker, handle) = breaker(&window(Window::time(SECOND)));
    fail(&breaker, 2);
    handle.reconfigure(&window(Window::time(60 * SECOND))).unwrap();
    advance(30 * SECOND).await;
    assert_eq!(breaker.snapshot().consecutive_failures, 2, "as long as the new window");
    handle.reconfigure(&window(Window::count(200))).unwrap();
    assert_eq!(breaker.snapshot().consecutive_failures, 2);
    handle.reconfigure(&settings().minimum_calls(100).no_outage()).unwrap();
    fail(&breaker, 1);
    handle.reconfigure(&window(Window::count(200))).unwrap();
    fail(&breaker, 2);
    assert_eq!((breaker.snapshot().consecutive_failures, breaker.state()), (2, State::Closed));
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn slow_calls_are_watched_from_the_change_on() {
    let (breaker, handle) = breaker(&settings());
    let slow = |breaker: CircuitBreaker| async move {
        let permit = breaker.try_acquire().unwrap();
        advance(2 * SECOND).await;
        permit.succeed();
    };
    slow(breaker.clone()).await;
    let watched = settings().slow_calls(SECOND, 0.5);
    assert_eq!(reconfigure(&handle, &watched), "slow_calls");
    assert_eq!((breaker.snapshot().slow, breaker.snapshot().calls), (0, 1));
    record(&breaker, false);
    record(&breaker, false);
    slow(breaker.clone()).await;
    assert_eq!((breaker.snapshot().slow, breaker.snapshot().calls, breaker.state()), (1, 4, State::Closed));
    slow(breaker.clone()).await;
    slow(breaker.clone()).await;
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn every_partition_follows_the_settings_and_later_ones_begin_with_them() {
    let layer = layer().partition_by(partition::by(|(key, _): &(u32, Do)| *key)).max_partitions(2);
    let (service, _) = over(&layer);
    let handle = layer.handle();
    let one_failure = |max| CircuitBreaker::builder().consecutive_failures(1).max_partitions(max);
    for key in 0..3 {
        call_for(&service, key, Do::Succeed).await;
    }
    assert_eq!((handle.len(), handle.overflowed()), (2, 1));
    handle.reconfigure(&one_failure(3)).unwrap();
    for key in 0..3 {
        call_for(&service, key, Do::Fail).await;
        assert_eq!(handle.state(&key), State::Open, "{key}");
    }
    let overflow = handle.overflow_partition(&2);
    assert_eq!((handle.len(), overflow.state()), (3, State::Closed));
    fail(&overflow, 1);
    assert_eq!(overflow.state(), State::Open);
    fail(&handle.default_partition(), 1);
    assert_eq!(handle.default_partition().state(), State::Open);
    // A lower limit removes none.
    handle.reconfigure(&one_failure(1)).unwrap();
    assert_eq!(handle.len(), 3);
    call_for(&service, 3, Do::Succeed).await;
    assert_eq!((handle.len(), handle.overflowed()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn outer_breakers_follow_too_but_the_length_of_votes_stays() {
    let layer = layer()
        .window(Window::time(60 * SECOND))
        .partition_by(partition::by(|(key, _): &((u32, u32), Do)| key.1))
        .nested_in(partition::by(|(key, _): &((u32, u32), Do)| key.0), 1.0);
    let handle = layer.handle();
    let settings = |seconds| {
        CircuitBreaker::builder().window(Window::time(seconds * SECOND)).consecutive_failures(1).minimum_children(2)
    };
    let error = handle.reconfigure(&settings(30)).unwrap_err().to_string();
    assert!(error.starts_with("window: cannot change its length at run time in nested partitions"), "{error}");
    let (service, _) = over(&layer);
    call_for(&service, (1, 1), Do::Succeed).await;
    advance(100 * SECOND).await;
    let changes = reconfigure(&handle, &settings(60).open_for(7 * SECOND));
    assert!(changes.contains("consecutive_failures") && changes.contains("minimum_children"), "{changes}");
    for tenant in [1, 2] {
        call_for(&service, (1, tenant), Do::Fail).await;
        assert_eq!(handle.state(&Nested::Inner(1, Some(tenant))), State::Open);
    }
    let host = handle.get(&Nested::Outer(1)).unwrap().snapshot();
    assert_eq!((host.state, host.retry_after), (State::Open, Some(7 * SECOND)), "two votes are enough now");
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_kept_its_settings_can_be_evicted_all_the_same() {
    let layer = layer().partition_by(partition::by(|(key, _): &(u32, Do)| *key)).max_partitions(2);
    let (service, _) = over(&layer);
    let handle = layer.handle();
    for key in 0..2 {
        call_for(&service, key, Do::Succeed).await;
    }
    handle.reconfigure(&CircuitBreaker::builder().window(Window::time(SECOND)).max_partitions(2)).unwrap();
    advance(2 * SECOND).await;
    call_for(&service, 7, Do::Succeed).await;
    assert_eq!((handle.len(), handle.overflowed(), handle.get(&7).is_some()), (2, 0, true));
}

#[test]
fn two_that_change_settings_while_calls_run_lose_none_of_them() {
    const CALLS: u64 = 2_000;
    const CHANGES: usize = 200;
    let windows = [Window::count(100), Window::count(7), Window::time(60 * SECOND), Window::time(SECOND).buckets(3)];
    // No seven calls in a row fail.
    let all = windows.map(|window| settings().minimum_calls(7).window(window).no_outage());
    let (breaker, handle) = breaker(&all[0]);
    std::thread::scope(|scope| {
        for caller in [0, 1] {
            let breaker = &breaker;
            scope.spawn(move || (0..CALLS).for_each(|call| record(breaker, (call + caller) % 3 == 0)));
        }
        for first in [0, 2] {
            let (handle, all) = (&handle, &all);
            scope.spawn(move || {
                for index in first..first + CHANGES {
                    handle.reconfigure(&all[index % all.len()]).unwrap();
                    assert!(handle.default_partition().snapshot().totals.calls <= 2 * CALLS);
                    std::thread::yield_now();
                }
            });
        }
    });
    let failed =
        (0..CALLS).filter(|call| call % 3 == 0).count() + (0..CALLS).filter(|call| (call + 1) % 3 == 0).count();
    assert_eq!(totals(&breaker), (2 * CALLS, 2 * CALLS - failed as u64, failed as u64));
}

#[test]
fn no_breaker_misses_a_change_while_others_are_inserted_and_evicted() {
    let layer = CircuitBreakerLayer::new(Judge)
        .window(Window::time(MS))
        .partition_by(partition::by(|(key, _): &(u32, Do)| *key))
        .max_partitions(40);
    let handle = layer.handle();
    std::thread::scope(|scope| {
        let inserting = scope.spawn(|| {
            for key in 0..2_000_u32 {
                if let Some(breaker) = handle.get_or_insert(&key) {
                    record(&breaker, false);
                }
            }
        });
        let change = |failures: u32| {
            let settings = CircuitBreaker::builder().window(Window::time(MS)).max_partitions(40);
            handle.reconfigure(&settings.consecutive_failures(failures)).unwrap();
        };
        while !inserting.is_finished() {
            (2..6).for_each(change);
        }
        change(1);
        inserting.join().unwrap();
    });
    for breaker in handle.iter() {
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open, "{}", breaker.partition());
    }
}

proptest! {
    #[test]
    fn a_window_of_calls_keeps_its_newest_outcomes(
        lengths in prop::collection::vec((1..60_u32, 0..130_usize), 1..8),
        seed: u64,
    ) {
        let (breaker, handle) = breaker(&settings().window(Window::count(lengths[0].0)));
        let (mut model, mut all, mut random) = (VecDeque::new(), (0, 0), seed);
        for (length, outcomes) in lengths {
            handle.reconfigure(&settings().window(Window::count(length))).unwrap();
            while model.len() > length as usize {
                model.pop_front();
            }
            for _ in 0..outcomes {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // One success in the window keeps it closed.
                let newest = model.iter().rev().take(length as usize - 1);
                let failed = random >> 63 == 1 && newest.clone().any(|failed| !failed);
                record(&breaker, failed);
                model.push_back(failed);
                if model.len() > length as usize {
                    model.pop_front();
                }
                all = (all.0 + 1, all.1 + u64::from(failed));
                let failures = model.iter().filter(|failed| **failed).count() as u64;
                prop_assert_eq!(counts(&breaker), (model.len() as u64, failures));
            }
            let (calls, _, failures) = totals(&breaker);
            prop_assert_eq!((calls, failures), all);
            prop_assert_eq!((breaker.state(), breaker.snapshot().generation), (State::Closed, 0));
        }
    }

    #[test]
    fn outcomes_in_a_window_of_time_stay_as_old_as_their_buckets(
        eras in prop::collection::vec((1..12_u64, 1..12_u32, 0..20_usize), 1..7),
        is_partitioned: bool,
        seed: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            // Buckets of whole milliseconds.
            let window = |tick: u64, buckets| Window::time(Duration::from_millis(tick * u64::from(buckets))).buckets(buckets);
            let set = |(tick, buckets, _): (u64, u32, usize)| settings().no_outage().window(window(tick, buckets));
            let partitioned = CircuitBreakerLayer::new(Judge)
                .window(window(eras[0].0, eras[0].1))
                .partition_by(partition::by(|(key, _): &(u32, Do)| *key));
            let alone = set(eras[0]);
            let breaker = if is_partitioned {
                partitioned.handle().get_or_insert(&1).unwrap()
            } else {
                alone.breaker()
            };
            let start = tokio::time::Instant::now();
            let (mut model, mut all, mut random): (Vec<(u64, bool)>, _, _) = (Vec::new(), (0, 0), seed);
            let mut before = eras[0];
            for era in eras {
                let now = || start.elapsed().as_millis() as u64;
                let lasts = |at: u64, (tick, buckets, _): (u64, u32, usize)| at / tick + u64::from(buckets) > now() / tick;
                model.retain(|(at, _)| lasts(*at, before));
                model.iter_mut().for_each(|(at, _)| *at -= *at % before.0);
                if is_partitioned {
                    partitioned.handle().reconfigure(&set(era)).unwrap();
                } else {
                    alone.handle().reconfigure(&set(era)).unwrap();
                }
                before = era;
                let check = |model: &[(u64, bool)]| {
                    let held: Vec<_> = model.iter().filter(|(at, _)| lasts(*at, era)).collect();
                    let failures = held.iter().filter(|(_, failed)| *failed).count() as u64;
                    assert_eq!(counts(&breaker), (held.len() as u64, failures), "{era:?}");
                };
                check(&model);
                for _ in 0..era.2 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    tokio::time::advance(Duration::from_millis(random >> 60)).await;
                    let has_success = model.iter().any(|(at, failed)| !failed && lasts(*at, era));
                    let failed = random >> 59 & 1 == 1 && has_success;
                    record(&breaker, failed);
                    model.push((now(), failed));
                    all = (all.0 + 1, all.1 + u64::from(failed));
                    check(&model);
                }
                let (calls, _, failures) = totals(&breaker);
                assert_eq!((calls, failures), all);
                assert_eq!(breaker.state(), State::Closed);
            }
        });
    }
}
