//! Probes whose bodies take their time, on a paused clock.

use http_body_util::BodyExt;
use tower_rampart::BoxError;
use tower_rampart::breaker::{CircuitOpen, State, Window};

use crate::script::{Step, script};
use crate::{Judged, Layered, MS, SECOND, body, call};

/// Half-open, with one place for probes whose lease is 30 seconds.
async fn half_open() -> Layered {
    let layer =
        crate::layer().window(Window::count(1)).open_for(10 * SECOND).half_open_max_calls(1).success_threshold(1);
    call(&layer, 503, script([])).await.unwrap();
    assert_eq!(layer.breaker().state(), State::Open);
    tokio::time::advance(10 * SECOND).await;
    layer
}

fn long() -> crate::Script {
    script([Step::Data("a"), Step::Data("b")])
}

/// Makes a call that is rejected, and returns for how long.
async fn rejected(layer: &Layered) -> std::time::Duration {
    let error: BoxError = call(layer, 200, long()).await.map(|_| ()).unwrap_err();
    CircuitOpen::find(&*error).unwrap().retry_after().unwrap()
}

async fn read_one(body: &mut Judged) {
    assert!(body.frame().await.unwrap().unwrap().is_data());
}

#[tokio::test(start_paused = true)]
async fn a_probe_keeps_its_place_while_its_body_streams() {
    let layer = half_open().await;
    let mut probe = body(&layer, long()).await;
    assert_eq!((layer.breaker().state(), rejected(&layer).await), (State::HalfOpen, 30 * SECOND));
    read_one(&mut probe).await;
    tokio::time::advance(30 * SECOND - MS).await;
    assert_eq!(rejected(&layer).await, MS);
    // Its end closes.
    probe.collect().await.unwrap();
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_body_breaks_off_opens_again() {
    let layer = half_open().await;
    let probe = body(&layer, script([Step::Data("a"), Step::Fail])).await;
    assert_eq!(layer.breaker().state(), State::HalfOpen);
    probe.collect().await.unwrap_err();
    assert_eq!((layer.breaker().state(), rejected(&layer).await), (State::Open, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn ten_probes_dropped_early_free_their_places_at_once() {
    let layer = half_open().await;
    for _ in 0..10 {
        let mut probe = body(&layer, long()).await;
        read_one(&mut probe).await;
        assert_eq!(rejected(&layer).await, 30 * SECOND);
        drop(probe);
        assert_eq!(layer.breaker().state(), State::HalfOpen);
    }
    body(&layer, long()).await.collect().await.unwrap();
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_body_is_leaked_gives_way_when_its_lease_is_over() {
    let layer = half_open().await;
    std::mem::forget(body(&layer, long()).await);
    assert_eq!(rejected(&layer).await, 30 * SECOND);
    tokio::time::advance(30 * SECOND).await;
    body(&layer, long()).await.collect().await.unwrap();
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_after_the_lease_still_counts_once() {
    let layer = half_open().await;
    let late = body(&layer, long()).await;
    tokio::time::advance(30 * SECOND).await;
    let second = body(&layer, long()).await;
    late.collect().await.unwrap();
    let closed = layer.breaker().snapshot();
    assert_eq!((closed.state, closed.calls), (State::Closed, 0));
    // That of the other is news from an earlier time.
    second.collect().await.unwrap();
    assert_eq!(layer.breaker().snapshot().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_answered_with_an_error_settles_at_its_head() {
    let layer = half_open().await;
    let probe = call(&layer, 503, script([Step::Data("sorry"), Step::Wait])).await.unwrap();
    assert_eq!(layer.breaker().state(), State::Open);
    drop(probe);
    assert_eq!(rejected(&layer).await, 10 * SECOND);
}
