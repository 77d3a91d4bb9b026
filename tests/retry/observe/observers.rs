//! The events of `on_retry` and `on_give_up`, and the log of a storm of give-ups.

use std::sync::Mutex;

use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_rampart::retry::GiveUp;

use crate::observe::telemetry::lines_of;
use crate::support::*;

fn charge() -> Request<Full<bytes::Bytes>> {
    Request::post("http://user:hunter2@api.example:8080/charges?token=7").body(Full::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn both_callbacks_get_method_host_and_partition() {
    let seen = Mutex::new(Vec::new());
    let note = |what: String, method: Option<&http::Method>, host: Option<&str>, partition: Option<&str>| {
        let (method, host, partition) = (method.unwrap(), host.unwrap(), partition.unwrap());
        seen.lock().unwrap().push(format!("{what} {method} {host} {partition}"));
    };
    let layer = layer()
        .max_attempts(2)
        .idempotent(|_| true)
        .partition_label(|_| Some("tenant-7".into()))
        .on_give_up(|event| {
            let what = format!("{} after {}", event.kind(), event.attempts());
            note(what, event.method(), event.host(), event.partition());
        })
        .on_retry(|event| note(format!("retry {}", event.attempt()), event.method(), event.host(), event.partition()));
    // The last attempt has taken the request with it.
    send(layer, Upstream::new([answer(503)]), charge()).await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        ["retry 1 POST api.example:8080 tenant-7", "exhausted after 2 POST api.example:8080 tenant-7"]
    );
}

#[tokio::test(start_paused = true)]
async fn on_give_up_is_called_only_if_a_retry_was_wanted() {
    let kinds = Mutex::new(Vec::new());
    let layer = layer().on_give_up(|event| kinds.lock().unwrap().push((event.kind(), event.verdict().code())));
    for step in [answer(200), answer(404), circuit_open()] {
        let _ = send::<_, _, _, http::Response<Full<bytes::Bytes>>>(&layer, Upstream::new([step]), get()).await;
    }
    assert_eq!(*kinds.lock().unwrap(), []);
    send(&layer, Upstream::new([answer(503)]), charge()).await.unwrap();
    assert_eq!(*kinds.lock().unwrap(), [(GiveUp::NotIdempotent, Some(503))]);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_give_ups_is_one_line_a_second_for_each_kind_and_loses_no_count() {
    let layer = layer().name("storm");
    let service = layer.layer(Upstream::new([answer(503)]));
    let lines = lines_of(async {
        for _ in 0..10_000 {
            // Clones of layer and service share the log.
            service.clone().oneshot(charge()).await.unwrap();
            layer.clone().layer(Upstream::new([answer(503)])).oneshot(charge()).await.unwrap();
            tokio::time::advance(MS).await;
        }
        // Another kind has lines of its own.
        layer.clone().max_attempts(2).layer(Upstream::new([answer(503)])).oneshot(get()).await.unwrap();
    })
    .await;
    let counts = |kind: &str| -> Vec<u32> {
        let kind = format!("kind={kind:?}");
        let lines = lines.iter().filter(|line| line.contains(&kind) && line.contains("storm"));
        lines.map(|line| line.rsplit("count=").next().unwrap().parse().unwrap()).collect()
    };
    let storm = counts("not_idempotent");
    assert_eq!(storm.len(), 10, "{storm:?}");
    // Give-ups after the last line are counted in the next.
    assert_eq!((storm[0], storm.iter().sum::<u32>()), (1, 18_001));
    assert_eq!(counts("exhausted"), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_renamed_clone_of_a_layer_logs_and_counts_apart() {
    let first = layer().name("made-first");
    let second = first.clone().name("made-second");
    let lines = lines_of(async {
        for layer in [&first, &second, &second] {
            send(layer, Upstream::new([answer(503)]), charge()).await.unwrap();
        }
    })
    .await;
    let counts = |name: &str| lines.iter().filter(|line| line.contains(name) && line.contains("count=1")).count();
    assert_eq!((counts("made-first"), counts("made-second")), (1, 1), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_in_an_error_counts_its_attempts() {
    let events = Mutex::new(Vec::new());
    let layer =
        layer().max_attempts(2).on_give_up(|event| events.lock().unwrap().push((event.kind(), event.attempts())));
    for request in [charge(), get()] {
        let outcome: Result<http::Response<Full<bytes::Bytes>>, _> =
            send(&layer, Upstream::new([reset()]), request).await;
        outcome.unwrap_err();
    }
    assert_eq!(*events.lock().unwrap(), [(GiveUp::NotIdempotent, 1), (GiveUp::Exhausted, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_past_its_deadline_gives_up_without_an_attempt() {
    let events = Mutex::new(Vec::new());
    let layer = layer().on_give_up(|event| events.lock().unwrap().push((event.kind(), event.attempts())));
    let mut request = get();
    request.extensions_mut().insert(tower_rampart::retry::Deadline::within(std::time::Duration::ZERO));
    let outcome: Result<http::Response<Full<bytes::Bytes>>, _> =
        send(layer, Upstream::new([answer(200)]), request).await;
    assert_eq!(gave_up(&outcome.unwrap_err()).report().history(), []);
    assert_eq!(*events.lock().unwrap(), [(GiveUp::Deadline, 0)]);
}
