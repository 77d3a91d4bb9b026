//! The flight recordings that the page offers.

use http::{Request, StatusCode};
use serde_json::json;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Recording, partition};
use tower_rampart::status_page::StatusPage;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn the_recording_of_a_layer_is_a_file_that_names_no_partition() {
    let recorded = CircuitBreakerLayer::new_for_http().name("billing").flight_recorder(1_024);
    let page = StatusPage::new().breakers(tenants("search")).breakers(recorded.handle());
    (0..1_100).for_each(|_| recorded.breaker().try_acquire().unwrap().succeed());
    assert_eq!(
        list(page.clone()).await["layers"],
        json!([
            { "name": "search", "overflowed": 0 },
            { "name": "billing", "overflowed": 0, "recording": "recordings/1" }
        ])
    );
    let response = send(page.clone(), get("/recordings/1")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"breakers.flight\"");
    let text = String::from_utf8(bytes(response).await.to_vec()).unwrap();
    assert_eq!(text, recorded.handle().recording().to_string());
    assert_eq!((text.lines().count(), text.contains("(default)")), (2 + 1_024, false));
    assert_eq!(text.parse::<Recording>().unwrap().decisions(), 1_100);
    for path in ["/recordings/0", "/recordings/2", "/recordings/18446744073709551616"] {
        assert_eq!(send(page.clone(), get(path)).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn rule_3_a_recording_shows_digests_and_no_label() {
    let layer = |redact| {
        let layer = CircuitBreakerLayer::new_for_http().name("billing").partition_by(partition::extension::<String>());
        layer.flight_recorder(64).consecutive_failures(1).redact_labels(redact).handle()
    };
    for handle in [layer(false), layer(true)] {
        fail(&tenant(&handle, "acme"), 1);
        assert!(tenant(&handle, "acme").try_acquire().is_err());
        fail(&tenant(&handle, "gone"), 1);
        assert!(handle.remove(&"gone".to_owned()));
        let label = tenant(&handle, "acme").partition().to_owned();
        let page = StatusPage::new().prefix("/admin/breakers/").breakers(handle).guard(|_| true);
        let text = bytes(send(page, get("/admin/breakers/recordings/0")).await).await;
        let text = String::from_utf8(text.to_vec()).unwrap();
        let records = text.parse::<Recording>().unwrap();
        assert_eq!(records.records().len(), 6, "{text}");
        for word in ["acme", "gone", &label] {
            assert!(!text.contains(word), "{text}");
        }
        assert!(
            records.records().iter().all(|record| record.partition.len() == 17 && record.partition.starts_with('#'))
        );
    }
}

#[tokio::test]
async fn rule_7_a_recording_takes_the_place_of_a_stream_until_it_is_sent() {
    let layer = CircuitBreakerLayer::new_for_http().flight_recorder(64);
    let page = StatusPage::new().breakers(layer.handle());
    // HEAD copies nothing, and takes no place.
    for _ in 0..20 {
        assert_eq!(send(page.clone(), Request::head("/recordings/0").body(()).unwrap()).await.status(), StatusCode::OK);
    }
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(send(page.clone(), get("/recordings/0")).await);
    }
    for path in ["/recordings/0", "/events"] {
        assert_eq!(send(page.clone(), get(path)).await.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    for _ in 0..20 {
        let sent = open.pop().unwrap();
        assert!(bytes(sent).await.starts_with(b"tower-rampart flight recording 1\n"));
        open.push(send(page.clone(), get("/recordings/0")).await);
        assert_eq!(open.last().unwrap().status(), StatusCode::OK);
    }
}
