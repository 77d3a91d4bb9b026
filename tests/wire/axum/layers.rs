//! Layers on the server side: axum applies them to each route anew, and they share their state.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::extract::Request;
use http::StatusCode;
use tower::{ServiceBuilder, ServiceExt};
use tower_rampart::breaker::{CircuitOpen, State, partition};
use tower_rampart::clients::UpstreamFailure;
use tower_rampart::retry::{Backoff, Budget};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

/// Two routes that fail, and how often they were called.
fn failing() -> (Router, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let fail = |calls: Arc<AtomicUsize>| {
        axum::routing::get(move || async move {
            calls.fetch_add(1, Ordering::SeqCst);
            StatusCode::SERVICE_UNAVAILABLE
        })
    };
    (Router::new().route("/one", fail(calls.clone())).route("/two", fail(calls.clone())), calls)
}

async fn get(routes: &Router, path: &str, tenant: &str) -> (u16, Option<String>) {
    let request = Request::get(path).header("x-tenant-id", tenant).body(Body::empty()).unwrap();
    let answer = routes.clone().oneshot(request).await.unwrap();
    let wait = answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
    (answer.status().as_u16(), wait)
}

#[tokio::test(start_paused = true)]
async fn a_breaker_around_several_routes_is_one() {
    let breaker = CircuitBreakerLayer::new_for_http()
        .partition_by(partition::header("x-tenant-id"))
        .consecutive_failures(2)
        .open_for(Duration::from_secs(30));
    let handle = breaker.handle();
    let (routes, calls) = failing();
    let routes = routes.layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(async |error: BoxError| UpstreamFailure::from(error)))
            .layer(breaker),
    );
    assert_eq!(get(&routes, "/one", "7").await, (503, None));
    assert_eq!(get(&routes, "/two", "7").await, (503, None));
    tokio::time::advance(Duration::from_millis(1)).await;
    for path in ["/one", "/two"] {
        assert_eq!(get(&routes, path, "7").await, (503, Some("30".into())));
    }
    assert_eq!((calls.load(Ordering::SeqCst), handle.iter().count()), (2, 1));
    assert_eq!(get(&routes, "/one", "8").await, (503, None));
    assert_eq!((calls.load(Ordering::SeqCst), handle.iter().count()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_budget_around_several_routes_is_one() {
    let budget = Budget::ratio(0.1).reserve(1);
    let retry = RetryLayer::new_for_http().backoff(Backoff::none()).budget(budget);
    let (routes, calls) = failing();
    let routes = routes.layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(async |error: BoxError| UpstreamFailure::from(error)))
            .layer(retry),
    );
    // The one token goes to the first call, whichever route it takes.
    assert_eq!(get(&routes, "/one", "7").await.0, 503);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(get(&routes, "/two", "7").await.0, 503);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

/// What most handlers hold their errors in, with a context.
#[test]
fn an_error_of_anyhow_keeps_its_answer() {
    let open = CircuitOpen::new("billing", State::Open).with_retry_after(Duration::from_millis(1_500));
    let failure = UpstreamFailure::from(anyhow::Error::from(open).context("rows of tenant 7"));
    let response = failure.to_response::<String>();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"2".parse().unwrap()));
    assert_eq!((response.headers().len(), response.body().as_str()), (1, ""));
}
