//! Failures in a row that last are an outage: by default ten of them, of which the first and the last are 2 seconds
//! apart.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tower_rampart::breaker::{Cause, CircuitBreaker, State, Window, partition};
use tower_rampart::classify::{Health, Verdict};

use crate::nested::hierarchy::{HOST, tenant, votes};
use crate::nested::votes::hosts;
use crate::support::*;

fn defaults() -> Breakers {
    Breakers::new(Judge)
}

fn settle(breaker: &CircuitBreaker, count: usize, health: Health) {
    for _ in 0..count {
        breaker.try_acquire().unwrap().settle(Verdict::success().with_health(health));
    }
}

fn fail(breaker: &CircuitBreaker, count: usize) {
    settle(breaker, count, Health::Failure);
}

/// A breaker with so many successes in its window that no rate opens it.
fn with_a_history(layer: Breakers) -> CircuitBreaker {
    let breaker = layer.breaker();
    settle(&breaker, 1_000, Health::Success);
    breaker
}

#[tokio::test(start_paused = true)]
async fn rule_1_ten_failures_in_a_row_over_two_seconds_are_an_outage() {
    for at_first in [1, 5, 9] {
        let layer = defaults();
        let ((service, upstream), mut events) = (over(&layer), layer.handle().subscribe(4));
        calls(&service, at_first, Do::Fail).await;
        advance(2 * SECOND).await;
        calls(&service, 9 - at_first, Do::Fail).await;
        assert_eq!((layer.breaker().state(), upstream.calls()), (State::Closed, 9), "{at_first} at first");
        call(&service, Do::Fail).await;
        assert_eq!((layer.breaker().state(), upstream.calls()), (State::Open, 10), "{at_first} at first");
        let event = events.try_recv().unwrap();
        assert_eq!((event.to, event.cause, event.cause.to_string().as_str()), (State::Open, Cause::Outage, "outage"));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_ten_failures_within_two_seconds_are_none() {
    let breaker = defaults().breaker();
    fail(&breaker, 9);
    advance(2 * SECOND - MS).await;
    fail(&breaker, 8);
    assert_eq!((breaker.state(), breaker.snapshot().consecutive_failures), (State::Closed, 17));
    advance(MS).await;
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_success_ends_an_outage_and_other_answers_do_not() {
    let breaker = defaults().breaker();
    fail(&breaker, 5);
    advance(2 * SECOND).await;
    settle(&breaker, 1, Health::Success);
    fail(&breaker, 9);
    assert_eq!(breaker.state(), State::Closed);
    settle(&breaker, 1, Health::Throttled);
    settle(&breaker, 20, Health::Neutral);
    // The success also ended the time: the row has ten failures, but all are of the same moment.
    fail(&breaker, 1);
    assert_eq!((breaker.state(), breaker.snapshot().consecutive_failures), (State::Closed, 10));
    advance(2 * SECOND).await;
    settle(&breaker, 1, Health::Throttled);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_1_throttled_answers_are_no_outage() {
    let breaker = with_a_history(defaults());
    for _ in 0..5 {
        settle(&breaker, 10, Health::Throttled);
        advance(SECOND).await;
    }
    assert_eq!((breaker.state(), breaker.snapshot().consecutive_failures), (State::Closed, 0));
}

/// Whatever the window stores, and whether the breaker is one of many.
#[tokio::test(start_paused = true)]
async fn rule_1_every_window_watches_for_outages() {
    let windows =
        [Window::count(100), Window::count(10_000), Window::time(10 * SECOND), Window::time(10 * SECOND).buckets(40)];
    for window in windows {
        let shared = defaults().window(window);
        let by = partition::by(|request: &(u64, Do)| request.0);
        let one_of_many = shared.clone().partition_by(by).handle().get_or_insert(&7).unwrap();
        for breaker in [shared.breaker(), one_of_many] {
            settle(&breaker, 50, Health::Success);
            fail(&breaker, 9);
            advance(2 * SECOND).await;
            assert_eq!(breaker.state(), State::Closed, "{window:?}");
            fail(&breaker, 1);
            assert_eq!(breaker.state(), State::Open, "{window:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_row_whose_last_failure_is_a_minute_old_is_no_outage() {
    let breaker = defaults().breaker();
    fail(&breaker, 9);
    advance(61 * SECOND).await;
    fail(&breaker, 9);
    // The time begins anew too.
    advance(2 * SECOND - MS).await;
    fail(&breaker, 5);
    assert_eq!((breaker.state(), breaker.snapshot().consecutive_failures), (State::Closed, 14));
    advance(MS).await;
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);

    // A client that calls once in a while notices an outage, too.
    let breaker = defaults().breaker();
    for call in 1..=10 {
        assert_eq!((breaker.state(), breaker.snapshot().consecutive_failures), (State::Closed, call - 1));
        advance(59 * SECOND).await;
        fail(&breaker, 1);
    }
    assert_eq!(breaker.state(), State::Open);

    // A longer window remembers it for as long.
    let breaker = defaults().window(Window::time(600 * SECOND)).breaker();
    fail(&breaker, 9);
    advance(599 * SECOND - MS).await;
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);

    // In a window of calls it has no age.
    let breaker = defaults().window(Window::count(100)).breaker();
    fail(&breaker, 9);
    advance(3_600 * SECOND).await;
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_not_evicted_while_it_remembers_a_row() {
    let layer = defaults().partition_by(partition::by(|request: &(u64, Do)| request.0)).max_partitions(1);
    let breakers = layer.handle();
    fail(&breakers.get_or_insert(&7).unwrap(), 9);
    advance(59 * SECOND).await;
    assert!(breakers.get_or_insert(&8).is_none(), "the window is empty, but one more failure opens 7");
    advance(2 * SECOND).await;
    assert!(breakers.get_or_insert(&8).is_some());
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_reset_ends_an_outage() {
    let breaker = defaults().breaker();
    fail(&breaker, 9);
    advance(2 * SECOND).await;
    breaker.reset();
    fail(&breaker, 10);
    assert_eq!((breaker.state(), breaker.snapshot().consecutive_failures), (State::Closed, 10));
}

#[tokio::test(start_paused = true)]
async fn a_minimum_of_calls_holds_for_the_default_outage() {
    for (minimum, failures) in [(5, 10), (10, 10), (11, 11), (50, 50)] {
        let breaker = with_a_history(defaults().minimum_calls(minimum));
        fail(&breaker, 1);
        advance(2 * SECOND).await;
        fail(&breaker, failures - 2);
        assert_eq!(breaker.state(), State::Closed, "{minimum}");
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open, "{minimum}");
    }
    // But not for one that is set, before or after it.
    for layer in [defaults().minimum_calls(50).outage(3, SECOND), defaults().outage(3, SECOND).minimum_calls(50)] {
        let breaker = layer.breaker();
        fail(&breaker, 2);
        advance(SECOND - MS).await;
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Closed);
        advance(MS).await;
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open);
    }
}

/// Returns at which failure of a long outage it opens, and why.
async fn opens_at(layer: Breakers) -> Option<(usize, Cause)> {
    let mut events = layer.handle().subscribe(4);
    let breaker = with_a_history(layer);
    for count in 1..=100 {
        fail(&breaker, 1);
        if let Some(event) = events.try_recv() {
            return Some((count, event.cause));
        }
        advance(250 * MS).await;
        settle(&breaker, 1, Health::Throttled);
    }
    None
}

#[tokio::test(start_paused = true)]
async fn consecutive_failures_replace_the_default_outage_but_not_one_that_is_set() {
    // The successes stay in the window, so that no rate opens it.
    let layer = || defaults().window(Window::time(60 * SECOND));
    assert_eq!(opens_at(layer()).await, Some((10, Cause::Outage)));
    assert_eq!(opens_at(layer().consecutive_failures(5)).await, Some((5, Cause::ConsecutiveFailures)));
    assert_eq!(opens_at(layer().consecutive_failures(50)).await, Some((50, Cause::ConsecutiveFailures)));
    let both = layer().outage(10, 2 * SECOND).consecutive_failures(50);
    assert_eq!(opens_at(both).await, Some((10, Cause::Outage)));
    assert_eq!(opens_at(layer().outage(3, 6 * SECOND)).await, Some((25, Cause::Outage)));
    assert_eq!(opens_at(layer().no_outage()).await, None);
    assert_eq!(opens_at(layer().no_outage().consecutive_failures(50)).await, Some((50, Cause::ConsecutiveFailures)));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_one_tenant_opens_that_tenant_alone() {
    let breakers = hosts().outage(10, 2 * SECOND).minimum_calls(1_000).handle();
    let one = |id| breakers.get_or_insert(&tenant(id)).unwrap();
    fail(&one(1), 9);
    settle(&one(2), 1, Health::Success);
    advance(2 * SECOND).await;
    fail(&one(1), 1);
    assert_eq!((one(1).state(), one(2).state(), breakers.state(&HOST)), (State::Open, State::Closed, State::Closed));
    assert_eq!(votes(&breakers), (2, 1));
}

/// The failures of different tenants are no row of the host.
#[tokio::test(start_paused = true)]
async fn an_outer_breaker_watches_for_no_outage_of_its_own() {
    let breakers = hosts().outage(10, 2 * SECOND).handle();
    for id in 0..30 {
        fail(&breakers.get_or_insert(&tenant(id)).unwrap(), 1);
        advance(100 * MS).await;
    }
    assert_eq!((breakers.state(&HOST), votes(&breakers)), (State::Closed, (30, 0)));
}

/// An upstream that fails one call in five is not helped by fewer calls.
#[tokio::test(start_paused = true)]
async fn random_failures_of_a_fifth_open_no_default_breaker() {
    let mut rng = SmallRng::seed_from_u64(7);
    // Calls a second, and how many seconds.
    for (rate, seconds) in [(1, 50_000), (3, 20_000), (10, 10_000), (100, 2_000), (1_000, 1_300), (10_000, 130)] {
        let breaker = defaults().breaker();
        // So many calls come together that time passes at most twenty times a second.
        let together = (rate / 20).max(1);
        for _ in 0..rate * seconds / together {
            for _ in 0..together {
                let health = if rng.random_bool(0.2) { Health::Failure } else { Health::Success };
                breaker.try_acquire().unwrap().settle(Verdict::success().with_health(health));
            }
            advance(SECOND * together / rate).await;
        }
        assert_eq!(breaker.snapshot().generation, 0, "{rate} calls a second");
    }
}
