//! What a breaker does when nothing but its name is set. Its outages are in a file of their own.

use tower_rampart::breaker::{Cause, State};

use crate::support::*;

fn defaults() -> Breakers {
    Breakers::new(Judge)
}

#[tokio::test(start_paused = true)]
async fn it_opens_when_nine_tenths_of_twenty_calls_have_failed() {
    for (good, state) in [(2, State::Open), (3, State::Closed)] {
        let layer = defaults();
        let (service, _) = over(&layer);
        let mut events = layer.handle().subscribe(4);
        calls(&service, good, Do::Succeed).await;
        calls(&service, 19 - good, Do::Fail).await;
        assert_eq!(layer.breaker().state(), State::Closed, "nineteen calls");
        call(&service, Do::Fail).await;
        assert_eq!(layer.breaker().state(), state, "{good} good ones of twenty");
        assert_eq!(events.try_recv().map(|event| event.cause), (good == 2).then_some(Cause::FailureRate));
    }
}

#[tokio::test(start_paused = true)]
async fn its_window_is_ten_seconds() {
    let layer = defaults();
    let (service, _) = over(&layer);
    for (second, counted) in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10].into_iter().enumerate() {
        call(&service, Do::Succeed).await;
        assert_eq!(layer.breaker().snapshot().calls, counted, "second {second}");
        advance(SECOND).await;
    }
}

/// The first open time is one second and the others are two, less at most a half of jitter; and one good probe closes
/// it.
#[tokio::test(start_paused = true)]
async fn it_is_probed_after_a_second_or_two_and_one_success_closes_it() {
    let layer = defaults();
    let (service, _) = over(&layer);
    calls(&service, 20, Do::Fail).await;
    for opening in 0..20 {
        let wait = layer.breaker().snapshot().retry_after.unwrap();
        let longest = if opening == 0 { SECOND } else { 2 * SECOND };
        assert!((longest / 2..=longest).contains(&wait), "{opening}: {wait:?}");
        advance(wait).await;
        call(&service, Do::Fail).await;
        assert_eq!(layer.breaker().state(), State::Open);
    }
    advance(2 * SECOND).await;
    assert_eq!(call(&service, Do::Succeed).await, OK);
    assert_eq!(layer.breaker().state(), State::Closed);
}
