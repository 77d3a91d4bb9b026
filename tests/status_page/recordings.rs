//! The flight recordings that the page offers.

use http::StatusCode;
use serde_json::json;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::Recording;
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
