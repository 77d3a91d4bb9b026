//! Slow probes.

use std::time::Duration;

use tower_rampart::breaker::{Cause, State, Window};
use tower_rampart::retry::{Backoff, Jitter};

use crate::support::*;

/// Slow: it takes longer than 10 ms.
const SLOW: Do = Do::SucceedAfter(Duration::from_millis(11));

/// Opens with the first slow call, for 10 seconds.
fn layer(slow_rate: f64, success_threshold: u32) -> Breakers {
    crate::support::layer()
        .window(Window::count(1))
        .slow_calls(10 * MS, slow_rate)
        .open_for(10 * SECOND)
        .success_threshold(success_threshold)
}

/// Opens the breaker, makes these calls after its open time, and returns the state.
async fn after_probes(layer: &Breakers, probes: &[Do]) -> State {
    let (service, upstream) = over(layer);
    call(&service, SLOW).await;
    assert_eq!(layer.breaker().state(), State::Open);
    advance(10 * SECOND).await;
    for probe in probes {
        assert_eq!(layer.breaker().state(), State::HalfOpen);
        call(&service, *probe).await;
    }
    assert_eq!(upstream.calls(), 1 + probes.len());
    layer.breaker().state()
}

#[tokio::test(start_paused = true)]
async fn rule_4_slow_probes_are_judged_by_the_slow_call_rate() {
    use Do::Succeed as Fast;
    for (rate, threshold, probes, state) in [
        (0.9, 2, &[SLOW, Fast][..], State::Closed),
        (0.9, 2, &[Fast, SLOW], State::Closed),
        (0.9, 2, &[SLOW, SLOW], State::Open),
        (0.5, 2, &[SLOW], State::Open),
        (0.1, 1, &[SLOW], State::Open),
        (1.0, 1, &[SLOW], State::Open),
        (0.5, 5, &[SLOW, Fast, SLOW, Fast, Fast], State::Closed),
        // Two fast ones to come would not bring three of five below a half.
        (0.5, 5, &[SLOW, SLOW, SLOW], State::Open),
    ] {
        assert_eq!(after_probes(&layer(rate, threshold), probes).await, state, "{rate} {probes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_neutral_probe_is_never_slow_and_a_failed_one_is_no_slow_success() {
    let layer = layer(0.9, 2);
    let mut events = layer.handle().subscribe(10);
    assert_eq!(after_probes(&layer, &[Do::Ignore, SLOW, Do::Ignore, Do::FailAfter(11 * MS)]).await, State::Open);
    let causes: Vec<_> = std::iter::from_fn(|| events.try_recv()).map(|event| event.cause).collect();
    assert_eq!(causes, [Cause::SlowRate, Cause::OpenTimeOver, Cause::ProbeFailed]);
}

/// Calls an upstream that is always slow for a second. Returns how often a closed breaker opened, and a half-open one.
async fn openings_in_a_second(open_for: impl Into<Backoff>) -> (usize, usize) {
    let layer = layer(1.0, 2).open_for(open_for);
    let (service, _) = over(&layer);
    let mut events = layer.handle().subscribe(1_000);
    let end = tokio::time::Instant::now() + SECOND;
    while tokio::time::Instant::now() < end {
        if call(&service, SLOW).await != OK {
            advance(MS).await;
        }
    }
    let opened: Vec<_> = std::iter::from_fn(|| events.try_recv()).filter(|event| event.to == State::Open).collect();
    assert!(opened.iter().all(|event| event.cause == Cause::SlowRate));
    let trips = opened.iter().filter(|event| event.from == State::Closed).count();
    (trips, opened.len() - trips)
}

#[tokio::test(start_paused = true)]
async fn rule_4_an_upstream_that_stays_slow_is_not_closed_over_and_over() {
    assert_eq!(openings_in_a_second(10 * MS).await, (1, 31));
    let growing = Backoff::exponential(10 * MS, 10 * SECOND).jitter(Jitter::None);
    assert_eq!(openings_in_a_second(growing).await, (1, 6), "the open time grows");
}
