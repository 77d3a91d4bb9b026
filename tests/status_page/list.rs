//! `breakers.json`.

use std::collections::HashMap;

use http_body::Body;
use serde_json::json;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Mode, partition};

use tower_rampart::status_page::StatusPage;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn the_list_holds_every_number_of_a_breaker() {
    let tenants = tenants("billing");
    let page = StatusPage::new().breakers(tenants.clone());
    let seven = tenant(&tenants, "seven");
    seven.try_acquire().unwrap().succeed();
    tokio::time::advance(3 * SECOND).await;
    fail(&seven, 2);
    assert!(seven.try_acquire().is_err());
    tokio::time::advance(4 * SECOND).await;

    let id = list(page.clone()).await["breakers"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!((id.len(), id.chars().all(|letter| letter.is_ascii_hexdigit())), (16, true));
    let expected = json!({
        "layers": [{ "name": "billing", "overflowed": 0 }],
        "breakers": [{
            "id": id,
            "name": "billing",
            "partition": "seven",
            "state": "open",
            "mode": "automatic",
            "calls": 3,
            "failures": 2,
            "slow": 0,
            "failure_rate": 2.0 / 3.0,
            "slow_rate": 0.0,
            "consecutive_failures": 2,
            "retry_after_ms": 6_000,
            "remaining_probes": null,
            "unchanged_for_ms": 4_000,
            "explanation": "It opened because 2 calls in a row failed (2 of 3 in the window).",
            "totals": { "calls": 3, "succeeded": 1, "failed": 2, "rejected": 1, "transitions": 1 },
            "history": [
                { "from": "closed", "to": "open", "mode": "automatic", "cause": "consecutive failures", "ago_ms": 4_000, "reopened": 0 },
            ],
        }],
    });
    assert_eq!(list(page.clone()).await, expected);

    seven.reset();
    assert_eq!(list(page.clone()).await["breakers"][0]["explanation"], json!(null));
    fail(&seven, 2);
    tokio::time::advance(4 * SECOND).await;
    tokio::time::advance(6 * SECOND).await;
    let due = list(page).await["breakers"][0].clone();
    assert_eq!(
        (&due["state"], &due["remaining_probes"], &due["retry_after_ms"]),
        (&json!("half-open"), &json!(3), &json!(null))
    );
}

#[tokio::test]
async fn one_page_shows_layers_with_keys_of_different_types() {
    let named = tenants("named");
    let numbered = CircuitBreakerLayer::new_for_http().name("numbered").partition_by(partition::extension::<u64>());
    let whole = CircuitBreakerLayer::new_for_http().name("whole").mode(Mode::ObserveOnly);
    let _ = (tenant(&named, "seven"), numbered.handle().get_or_insert(&7), whole.breaker());
    let page = StatusPage::new().breakers(named).breakers(numbered.handle()).breakers(whole.handle());
    let list = list(page).await;
    let rows = list["breakers"].as_array().unwrap();
    let rows: Vec<_> = rows.iter().map(|row| [&row["name"], &row["partition"], &row["mode"]]).collect();
    assert_eq!(
        rows,
        [["named", "seven", "automatic"], ["numbered", "7", "automatic"], ["whole", "(default)", "observe only"]]
    );
}

#[tokio::test]
async fn a_list_without_breakers_is_json() {
    assert_eq!(list(StatusPage::new()).await, json!({ "layers": [], "breakers": [] }));
    let page = StatusPage::new().breakers(tenants("billing"));
    assert_eq!(list(page).await, json!({ "layers": [{ "name": "billing", "overflowed": 0 }], "breakers": [] }));
}

#[tokio::test]
async fn rule_3_labels_are_those_of_errors_and_telemetry() {
    let layer = CircuitBreakerLayer::new_for_http().partition_by(partition::extension::<String>()).redact_labels(true);
    let breaker = tenant(&layer.handle(), "secret-tenant");
    breaker.force_open();
    let response = send(StatusPage::new().breakers(layer.handle()), get("/breakers.json")).await;
    let text = String::from_utf8(bytes(response).await.to_vec()).unwrap();
    assert!(!text.contains("secret-tenant"), "{text}");
    let list = serde_json::from_str(&text).unwrap();
    let row = row(&list, breaker.partition());
    assert!(
        breaker.partition().starts_with('#') && row["state"] == "open" && row["explanation"] == "It was forced open."
    );
}

#[tokio::test]
async fn rule_3_equal_labels_have_different_ids() {
    let tenants = tenants("billing");
    let long = "x".repeat(64);
    for last in ["1", "2"] {
        let _ = tenant(&tenants, &format!("{long}{last}"));
    }
    let list = list(StatusPage::new().breakers(tenants)).await;
    let rows = list["breakers"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["partition"]), (2, &rows[1]["partition"]));
    assert_ne!(rows[0]["id"], rows[1]["id"]);
}

