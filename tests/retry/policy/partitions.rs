//! Rule 9 with `budget_by`: one budget for each key.

use std::future::Future;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::breaker::partition::{self, Keyed, Partition};
use tower_rampart::classify::{Verdict, classifier_fn};
use tower_rampart::retry::{Backoff, Budget, DeadlineHeader, ReplayBodies, Retry, RetryGuard, RetryLayer, RetryPolicy};

use crate::observe::telemetry::lines_of;
use crate::support::*;

type By<P> = RetryLayer<tower_rampart::classify::HttpClassifier, ReplayBodies, (), P>;

const TENANT: &str = "x-tenant-id";

/// Two attempts and no wait. A budget grants as many retries as it holds.
fn by<P: Keyed>(partition: P, budget: Budget) -> By<P> {
    layer().max_attempts(2).backoff(Backoff::none()).budget_by(partition, budget)
}

/// One retry for each key, ever.
fn one_retry() -> Budget {
    Budget::ratio(0.0).reserve(1)
}

fn of(tenant: impl ToString) -> Request<Full<Bytes>> {
    let mut request = get();
    request.headers_mut().insert(TENANT, tenant.to_string().parse().unwrap());
    request
}

fn to(uri: &str) -> Request<Full<Bytes>> {
    let mut request = get();
    *request.uri_mut() = uri.parse().unwrap();
    request
}

/// Sends each request in turn to an upstream that is down. Returns how often each was retried.
async fn retries<P>(layer: &By<P>, requests: impl IntoIterator<Item = Request<Full<Bytes>>>) -> Vec<u32>
where
    P: Partition<Request<Full<Bytes>>> + Clone,
{
    let service = layer.layer(Upstream::new([answer(503)]));
    let mut retries = Vec::new();
    for request in requests {
        retries.push(report(&service.clone().oneshot(request).await.unwrap()).0.saturating_sub(1));
    }
    retries
}

