//! Probes whose bodies take their time, on a paused clock.

use http::Request;
use http::uri::Authority;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::BoxError;
use tower_rampart::breaker::partition::{self, Nested};
use tower_rampart::breaker::{CircuitOpen, State, Window};

use crate::script::{Step, script};
use crate::{Answer, Judged, Layered, MS, SECOND, body, call, call_after, counts, upstream};

/// Half-open, with one place for probes whose lease is 30 seconds.
async fn half_open() -> Layered {
    due(crate::layer().window(Window::count(1)).open_for(10 * SECOND).half_open_max_calls(1).success_threshold(1)).await
}

/// Has opened, and the next call is a probe.
async fn due(layer: Layered) -> Layered {
    call(&layer, 503, script([])).await.unwrap();
    assert_eq!(layer.breaker().state(), State::Open);
    tokio::time::advance(10 * SECOND).await;
    layer
}

fn long() -> crate::Script {
    script([Step::Data("a"), Step::Data("b")])
}

fn endless() -> crate::Script {
    script((0..100).map(|_| Step::Wait))
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
async fn rule_4_a_body_that_streams_until_its_lease_ends_is_a_success() {
    let layer = half_open().await;
    let mut streams = Vec::new();
    for lease in 0..100 {
        if layer.breaker().state() == State::Closed {
            break;
        }
        assert_eq!(lease, streams.len());
        streams.push(body(&layer, endless()).await);
        tokio::time::advance(30 * SECOND).await;
    }
    // The second call finds the lease of the first over.
    assert_eq!((streams.len(), layer.breaker().snapshot().generation), (2, 3));
    drop(streams);
    assert_eq!(counts(&layer.breaker()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_4_streams_fill_the_slots_until_enough_leases_are_over() {
    let layer =
        crate::layer().window(Window::count(1)).open_for(10 * SECOND).half_open_max_calls(2).success_threshold(3);
    let layer = due(layer).await;
    let mut streams = vec![body(&layer, endless()).await, body(&layer, endless()).await];
    assert_eq!(rejected(&layer).await, 30 * SECOND);
    tokio::time::advance(30 * SECOND).await;
    streams.push(body(&layer, endless()).await);
    tokio::time::advance(30 * SECOND - MS).await;
    streams.push(body(&layer, endless()).await);
    assert_eq!((layer.breaker().state(), rejected(&layer).await), (State::HalfOpen, MS));
    tokio::time::advance(MS).await;
    streams.push(body(&layer, endless()).await);
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_body_dropped_by_its_reader_is_a_success() {
    for read in [0, 1] {
        let layer = half_open().await;
        let mut probe = body(&layer, long()).await;
        for _ in 0..read {
            read_one(&mut probe).await;
        }
        assert_eq!((layer.breaker().state(), rejected(&layer).await), (State::HalfOpen, 30 * SECOND));
        drop(probe);
        assert_eq!(layer.breaker().state(), State::Closed, "after {read} frames");
        // A call of the closed breaker stays neutral.
        drop(body(&layer, long()).await);
        assert_eq!(counts(&layer.breaker()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_body_is_counted_once() {
    let layer = due(crate::layer().window(Window::count(1)).open_for(10 * SECOND).success_threshold(2)).await;
    let streamed = body(&layer, long()).await;
    tokio::time::advance(30 * SECOND).await;
    let second = body(&layer, long()).await;
    drop(streamed);
    assert_eq!(layer.breaker().state(), State::HalfOpen, "its lease has counted already");
    drop(second);
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_late_head_counts_at_once() {
    let layer = half_open().await;
    let late = tokio::spawn({
        let layer = layer.clone();
        async move { call_after(&layer, 40 * SECOND, 200, long()).await.unwrap().into_body() }
    });
    tokio::time::sleep(30 * SECOND).await;
    let hung = tokio::spawn({
        let layer = layer.clone();
        async move { call_after(&layer, 3_600 * SECOND, 200, long()).await.is_ok() }
    });
    let late = late.await.unwrap();
    assert_eq!(layer.breaker().state(), State::Closed);
    hung.abort();
    drop(late);
    assert_eq!(counts(&layer.breaker()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_body_that_breaks_off_within_its_lease_is_a_failure() {
    let layer = half_open().await;
    let probe = body(&layer, script([Step::Data("a"), Step::Fail])).await;
    tokio::time::advance(30 * SECOND - MS).await;
    probe.collect().await.unwrap_err();
    assert_eq!((layer.breaker().state(), rejected(&layer).await), (State::Open, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_body_that_breaks_off_after_its_lease_has_been_a_success() {
    let layer = half_open().await;
    let probe = body(&layer, script([Step::Data("a"), Step::Fail])).await;
    tokio::time::advance(30 * SECOND).await;
    probe.collect().await.unwrap_err();
    assert_eq!((layer.breaker().state(), counts(&layer.breaker())), (State::Closed, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn rule_4_slow_heads_open_it_again_while_their_bodies_stream() {
    let slow =
        |layer: Layered| async move { call_after(&layer, SECOND + MS, 200, endless()).await.unwrap().into_body() };
    let layer =
        crate::layer().window(Window::count(1)).open_for(10 * SECOND).success_threshold(2).slow_calls(SECOND, 0.9);
    let layer = due(layer).await;
    let first = slow(layer.clone()).await;
    assert_eq!(layer.breaker().state(), State::HalfOpen);
    let second = slow(layer.clone()).await;
    assert_eq!(layer.breaker().state(), State::Open);
    drop((first, second));
    assert_eq!(layer.breaker().snapshot().generation, 3, "their ends are late news");
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_slow_head_is_counted_once() {
    let layer =
        crate::layer().window(Window::count(1)).open_for(10 * SECOND).success_threshold(2).slow_calls(SECOND, 0.9);
    let layer = due(layer).await;
    drop(call_after(&layer, SECOND + MS, 200, long()).await.unwrap());
    assert_eq!(layer.breaker().state(), State::HalfOpen);
    body(&layer, long()).await.collect().await.unwrap();
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_ramp_does_not_wait_for_bodies() {
    let layer = due(crate::layer()
        .window(Window::count(1))
        .open_for(10 * SECOND)
        .half_open_max_calls(1)
        .success_threshold(1)
        .ramp(&[1.0], 4))
    .await;
    drop(body(&layer, long()).await);
    let mut streams = Vec::new();
    for _ in 0..4 {
        assert_eq!(layer.breaker().state(), State::HalfOpen);
        streams.push(body(&layer, endless()).await);
    }
    assert_eq!(layer.breaker().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_answered_with_an_error_settles_at_its_head() {
    let layer = half_open().await;
    let probe = call(&layer, 503, script([Step::Data("sorry"), Step::Wait])).await.unwrap();
    assert_eq!(layer.breaker().state(), State::Open);
    drop(probe);
    assert_eq!(rejected(&layer).await, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_good_head_closes_the_host_of_a_tenant() {
    let layer = crate::layer()
        .window(Window::count(1))
        .open_for(10 * SECOND)
        .half_open_max_calls(1)
        .success_threshold(1)
        .partition_by(partition::header("x-tenant-id"))
        .nested_in(partition::host(), 0.5);
    let host = Nested::Outer(Authority::from_static("host").into());
    let state = || layer.handle().state(&host);
    let call = |tenant: u32, status, body| {
        let mut request = Request::get("http://host/").header("x-tenant-id", tenant).body(body).unwrap();
        request.extensions_mut().insert(Answer { after: MS, status });
        layer.layer(service_fn(upstream)).oneshot(request)
    };
    // The votes of a young host have to be unanimous for longer.
    let _ = call(0, 200, script([])).await;
    tokio::time::advance(60 * SECOND).await;
    for tenant in 0..3 {
        let _ = call(tenant, 503, script([])).await;
    }
    assert_eq!(state(), State::Open);
    tokio::time::advance(10 * SECOND).await;
    let streams = call(7, 200, endless()).await.unwrap();
    assert_eq!(state(), State::Closed, "the head was good");
    drop(streams);
    assert_eq!(state(), State::Closed);
}
