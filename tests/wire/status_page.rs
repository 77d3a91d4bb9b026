//! The status page below a router of axum.

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{State, partition};
use tower_rampart::status_page::StatusPage;

#[tokio::test]
async fn a_router_mounts_the_page_below_a_path() {
    let tenants = CircuitBreakerLayer::new_for_http().partition_by(partition::extension::<u64>()).handle();
    let tenant = tenants.get_or_insert(&7).unwrap();
    let page =
        StatusPage::new().breakers(tenants).guard(|request| request.extensions.get::<&str>() == Some(&"operator"));
    let router: Router = Router::new().nest_service("/admin/breakers", page);
    for (path, content_type) in [
        ("", "text/html; charset=utf-8"),
        ("/", "text/html; charset=utf-8"),
        ("/breakers.json", "application/json"),
        ("/events", "text/event-stream"),
    ] {
        let request = Request::get(format!("/admin/breakers{path}")).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["content-type"]),
            (StatusCode::OK, &content_type.parse().unwrap())
        );
    }
    let request = Request::get("/admin/breakers/breakers.json").body(Body::empty()).unwrap();
    let list = axum::body::to_bytes(router.clone().oneshot(request).await.unwrap().into_body(), 10_000).await.unwrap();
    let list = std::str::from_utf8(&list).unwrap();
    let id = list.split_once("\"id\":\"").unwrap().1.split_once('"').unwrap().0;

    let request = Request::post(format!("/admin/breakers/breakers/{id}/force-open"))
        .header("sec-fetch-site", "same-origin")
        .extension("operator");
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!((response.status(), tenant.state()), (StatusCode::OK, State::Open));
}