#[tokio::test]
async fn rule_3_no_id_comes_back_for_another_key() {
    let tenants = [tenants("billing"), tenants("database")];
    let page = tenants.iter().fold(StatusPage::new(), |page, tenants| page.breakers(tenants.clone()));
    let mut ids = HashMap::new();
    for number in 0..1_000 {
        // Labels show the first 64 characters of a key.
        let key = format!("{}{}", "x".repeat(64), number / 2);
        let layer = &tenants[number % 2];
        let _ = tenant(layer, &key);
        let list = list(page.clone()).await;
        let rows = list["breakers"].as_array().unwrap();
        assert_eq!(rows.len(), 1);
        let another = ids.insert(rows[0]["id"].to_string(), number);
        assert_eq!(another, None, "{number} has the id of another");
        assert!(layer.remove(&key));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_breaker_has_not_the_past_of_an_evicted_one() {
    let tenants = tenants("billing");
    let page = StatusPage::new().breakers(tenants.clone());
    for number in 0..1_000 {
        let key = format!("{}{number}", "x".repeat(64));
        let breaker = tenant(&tenants, &key);
        let list = list(page.clone()).await;
        assert_eq!(list["breakers"][0]["history"], json!([]), "{number}");
        breaker.force_open();
        assert!(tenants.remove(&key));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_given_twice_shows_its_breakers_once() {
    let tenants = tenants("billing");
    let breaker = tenant(&tenants, "seven");
    let page = StatusPage::new().breakers(tenants.clone());
    // A clone that goes on has the same breakers and changes of its own.
    for page in [page.clone().breakers(tenants), page] {
        breaker.force_open();
        let list = list(page).await;
        breaker.reset();
        let rows = list["breakers"].as_array().unwrap();
        assert_eq!((rows.len(), list["layers"].as_array().unwrap().len()), (1, 1));
        assert_eq!(rows[0]["totals"]["transitions"], rows[0]["history"].as_array().unwrap().len());
    }
}

#[tokio::test]
async fn calls_that_share_a_breaker_are_counted() {
    let layer = CircuitBreakerLayer::new_for_http().partition_by(partition::extension::<u64>()).max_partitions(1);
    let held = layer.handle().get_or_insert(&1);
    let mut request = http::Request::new(http_body_util::Empty::<bytes::Bytes>::new());
    request.extensions_mut().insert(2_u64);
    let inner = tower::service_fn(async |_| Ok::<_, std::convert::Infallible>(http::Response::new(())));
    tower::ServiceExt::oneshot(tower::Layer::layer(&layer, inner), request).await.unwrap();
    let list = list(StatusPage::new().breakers(layer.handle())).await;
    assert!(held.is_some());
    assert_eq!((&list["layers"][0]["overflowed"], list["breakers"].as_array().unwrap().len()), (&json!(1), 2));
}

#[tokio::test]
async fn only_whole_bodies_know_their_length() {
    let page = StatusPage::new().breakers(tenants("billing"));
    let sizes = [("/", true), ("/breakers.json", false), ("/events", false), ("/no", true)].map(|(path, is_whole)| {
        let page = page.clone();
        async move { (send(page, get(path)).await.into_body().size_hint().exact().is_some(), is_whole) }
    });
    for size in sizes {
        let (is_exact, is_whole) = size.await;
        assert_eq!(is_exact, is_whole);
    }
}