#[tokio::test(start_paused = true)]
async fn rule_9_a_tenant_that_is_down_does_not_spend_the_retries_of_others() {
    let layer = layer()
        .max_attempts(2)
        .backoff(Backoff::none())
        .budget_by(partition::header(TENANT), Budget::ratio(0.1).reserve(3));
    let down = retries(&layer, (0..40).map(|_| of("down"))).await;
    // Three to begin with, and a tenth of 40 calls.
    assert_eq!(down.iter().sum::<u32>(), 7);
    assert_eq!(retries(&layer, [of("down"), of("well"), of("well"), of("well"), of("well")]).await, [0, 1, 1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn rule_9_hosts_and_extensions_have_budgets_of_their_own() {
    let hosts = ["http://a.example/x", "http://A.example/y", "http://b.example", "http://a.example:81", "/none", "/no"];
    let by_host = by(partition::host(), one_retry());
    assert_eq!(retries(&by_host, hosts.map(to)).await, [1, 0, 1, 1, 1, 0], "letter case makes no difference");

    let shard = |shard: u32| {
        let mut request = get();
        request.extensions_mut().insert(shard);
        request
    };
    let by_shard = by(partition::extension::<u32>(), one_retry());
    assert_eq!(retries(&by_shard, [7, 8, 7, 8, 9].map(shard)).await, [1, 1, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn rule_9_requests_of_any_type_have_a_budget_for_each_key() {
    let failing = classifier_fn(|_: Result<&u64, _>| Verdict::transient());
    let layer = RetryLayer::new(failing).max_attempts(2).backoff(Backoff::none());
    let layer = layer.budget_by(partition::by(|(shard, _): &(u64, u64)| *shard), one_retry());
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let upstream = service_fn(|(_, query): (u64, u64)| {
        calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::ready(Ok::<_, tower_rampart::BoxError>(query))
    });
    let service = layer.layer(upstream);
    for (request, sent) in [((1, 10), 2), ((1, 11), 3), ((2, 10), 5), ((2, 11), 6), ((1, 10), 7)] {
        assert_eq!(service.clone().oneshot(request).await.unwrap(), request.1);
        assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), sent, "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_9_requests_without_a_key_share_the_given_budget() {
    let budget = Budget::ratio(0.0).reserve(2);
    let layer = by(partition::header(TENANT), budget.clone());
    assert_eq!(retries(&layer, [get(), of(1), get(), get(), of(1), of(1)]).await, [1, 1, 1, 0, 1, 0]);
    assert_eq!(budget.balance(), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn rule_9_clones_share_the_budgets_of_the_keys_and_new_settings_begin_anew() {
    let layer = by(partition::header(TENANT), one_retry());
    assert_eq!(retries(&layer.clone(), [of(1)]).await, [1]);
    let observed = layer.clone().max_attempts(3).on_retry(|_| {}).max_replay_bytes(0).idempotent(|_| true);
    let response = observed.layer(Upstream::new([answer(503)])).oneshot(of(1)).await.unwrap();
    assert_eq!(report(&response).0, 1, "the token of this key is spent");

    let richer = layer.clone().budget(Budget::ratio(0.0).reserve(2));
    assert_eq!(retries(&richer, [of(1), of(1), of(1), of(2)]).await, [1, 1, 0, 1]);
    assert_eq!(retries(&layer.clone().max_partitions(7), [of(1)]).await, [1]);
    assert_eq!(retries(&layer.clone().no_budget(), [of(1), of(1)]).await, [1, 1]);
    assert_eq!(retries(&layer, [of(1)]).await, [0], "it keeps its own");
}

#[tokio::test(start_paused = true)]
async fn rule_9_every_kind_can_be_had_by_key() {
    for (budget, expected) in [
        (Budget::grpc(2, 0.1), [0, 0, 0]),
        (Budget::grpc(4, 0.1), [1, 0, 0]),
        (Budget::aws_standard(), [1, 1, 1]),
        (Budget::concurrent(0.0, 0), [0, 0, 0]),
        (Budget::concurrent(100.0, 0), [1, 1, 1]),
        (Budget::ratio(0.5).reserve(0), [0, 1, 0]),
    ] {
        let layer = by(partition::header(TENANT), budget);
        for tenant in 0..3 {
            assert_eq!(retries(&layer, [tenant; 3].map(of)).await, expected, "{layer:?}");
        }
    }
}

/// Long keys stand in the registry as digests.
#[tokio::test(start_paused = true)]
async fn rule_9_long_keys_have_budgets_too() {
    let layer = by(partition::header(TENANT), one_retry());
    let [one, other] = ["a".repeat(8_192), "a".repeat(8_191) + "b"];
    assert_eq!(retries(&layer, [of(&one), of(&other), of(&one), of(&other)]).await, [1, 1, 0, 0]);
}

/// A budget for a single key, and this much later two others. Returns whether those had budgets of their own.
async fn is_forgotten_after(budget: Budget, first: usize, idle: std::time::Duration) -> bool {
    let layer = by(partition::header(TENANT), budget).max_partitions(1);
    let _ = retries(&layer, (0..first).map(|_| of("first"))).await;
    // Finds it in use, and looks again a second later at the earliest.
    let _ = retries(&layer, [of("other")]).await;
    tokio::time::advance(idle).await;
    // With budgets that are shared, more than 16 keys cannot all be granted their first retry.
    let mut granted = 0;
    for key in 0..40 {
        granted += retries(&layer, [of(key)]).await[0];
    }
    granted > 16
}

#[tokio::test(start_paused = true)]
async fn rule_9_a_budget_is_remembered_for_a_minute_without_calls() {
    for millis in [0, 1_000, 59_999, 60_000] {
        assert!(!is_forgotten_after(one_retry(), 1, millis * MS).await, "{millis} ms");
    }
    let layer = by(partition::header(TENANT), one_retry()).max_partitions(1);
    assert_eq!(retries(&layer, [of("first"), of("other")]).await, [1, 1]);
    tokio::time::advance(60_001 * MS).await;
    // The other one takes the only place, and the first now finds none.
    assert_eq!(retries(&layer, [of("new"), of("new")]).await, [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn rule_9_a_budget_whose_key_has_calls_is_never_forgotten() {
    let port = partition::by(|request: &Request<Full<Bytes>>| request.uri().port_u16());
    let layer = by(port, one_retry()).max_partitions(1);
    for round in 0..6 {
        // The other key looks for a place whenever the first one has had no call for a while.
        retries(&layer, [to("http://a.example:1"), to("http://a.example:2")]).await;
        assert_eq!((layer.balance(&Some(1)), layer.balance(&Some(2))), (Some(0.0), None), "{round}");
        tokio::time::advance(45 * SECOND).await;
        retries(&layer, [to("http://a.example:2")]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn rule_9_a_budget_is_remembered_as_long_as_its_tokens_live() {
    let hour = Budget::ratio(0.0).reserve(1).ttl(3_600 * SECOND);
    assert!(!is_forgotten_after(hour, 1, 3_600 * SECOND).await);
    let ever = Budget::ratio(0.0).reserve(1).ttl(std::time::Duration::MAX);
    assert!(!is_forgotten_after(ever, 1, 1_000_000 * SECOND).await);
}

/// Nothing is lost with a budget that holds what it began with.
#[tokio::test(start_paused = true)]
async fn rule_9_a_budget_that_is_as_new_makes_room_at_once() {
    let layer = by(partition::header(TENANT), one_retry()).max_partitions(1);
    let service = layer.layer(Upstream::new([answer(200), answer(503)]));
    assert_eq!(service.clone().oneshot(of("well")).await.unwrap().status(), 200);
    // Takes the place of the one before.
    assert_eq!(report(&service.oneshot(of("down")).await.unwrap()).0, 2);
    // Finds no place, so that 16 budgets are shared.
    assert!(retries(&layer, (0..100).map(of)).await.iter().sum::<u32>() <= 16);
}

/// A retry that waits holds its budget: its token comes back to the budget that it was taken from.
#[tokio::test(start_paused = true)]
async fn rule_9_a_budget_with_a_call_in_flight_stays() {
    let layer = by(partition::header(TENANT), one_retry()).backoff(SECOND).max_partitions(1);
    let service = layer.layer(Upstream::new([answer(503)]));
    {
        let mut call = std::pin::pin!(service.clone().oneshot(of("first")));
        assert!(tokio::time::timeout(500 * MS, call.as_mut()).await.is_err());
        tokio::time::advance(3_600 * SECOND).await;
        let quick = layer.clone().backoff(Backoff::none());
        assert!(retries(&quick, (0..100).map(of)).await.iter().sum::<u32>() <= 16, "it is not forgotten");
    }
    let response = service.clone().oneshot(of("first")).await.unwrap();
    assert_eq!(report(&response).0, 2, "the token came back");
}

#[tokio::test(start_paused = true)]
async fn rule_9_a_full_budget_that_began_full_makes_room_at_once() {
    let lines = lines_of(async {
        let layer = by(partition::header(TENANT), Budget::ratio(0.2).reserve(1).capacity(1)).max_partitions(1);
        let service = layer.layer(Upstream::new([answer(200)]));
        for tenant in [1, 1, 1, 2, 2, 3] {
            service.clone().oneshot(of(tenant)).await.unwrap();
        }
    });
    assert_eq!(lines.await, [""; 0], "none shares a budget");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rule_9_calls_that_race_for_a_new_key_make_one_budget() {
    for max_partitions in [1_000, 10] {
        let layer = by(partition::header(TENANT), one_retry()).max_partitions(max_partitions);
        for key in 0..100 {
            let calls: Vec<_> = (0..16)
                .map(|_| {
                    let layer = layer.clone();
                    tokio::spawn(async move { retries(&layer, [of(key)]).await[0] })
                })
                .collect();
            let mut granted = 0;
            for call in calls {
                granted += call.await.unwrap();
            }
            assert!(granted == 1 || (granted == 0 && max_partitions == 10), "{granted} retries of key {key}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keys_without_a_place_are_reported_once_a_minute() {
    let lines = lines_of(async {
        let layer = by(partition::header(TENANT), one_retry()).name("billing").max_partitions(1);
        for _ in 0..2 {
            let _ = retries(&layer, (0..3).map(of)).await;
        }
    });
    let lines: Vec<_> = lines.await.into_iter().filter(|line| line.contains("partitions")).collect();
    assert_eq!(
        lines,
        [concat!(
            "WARN tower_rampart::retry message=all partitions are in use: new ones share a few budgets ",
            r#"name="billing" max_partitions=1 calls=1"#
        )]
    );
}

/// What the type of a layer with partitions can do, and what it stays if there are none.
#[test]
fn the_types_keep_their_defaults_and_bounds() {
    fn send_sync<T: Send + Sync + Clone + std::fmt::Debug>(_: &T) {}
    fn sent<F: Future + Send>(_: F) {}
    let plain: RetryLayer = RetryLayer::new_for_http();
    send_sync(&plain);
    let layer = by(partition::header(TENANT), Budget::default());
    send_sync(&layer);
    let service: Retry<_, _, _, _, partition::ByHeader> = layer.layer(Upstream::new([answer(200)]));
    sent(service.oneshot(get()));
}

#[tokio::test(start_paused = true)]
async fn rule_9_a_policy_that_is_set_later_keeps_the_budgets_of_keys() {
    let policy = RetryPolicy::new().max_attempts(2).backoff(Backoff::none()).no_budget();
    let layer = RetryLayer::new_for_http().budget_by(partition::header(TENANT), one_retry()).policy(&policy);
    assert_eq!(retries(&layer, [of(1), of(1), of(2), of(2), get(), get()]).await, [1, 0, 1, 0, 1, 0]);
    assert_eq!(retries(&layer.no_budget(), [of(1), of(1), of(1)]).await, [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn rule_9_the_balance_of_a_key_can_be_watched() {
    let layer = by(partition::by(|request: &Request<Full<Bytes>>| request.uri().port_u16()), one_retry());
    let balances = |layer: &By<_>| [Some(1), Some(2)].map(|port| layer.balance(&port));
    assert_eq!(balances(&layer), [None, None]);
    retries(&layer.clone(), [to("http://a.example:1")]).await;
    assert_eq!(balances(&layer), [Some(0.0), None]);
    assert_eq!(balances(&layer.max_partitions(9)), [None, None]);
}

#[test]
fn the_settings_of_headers_come_before_or_after_the_budgets_of_keys() {
    let header = || DeadlineHeader::milliseconds("x-timeout-ms");
    let _ = layer().guard(RetryGuard::new()).deadline_header(header()).budget_by(partition::host(), one_retry());
    let _ = layer().budget_by(partition::host(), one_retry()).guard(RetryGuard::new()).deadline_header(header());
}

#[tokio::test(start_paused = true)]
async fn rule_9_an_endless_stream_of_keys_buys_few_retries_and_disturbs_no_tenant() {
    let port = partition::by(|request: &Request<Full<Bytes>>| request.uri().port_u16());
    let layer = by(port, one_retry()).max_partitions(100);
    let of = |port: u16| to(&format!("http://a.example:{port}"));
    assert_eq!(retries(&layer, [of(1), of(1)]).await, [1, 0]);
    // A hundred keys get a budget of their own, one after the other; the rest share 16.
    let bought: u32 = retries(&layer, (2..20_000).map(of)).await.iter().sum();
    assert_eq!(bought, 99 + 16);
    assert_eq!((layer.balance(&Some(1)), layer.balance(&Some(19_999))), (Some(0.0), None));
    assert_eq!(retries(&layer, [of(1)]).await, [0]);
}
