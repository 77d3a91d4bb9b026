use std::time::Duration;

use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::partition;
use tower_rampart::metrics::Source;
use tower_rampart::retry::{self, Budget, GiveUp, ReplayBody, RetryPolicy};
use tower_rampart::{BoxError, RetryLayer};

use crate::scrape::Scrape;

const CALLS: &str = "rampart_retry_calls_total";
const ATTEMPTS: &str = "rampart_retry_attempts_total";

type Request = http::Request<ReplayBody<String>>;

/// Answers each attempt with the next of the statuses in the header.
async fn answer(request: Request) -> Result<http::Response<()>, BoxError> {
    let attempt = retry::Attempt::of(&request).number() as usize - 1;
    let statuses = request.headers()["x-statuses"].to_str()?;
    let status = statuses.split(' ').nth(attempt).ok_or("no further attempt was expected")?;
    Ok(http::Response::builder().status(status).body(())?)
}

fn request(method: &str, statuses: &str) -> http::Request<String> {
    http::Request::builder().method(method).uri("/").header("x-statuses", statuses).body(String::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_by_how_they_ended_and_attempts_by_why() {
    let layer = RetryLayer::new_for_http().name("billing").backoff(Duration::from_millis(100));
    let retries = layer.handle();
    let client = ServiceBuilder::new().layer(layer).service(service_fn(answer));
    for (method, statuses) in [
        ("GET", "200"),
        ("GET", "503 200"),
        ("GET", "503 503 503"),
        ("GET", "404"),
        ("POST", "503"),
        ("GET", "429 503 200"),
    ] {
        client.clone().oneshot(request(method, statuses)).await.unwrap();
    }
    assert_eq!((retries.recovered(), retries.retries()), (2, 5));
    assert_eq!(retries.waited(), Duration::from_millis(500));
    assert_eq!(retries.gave_up(GiveUp::Exhausted), 1);

    let scrape = Scrape::of(&[&retries]);
    let calls = |result| scrape.sum(CALLS, &[("name", "billing"), ("result", result)]);
    let results = ["recovered", "exhausted", "not_retryable", "not_idempotent", "deadline"].map(calls);
    assert_eq!(results, [2.0, 1.0, 1.0, 1.0, 0.0]);
    // The call that succeeded at once is not among them.
    assert_eq!(scrape.sum(CALLS, &[]), 5.0);
    assert_eq!(scrape.sum(ATTEMPTS, &[("reason", "status")]), 5.0);
    assert_eq!(scrape.sum("rampart_retry_wait_seconds_sum", &[]), 0.5);
    assert_eq!(scrape.sum("rampart_retry_wait_seconds_count", &[]), 5.0);
    // Ten tokens and a fifth for each call, without those of five retries.
    assert_eq!(scrape.sum("rampart_retry_budget_balance", &[]), 6.2);
}

#[tokio::test(start_paused = true)]
async fn functions_and_layers_of_one_policy_count_together() {
    let policy = RetryPolicy::new().name("billing").max_attempts(2);
    let retries = policy.handle();
    let layer = RetryLayer::new_for_http().policy(&policy);
    let client = ServiceBuilder::new().layer(layer).service(service_fn(answer));
    client.oneshot(request("GET", "503 503")).await.unwrap();
    let reset = || async { Err::<(), _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) };
    assert!(retry::call(&policy, reset).await.is_err());
    assert_eq!((retries.gave_up(GiveUp::Exhausted), retries.retries()), (2, 2));
    let scrape = Scrape::of(&[&retries]);
    assert_eq!(["status", "reset"].map(|reason| scrape.sum(ATTEMPTS, &[("reason", reason)])), [1.0, 1.0]);
    // Another name is another layer.
    assert_eq!(policy.name("other").handle().retries(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_the_budgets_of_keys_the_emptiest_one_is_shown() {
    let tenants = partition::header("x-tenant-id");
    let layer = RetryLayer::new_for_http().budget_by(tenants, Budget::ratio(0.0).reserve(3));
    let retries = layer.handle();
    assert_eq!(retries.balance(), Some(3.0));
    let client = ServiceBuilder::new().layer(layer).service(service_fn(answer));
    for (tenant, statuses) in [("one", "200"), ("other", "503 503 200")] {
        let mut request = request("GET", statuses);
        request.headers_mut().insert("x-tenant-id", http::HeaderValue::from_static(tenant));
        client.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(retries.balance(), Some(1.0));
}

#[test]
fn an_unlimited_budget_has_no_balance() {
    let mut samples = Vec::new();
    RetryLayer::new_for_http().no_budget().handle().collect(&mut samples);
    assert!(!samples.is_empty() && samples.iter().all(|sample| sample.metric.name != "rampart.retry.budget.balance"));
}

#[tokio::test(start_paused = true)]
async fn hedges_are_counted_apart() {
    let (retries, _) = crate::stack::handles().await;
    assert_eq!((retries.hedges(), retries.resends()), (1, 0));
    let scrape = Scrape::of(&[&retries]);
    assert_eq!(scrape.sum("rampart_retry_hedges_total", &[]), 1.0);
    assert_eq!(scrape.sum(ATTEMPTS, &[]), retries.retries() as f64);
}
