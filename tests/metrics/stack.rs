//! A stack in which everything that has a number has happened.

use std::time::Duration;

use tokio::time::advance;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::partition;
use tower_rampart::retry::{Budget, Hedge, ReplayBody};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};
use tower_rampart::{breaker, retry};

type Request = http::Request<ReplayBody<String>>;

/// The handles of both layers, after an outage of one tenant and its end.
pub(crate) async fn handles() -> (retry::Handle, breaker::Handle<http::HeaderValue>) {
    let retry =
        RetryLayer::new_for_http().name("billing").backoff(Duration::from_millis(100)).budget(Budget::ratio(0.2));
    let breaker = CircuitBreakerLayer::new_for_http()
        .name("billing")
        .partition_by(partition::header("x-tenant-id"))
        .consecutive_failures(5)
        .open_for(Duration::from_secs(5));
    let (retries, breakers) = (retry.handle(), breaker.handle());
    let client = ServiceBuilder::new().layer(retry.hedge(Hedge::after(Duration::from_secs(1)))).layer(breaker).service(
        service_fn(|request: Request| async move {
            let status = request.headers()["x-status"].to_str()?.parse::<u16>()?;
            if status == 200 {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Ok::<_, BoxError>(http::Response::builder().status(status).body(())?)
        }),
    );
    let pull = |tenant: &'static str, status: &'static str| {
        let request = http::Request::get("/").header("x-tenant-id", tenant).header("x-status", status);
        client.clone().oneshot(request.body(String::new()).unwrap())
    };
    for _ in 0..3 {
        let _ = pull("bad", "503").await;
    }
    let _ = pull("good", "200").await;
    advance(Duration::from_secs(5)).await;
    let _ = pull("bad", "204").await;
    let _ = pull("bad", "404").await;
    breakers.force_open(&http::HeaderValue::from_static("gone"));
    (retries, breakers)
}
