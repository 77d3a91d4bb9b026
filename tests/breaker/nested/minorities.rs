//! A minority of bad tenants keeps no host shut, however often they call and however long they take to fail.

use std::collections::VecDeque;
use std::time::Duration;

use tower_rampart::breaker::{Permit, State};
use tower_rampart::classify::Verdict;
use tower_rampart::retry::Backoff;

use crate::nested::hierarchy::{HOST, tenant};
use crate::nested::votes::*;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn almost_half_of_a_thousand_tenants_that_call_a_hundred_times_as_often_never_open_a_healthy_host() {
    for times in [10, 100] {
        let breakers = hosts().handle();
        // Longer than a window, so that a share of the votes counts as well.
        let seen = run(&breakers, &minority(490, 510, times), 70 * SECOND, false).await;
        assert_eq!((seen.rejected, seen.opened.len()), (0, 0), "of {}", seen.admitted);
    }
}

#[tokio::test(start_paused = true)]
async fn almost_half_of_the_tenants_that_turn_bad_in_an_outage_keep_no_host_shut() {
    for [bad, good] in [minority(490, 510, 100), minority(90, 110, 1_000)] {
        let breakers = hosts().handle();
        run(&breakers, &[good], MINUTE, false).await;
        run(&breakers, &[good], MINUTE, true).await;
        assert_ne!(breakers.state(&HOST), State::Closed);
        // At the end of an open time, which is a multiple of the time between two calls of good tenants, bad ones come
        // first: of the second pair all of them.
        advance(45 * MS).await;
        let recovery = run(&breakers, &[bad, good], 35 * SECOND, false).await;
        assert_eq!((breakers.state(&HOST), recovery.closed.len()), (State::Closed, 1), "{recovery:?}");
        let seen = run(&breakers, &[bad, good], 30 * SECOND, false).await;
        assert_eq!((seen.rejected, seen.opened.len()), (0, 0), "of {}", seen.admitted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_has_opened_for_longer_each_time_is_open_to_the_good_ones_within_two_open_times() {
    let longest = MINUTE;
    let rarely = minority(10, 90, 100).map(|callers| Callers { every: 3 * callers.every, ..callers });
    let breakers = hosts().open_for(Backoff::exponential(100 * MS, longest)).handle();
    run(&breakers, &rarely, 2 * MINUTE, false).await;
    run(&breakers, &rarely, 10 * MINUTE, true).await;
    assert_ne!(breakers.state(&HOST), State::Closed);
    let recovery = run(&breakers, &rarely, 2 * longest, false).await;
    assert_eq!(breakers.state(&HOST), State::Closed, "{recovery:?}");
    let seen = run(&breakers, &rarely, 10 * MINUTE, false).await;
    assert_eq!((seen.rejected, seen.opened.len()), (0, 0), "of {}", seen.admitted);
}

#[tokio::test(start_paused = true)]
async fn bad_tenants_that_hold_their_slots_for_long_before_they_fail_keep_no_host_shut() {
    const HOLD: Duration = Duration::from_secs(10);
    let [bad, good] = minority(30, 70, 10);
    let breakers = hosts().handle();
    run(&breakers, &[good], 2 * MINUTE, false).await;
    run(&breakers, &[good], 2 * MINUTE, true).await;
    assert_ne!(breakers.state(&HOST), State::Closed);

    let mut held: VecDeque<(Duration, Permit)> = VecDeque::new();
    let (mut time, mut calls_of_bad, mut calls_of_good) = (Duration::ZERO, 0, 0);
    while breakers.state(&HOST) != State::Closed {
        assert!(time < MINUTE, "{calls_of_good} calls of good tenants");
        while held.front().is_some_and(|(end, _)| *end <= time) {
            let (_, permit) = held.pop_front().unwrap();
            permit.settle(Verdict::transient());
        }
        while bad.every / 30 * calls_of_bad <= time {
            let breaker = breakers.get_or_insert(&tenant(bad.first + u64::from(calls_of_bad) % bad.count)).unwrap();
            held.extend(breaker.try_acquire().map(|permit| (time + HOLD, permit)));
            calls_of_bad += 1;
        }
        while good.every / 70 * calls_of_good <= time {
            attempt(&breakers, u64::from(calls_of_good) % good.count, GOOD);
            calls_of_good += 1;
        }
        advance(10 * MS).await;
        time += 10 * MS;
    }
}
