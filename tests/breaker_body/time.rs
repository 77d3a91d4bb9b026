//! What is slow: the head, not the reader of the body. On a paused clock.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::breaker::Abandoned;
use tower_rampart::retry::Deadline;

use crate::script::{Script, Step, script};
use crate::{Answer, Layered, MS, SECOND, call_after, upstream};

fn layer() -> Layered {
    crate::layer().slow_calls(SECOND, 1.0)
}

/// A body that is read an hour after its head.
async fn read_late(layer: &Layered, head_after: Duration, body: Script) {
    let response = call_after(layer, head_after, 200, body).await.unwrap();
    tokio::time::advance(3_600 * SECOND).await;
    let _ = response.into_body().collect().await;
}

/// Calls, failures and slow calls.
fn counts(layer: &Layered) -> (u64, u64, u64) {
    let snapshot = layer.breaker().snapshot();
    (snapshot.calls, snapshot.failures, snapshot.slow)
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_no_slow_upstream() {
    let layer = layer();
    read_late(&layer, SECOND, script([Step::Data("a")])).await;
    assert_eq!(counts(&layer), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_slow_however_fast_its_body_is_read() {
    let layer = layer();
    let response = call_after(&layer, SECOND + MS, 200, script([Step::Data("a")])).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!(counts(&layer), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_that_is_no_success_is_slow() {
    let layer = layer();
    let response = call_after(&layer, SECOND + MS, 404, script([Step::Data("a")])).await.unwrap();
    assert_eq!(counts(&layer), (1, 0, 1));
    drop(response);
    assert_eq!(counts(&layer), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_late_is_a_failure_but_not_slow() {
    let layer = layer();
    read_late(&layer, MS, script([Step::Data("a"), Step::Fail])).await;
    assert_eq!(counts(&layer), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_dropped_late_is_neutral_whatever_abandoned_is() {
    for layer in [layer(), layer().abandoned(Abandoned::FailureAfter(Duration::ZERO))] {
        let response = call_after(&layer, MS, 200, script([Step::Data("a")])).await.unwrap();
        tokio::time::advance(3_600 * SECOND).await;
        drop(response);
        assert_eq!(counts(&layer), (0, 0, 0));
    }
}

/// The limits of a retry layer end with the head.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_dropped_after_the_deadline_of_its_call_is_neutral() {
    let layer = layer();
    let mut request = Request::new(script([Step::Data("a"), Step::Data("b")]));
    request.extensions_mut().insert(Answer { after: MS, status: 200 });
    request.extensions_mut().insert(Deadline::within(SECOND));
    let response = layer.layer(service_fn(upstream)).oneshot(request).await.unwrap();
    tokio::time::advance(2 * SECOND).await;
    drop(response);
    assert_eq!(counts(&layer), (0, 0, 0));
}

/// Without an answer nothing is different from a breaker that looks at heads alone.
#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_its_head_is_abandoned() {
    let layer = layer();
    let call = call_after(&layer, 3_600 * SECOND, 200, script([]));
    assert!(tokio::time::timeout(SECOND + MS, call).await.is_err());
    assert_eq!(counts(&layer), (1, 1, 1));
}

/// An outcome belongs to the moment at which it became known.
#[tokio::test(start_paused = true)]
async fn a_body_counts_in_the_window_in_which_it_ended() {
    let layer = layer();
    read_late(&layer, MS, script([Step::Data("a")])).await;
    assert_eq!(counts(&layer), (1, 0, 0));
    tokio::time::advance(61 * SECOND).await;
    assert_eq!(counts(&layer), (0, 0, 0));
}
