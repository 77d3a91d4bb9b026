//! Shared by the tests: breakers of tenants, and requests to a page.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitBreaker, Handle, partition};
use tower_rampart::status_page::{ResponseBody, StatusPage};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The breakers of a layer with one for each tenant. One opens for ten seconds at the second failure in a row.
pub(crate) fn tenants(name: &str) -> Handle<String> {
    CircuitBreakerLayer::new_for_http()
        .name(name)
        .partition_by(partition::extension::<String>())
        .consecutive_failures(2)
        .open_for(10 * SECOND)
        .handle()
}

pub(crate) fn tenant(tenants: &Handle<String>, name: &str) -> CircuitBreaker {
    tenants.get_or_insert(&name.to_owned()).unwrap()
}

pub(crate) fn fail(breaker: &CircuitBreaker, times: usize) {
    (0..times).for_each(|_| breaker.try_acquire().unwrap().fail());
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(path).body(()).unwrap()
}

pub(crate) async fn send<Guard: Fn(&Parts) -> bool>(
    page: StatusPage<Guard>,
    request: Request<()>,
) -> Response<ResponseBody> {
    page.oneshot(request).await.unwrap()
}

pub(crate) async fn bytes(response: Response<ResponseBody>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// The list of the page.
pub(crate) async fn list<Guard: Fn(&Parts) -> bool>(page: StatusPage<Guard>) -> Value {
    let response = send(page, get("/breakers.json")).await;
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    serde_json::from_slice(&bytes(response).await).unwrap()
}

/// The row of a partition in a list.
pub(crate) fn row<'a>(list: &'a Value, partition: &str) -> &'a Value {
    let rows = list["breakers"].as_array().unwrap();
    rows.iter().find(|row| row["partition"] == partition).unwrap()
}
