//! The ramp: a growing share of the calls after the probes have succeeded.

use std::time::Duration;

use tower_rampart::breaker::partition::Unpartitioned;
use tower_rampart::breaker::{AnyRequests, Cause, CircuitBreaker, CircuitBreakerService, State, Window};
use tower_rampart::classify::HeadOnly;

use crate::support::*;

type Service = CircuitBreakerService<Upstream, Judge, Unpartitioned, HeadOnly, AnyRequests>;

fn layer(shares: &[f64], calls: u32) -> Breakers {
    crate::support::layer()
        .window(Window::count(1))
        .open_for(10 * SECOND)
        .half_open_max_calls(1)
        .success_threshold(1)
        .ramp(shares, calls)
}

/// Its probe has succeeded.
async fn climbing(layer: &Breakers) -> (Service, Upstream, CircuitBreaker) {
    let (service, upstream) = over(layer);
    call(&service, Do::Fail).await;
    advance(10 * SECOND).await;
    call(&service, Do::Succeed).await;
    upstream.calls.store(0, std::sync::atomic::Ordering::SeqCst);
    (service, upstream, layer.breaker())
}

/// Good calls, one every so often, until it closes: how many came, and how many were admitted.
async fn good_calls(shares: &[f64], calls: u32, every: Duration) -> (usize, usize) {
    let (service, upstream, breaker) = climbing(&layer(shares, calls)).await;
    let mut came = 0;
    while breaker.state() == State::HalfOpen {
        call(&service, Do::Succeed).await;
        advance(every).await;
        came += 1;
    }
    assert_eq!(breaker.state(), State::Closed);
    (came, upstream.calls())
}

#[tokio::test(start_paused = true)]
async fn rule_4_the_documented_ramp_rejects_few_good_calls() {
    let documented = |every| good_calls(&[0.01, 0.05, 0.25, 0.5], 20, every);
    assert_eq!(documented(Duration::ZERO).await, (61, 17));
    assert_eq!(documented(10 * MS).await, (61, 17));
    // From here on a step ends by its time, a quarter of the open time of 10 seconds.
    assert_eq!(documented(250 * MS).await, (31, 9));
    assert_eq!(documented(SECOND).await, (9, 4));
    // Sparse calls: the one that comes after the last step is admitted and closes it.
    assert_eq!(documented(60 * SECOND).await, (2, 2));
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_ramp_admits_a_growing_share_before_it_closes() {
    let (service, upstream, breaker) = climbing(&layer(&[0.05, 0.25, 0.5], 100)).await;
    let mut came = Vec::new();
    for admitted in [5, 30, 80] {
        let mut calls = 0;
        assert_eq!(breaker.state(), State::HalfOpen);
        while upstream.calls() < admitted {
            call(&service, Do::Succeed).await;
            calls += 1;
        }
        came.push(calls);
    }
    assert_eq!(came, [81, 100, 100], "the first call of the ramp is admitted");
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_step_ends_by_its_time_and_the_last_one_closes() {
    let (service, upstream, breaker) = climbing(&layer(&[0.1, 0.5], 1_000)).await;
    for (after, came, admitted) in
        [(Duration::ZERO, 20, 2), (5 * SECOND - MS, 10, 3), (MS, 10, 8), (5 * SECOND - MS, 10, 13)]
    {
        advance(after).await;
        calls(&service, came, Do::Succeed).await;
        assert_eq!((breaker.state(), upstream.calls()), (State::HalfOpen, admitted), "{after:?}");
    }
    advance(MS).await;
    assert_eq!(breaker.state(), State::HalfOpen, "the change comes with the call");
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!((breaker.state(), breaker.snapshot().calls), (State::Closed, 1), "that call is counted");
}

#[tokio::test(start_paused = true)]
async fn rule_4_no_time_ends_a_step_whose_calls_have_failed() {
    let (service, _, breaker) = climbing(&layer(&[1.0], 10)).await;
    call(&service, Do::Fail).await;
    for what in [Do::Ignore, Do::Succeed, Do::Succeed] {
        advance(60 * SECOND).await;
        assert_eq!(breaker.state(), State::HalfOpen, "{what:?}");
        call(&service, what).await;
    }
    assert_eq!(breaker.state(), State::Closed, "one of three is below a half");

    let (service, _, breaker) = climbing(&layer(&[1.0], 10)).await;
    for _ in 0..5 {
        assert_eq!(breaker.state(), State::HalfOpen);
        call(&service, Do::Fail).await;
        advance(60 * SECOND).await;
    }
    assert_eq!(breaker.snapshot().generation, 3, "it has opened again");
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_ramp_opens_again_when_a_step_reaches_the_rate() {
    let (service, _, breaker) = climbing(&layer(&[1.0, 1.0], 4).failure_rate(0.5)).await;
    // A failure in each step is not enough, and neither are calls that teach nothing.
    for what in [Do::Fail, Do::Succeed, Do::Ignore, Do::Succeed, Do::Succeed, Do::Fail, Do::Succeed] {
        call(&service, what).await;
        assert_eq!(breaker.state(), State::HalfOpen);
    }
    call(&service, Do::Throttle).await;
    assert_eq!(call(&service, Do::Succeed).await, rejected(State::Open, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn rule_4_slow_calls_on_the_ramp_are_judged_by_their_rate() {
    let slow = Do::SucceedAfter(11 * MS);
    let layer = layer(&[1.0, 1.0], 4).slow_calls(10 * MS, 0.75);
    let mut events = layer.handle().subscribe(10);
    let (service, _, breaker) = climbing(&layer).await;
    for what in [slow, slow, Do::Succeed, Do::Succeed, slow, slow] {
        call(&service, what).await;
        assert_eq!(breaker.state(), State::HalfOpen);
    }
    call(&service, slow).await;
    assert_eq!(breaker.state(), State::Open);
    let last = std::iter::from_fn(|| events.try_recv()).last();
    assert_eq!(last.map(|event| event.cause), Some(Cause::SlowRate));
}

#[tokio::test(start_paused = true)]
async fn rule_4_calls_that_hang_on_the_ramp_do_not_hold_it_up() {
    let (service, upstream, breaker) = climbing(&layer(&[0.5], 2)).await;
    let mut hung: Vec<_> = (0..20).map(|_| begin(call(&service, Do::Hang))).collect();
    for one in &mut hung {
        let _ = poll_once(one.as_mut()).await;
    }
    assert_eq!((upstream.in_flight(), breaker.state()), (10, State::HalfOpen));
    calls(&service, 2, Do::Succeed).await;
    assert_eq!(breaker.state(), State::Closed);
}
