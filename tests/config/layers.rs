//! What files mean for the layers.

use std::time::Duration;

use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::RetryLayer;
use tower_rampart::breaker::{CircuitBreaker, State};
use tower_rampart::classify::{Class, Classifier, Health, Processed};
use tower_rampart::config::Config;
use tower_rampart::retry::ReplayBody;

use super::{from_json, from_toml, settings};

/// Sends a call to an upstream that always answers with this status, and returns how many attempts came and how long
/// they took.
async fn attempts(layer: RetryLayer, status: u16) -> (u32, Duration) {
    let sent = std::sync::atomic::AtomicU32::new(0);
    let service = ServiceBuilder::new().layer(layer).service(service_fn(|_: http::Request<ReplayBody<String>>| {
        sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move { Ok::<_, std::io::Error>(http::Response::builder().status(status).body(String::new()).unwrap()) }
    }));
    let start = tokio::time::Instant::now();
    let _ = service.oneshot(http::Request::get("http://billing/").body(String::new()).unwrap()).await.unwrap();
    (sent.into_inner(), start.elapsed())
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(from_toml("").unwrap(), Config::default());
    assert_eq!(from_json("{}").unwrap(), Config::default());
    let layer = Config::default().retry_layer("default").unwrap();
    assert_eq!(settings(&layer), settings(&RetryLayer::new_for_http()));
    assert_eq!(from_json("").unwrap_err().to_string(), "EOF while parsing a value at line 1 column 0");
}

#[test]
fn the_example_round_trips_and_is_valid() {
    let example = Config::example();
    let text = toml::to_string(&example).unwrap();
    assert_eq!(from_toml(&text).unwrap(), example);
    assert_eq!(from_json(&serde_json::to_string(&example).unwrap()).unwrap(), example);
    assert!(text.contains("deadline = \"1m 30s\""), "{text}");
}

#[test]
fn a_name_overrides_field_by_field() {
    let config = from_toml(
        "
        [retry]
        max_attempts = 4
        deadline = '10s'
        backoff.exponential = { first = '1s', max = '5s', jitter = 'none' }
        budget.ratio = { ratio = 0.1, reserve = 7 }
        [per_name.billing.retry]
        deadline = '20s'
        backoff.exponential.max = '2s'
        budget.ratio.ratio = 0.5
        [per_name.search.retry]
        backoff.fixed.wait = '3s'
        budget = 'unlimited'
    ",
    )
    .unwrap();
    let layer = |name: &str| settings(&config.retry_layer(name).unwrap());
    let by_hand = |text: &str, name: &str| settings(&from_toml(text).unwrap().retry_layer(name).unwrap());
    let common = "
        retry.max_attempts = 4
        retry.deadline = '10s'
        retry.backoff.exponential = { first = '1s', max = '5s', jitter = 'none' }
        retry.budget.ratio = { ratio = 0.1, reserve = 7 }
    ";
    assert_eq!(layer("unknown"), by_hand(common, "unknown"));
    let billing = "
        retry.max_attempts = 4
        retry.deadline = '20s'
        retry.backoff.exponential = { first = '1s', max = '2s', jitter = 'none' }
        retry.budget.ratio = { ratio = 0.5, reserve = 7 }
    ";
    assert_eq!(layer("billing"), by_hand(billing, "billing"));
    let search = "
        retry.max_attempts = 4
        retry.deadline = '10s'
        retry.backoff.fixed.wait = '3s'
        retry.budget = 'unlimited'
    ";
    assert_eq!(layer("search"), by_hand(search, "search"));
    assert_eq!(config.budget("billing").unwrap().balance(), Some(7.0));
    assert_eq!(config.budget("search").unwrap().balance(), None);
}

#[tokio::test(start_paused = true)]
async fn the_retry_layer_does_what_the_file_says() {
    let config = from_toml(
        "
        retry.backoff.fixed.wait = '1s'
        retry.max_attempts = 2
        [per_name.billing.retry]
        max_attempts = 4
    ",
    )
    .unwrap();
    assert_eq!(attempts(config.retry_layer("other").unwrap(), 503).await, (2, Duration::from_secs(1)));
    assert_eq!(attempts(config.retry_layer("billing").unwrap(), 503).await, (4, Duration::from_secs(3)));
}

#[test]
fn the_breaker_does_what_the_file_says() {
    let config = from_toml(
        "
        breaker.consecutive_failures = 3
        breaker.open_for.fixed.wait = '30s'
        [per_name.billing.breaker]
        consecutive_failures = 2
    ",
    )
    .unwrap();
    let failures_until_open = |name: &str| {
        let breaker = config.configure_breaker(name, CircuitBreaker::builder()).unwrap().build();
        let failures = (1..9).find(|_| {
            breaker.try_acquire().unwrap().fail();
            breaker.state() == State::Open
        });
        (failures, breaker.snapshot().retry_after.map(|time| time.as_secs_f64().round()))
    };
    assert_eq!(failures_until_open("other"), (Some(3), Some(30.0)));
    assert_eq!(failures_until_open("billing"), (Some(2), Some(30.0)));
}

#[test]
fn statuses_and_codes_are_classified_as_the_file_says() {
    let config = from_toml("
        [classify]
        statuses = [
            { first = 400, last = 499, verdict.class = 'ambiguous' },
            { first = 409, verdict = { class = 'transient', processed = 'no', health = 'neutral', retry_after = '2s' } },
        ]
        codes = [{ code = 5, verdict.class = 'success' }]
        [per_name.search.classify]
        statuses = [{ first = 404, verdict.class = 'success' }]
    ").unwrap();
    let class = |name: &str, status: u16| {
        let response = http::Response::builder().status(status).body(()).unwrap();
        config.http_classifier(name).unwrap().classify(Ok(&response))
    };
    assert_eq!(class("billing", 404).class(), Class::Ambiguous);
    assert_eq!(class("search", 404).class(), Class::Success);
    assert_eq!(class("search", 409).class(), Class::Terminal, "a list replaces the common one");
    let conflict = class("billing", 409);
    assert_eq!((conflict.class(), conflict.processed()), (Class::Transient, Processed::No));
    assert_eq!((conflict.health(), conflict.retry_after()), (Health::Neutral, Some(Duration::from_secs(2))));
    let response = http::Response::builder().header("grpc-status", "5").body(()).unwrap();
    assert_eq!(config.grpc_classifier("billing").unwrap().classify(Ok(&response)).class(), Class::Success);
}

#[test]
fn a_hedge_is_not_dropped_silently() {
    let config = from_toml("per_name.billing.retry.hedge.after = '50ms'").unwrap();
    assert!(config.retry_layer("other").is_ok());
    let error = config.retry_layer("billing").unwrap_err();
    assert_eq!(error.path(), "per_name.billing.retry.hedge");
    let (_, hedge) = config.hedged_retry("billing").unwrap();
    assert_eq!(hedge, Some(tower_rampart::retry::Hedge::after(Duration::from_millis(50))));
}

#[test]
fn no_outage_of_the_common_part_can_be_lifted() {
    let config = from_toml(
        "
        breaker.no_outage = true
        [per_name.billing.breaker]
        no_outage = false
        outage = { failures = 3, lasting = '0s' }
    ",
    )
    .unwrap();
    let layer = |name: &str| format!("{:?}", config.breaker_layer(name).unwrap());
    assert!(layer("other").contains("outage: Some(None)"), "{}", layer("other"));
    assert!(layer("billing").contains("outage: Some(Some(Outage { failures: 3"), "{}", layer("billing"));
}
