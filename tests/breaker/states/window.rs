use std::time::Duration;

use tower_rampart::breaker::{State, Window};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn rule_1_opens_when_the_failure_rate_is_reached() {
    let layer = layer().window(Window::count(10)).minimum_calls(4).failure_rate(0.5);
    let (service, upstream) = over(&layer);
    for (what, state) in
        [(Do::Succeed, State::Closed), (Do::Succeed, State::Closed), (Do::Fail, State::Closed), (Do::Fail, State::Open)]
    {
        call(&service, what).await;
        assert_eq!(layer.breaker().state(), state);
    }
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, Duration::from_secs(30)));
    assert_eq!(upstream.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_rate_of_six_tenths_means_exactly_that() {
    let layer = layer().window(Window::count(10)).minimum_calls(10).failure_rate(0.6);
    let (service, _) = over(&layer);
    calls(&service, 5, Do::Succeed).await;
    calls(&service, 5, Do::Fail).await;
    assert_eq!(layer.breaker().state(), State::Closed, "five of ten");
    call(&service, Do::Fail).await;
    assert_eq!(layer.breaker().state(), State::Open, "six of ten");
}

#[tokio::test(start_paused = true)]
async fn rule_1_opens_when_too_many_calls_are_slow() {
    for window in [Window::count(4), Window::time(60 * SECOND)] {
        let layer = layer().window(window).minimum_calls(4).slow_calls(SECOND, 0.75);
        let (service, _) = over(&layer);
        call(&service, Do::SucceedAfter(SECOND)).await; // exactly the limit is not slow
        for _ in 0..2 {
            call(&service, Do::SucceedAfter(SECOND + MS)).await;
        }
        call(&service, Do::Succeed).await;
        assert_eq!(layer.breaker().state(), State::Closed, "two of four, {window:?}");
        assert_eq!(layer.breaker().snapshot().slow_rate, 0.5);
        for _ in 0..4 {
            call(&service, Do::SucceedAfter(SECOND + MS)).await;
        }
        assert_eq!(layer.breaker().state(), State::Open, "{window:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_opens_after_consecutive_failures_whatever_the_minimum() {
    let layer = layer().minimum_calls(100).consecutive_failures(3);
    let (service, _) = over(&layer);
    for what in [Do::Fail, Do::Fail, Do::Succeed, Do::Fail, Do::Fail, Do::Throttle, Do::Ignore] {
        call(&service, what).await;
        assert_eq!(layer.breaker().state(), State::Closed);
    }
    assert_eq!(layer.breaker().snapshot().consecutive_failures, 2, "throttled neither adds nor ends");
    call(&service, Do::Fail).await;
    assert_eq!(layer.breaker().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_1_throttled_calls_count_in_the_rate() {
    let layer = layer().window(Window::count(4));
    let (service, _) = over(&layer);
    calls(&service, 2, Do::Throttle).await;
    calls(&service, 2, Do::Succeed).await;
    assert_eq!(layer.breaker().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_1_an_old_row_of_failures_is_forgotten_with_the_window() {
    let layer = layer().window(Window::time(60 * SECOND)).consecutive_failures(3);
    let (service, _) = over(&layer);
    calls(&service, 2, Do::Fail).await;
    advance(61 * SECOND).await;
    calls(&service, 2, Do::Fail).await;
    assert_eq!(layer.breaker().state(), State::Closed);
    call(&service, Do::Fail).await;
    assert_eq!(layer.breaker().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn rule_5_after_100_000_successes_an_outage_opens_within_the_window() {
    let layer = layer().window(Window::count(100));
    let (service, upstream) = over(&layer);
    calls(&service, 100_000, Do::Succeed).await;
    let before = upstream.calls();
    while layer.breaker().state() == State::Closed {
        call(&service, Do::Fail).await;
    }
    assert_eq!(upstream.calls() - before, 50);
}

#[tokio::test(start_paused = true)]
async fn rule_5_after_100_000_successes_an_outage_opens_within_the_time() {
    let layer = layer().window(Window::time(10 * SECOND)).minimum_calls(10);
    let (service, upstream) = over(&layer);
    calls(&service, 100_000, Do::Succeed).await;
    advance(10 * SECOND).await;
    let before = upstream.calls();
    while layer.breaker().state() == State::Closed {
        call(&service, Do::Fail).await;
    }
    assert_eq!(upstream.calls() - before, 10, "the minimum");
}

#[tokio::test(start_paused = true)]
async fn rule_5_the_rate_is_checked_on_a_success_that_completes_the_minimum() {
    for window in [Window::count(10), Window::time(60 * SECOND)] {
        let layer = layer().window(window).minimum_calls(10);
        let (service, _) = over(&layer);
        calls(&service, 9, Do::Fail).await;
        assert_eq!(layer.breaker().state(), State::Closed);
        call(&service, Do::Succeed).await;
        assert_eq!(layer.breaker().state(), State::Open, "{window:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_5_a_time_window_slides_bucket_by_bucket() {
    let layer = layer().window(Window::time(10 * SECOND)).minimum_calls(20);
    let (service, _) = over(&layer);
    for second in 0..30 {
        call(&service, Do::Fail).await;
        let snapshot = layer.breaker().snapshot();
        assert_eq!(snapshot.calls, (second + 1).min(10), "second {second}");
        advance(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn rule_5_an_idle_gap_empties_the_window() {
    let layer = layer().window(Window::time(10 * SECOND)).minimum_calls(3);
    let (service, _) = over(&layer);
    for gap in [10 * SECOND, 100 * SECOND, 365 * 24 * 3_600 * SECOND, 100 * 365 * 24 * 3_600 * SECOND] {
        calls(&service, 2, Do::Fail).await;
        advance(gap).await;
        assert_eq!(layer.breaker().snapshot().calls, 0, "after {gap:?}");
    }
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn rule_5_an_ignored_outcome_is_in_no_window() {
    let layer = layer().window(Window::count(4));
    let (service, _) = over(&layer);
    calls(&service, 20, Do::Ignore).await;
    assert_eq!(layer.breaker().snapshot().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn rule_9_a_breaker_that_was_open_for_a_hundred_years_is_probed() {
    let layer = layer().window(Window::count(1)).half_open_max_calls(1).success_threshold(1);
    let (service, _) = over(&layer);
    call(&service, Do::Fail).await;
    advance(100 * 365 * 24 * 3_600 * SECOND).await;
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_row_that_is_older_than_the_window_is_forgotten_with_it() {
    let layer = layer().window(Window::time(60 * SECOND)).minimum_calls(100).consecutive_failures(5);
    let (service, _) = over(&layer);
    calls(&service, 4, Do::Fail).await;
    // Something is in the window all the time, but nothing of the row.
    for _ in 0..10 {
        advance(50 * SECOND).await;
        call(&service, Do::Throttle).await;
    }
    assert_eq!(layer.breaker().snapshot().consecutive_failures, 0);
    calls(&service, 4, Do::Fail).await;
    assert_eq!((layer.breaker().state(), layer.breaker().snapshot().consecutive_failures), (State::Closed, 4));
    advance(50 * SECOND).await;
    call(&service, Do::Fail).await;
    assert_eq!(layer.breaker().state(), State::Open, "a slow row is a row");
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_row_in_a_window_of_calls_has_no_age() {
    let layer = layer().window(Window::count(100)).consecutive_failures(3);
    let (service, _) = over(&layer);
    for state in [State::Closed, State::Closed, State::Open] {
        advance(3_600 * SECOND).await;
        call(&service, Do::Fail).await;
        assert_eq!(layer.breaker().state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_reset_ends_a_row() {
    let layer = layer().minimum_calls(100).consecutive_failures(3);
    let (service, _) = over(&layer);
    for _ in 0..10 {
        calls(&service, 2, Do::Fail).await;
        layer.breaker().reset();
        assert_eq!((layer.breaker().state(), layer.breaker().snapshot().consecutive_failures), (State::Closed, 0));
    }
}
