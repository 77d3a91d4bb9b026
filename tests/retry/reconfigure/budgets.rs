//! Budgets whose numbers change and whose tokens stay.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_rampart::breaker::partition;
use tower_rampart::retry::{Backoff, Budget, RetryPolicy};

use super::reconfigure;
use crate::support::*;

fn of(tenant: u32) -> Request<Full<Bytes>> {
    let mut request = get();
    request.headers_mut().insert("x-tenant-id", tenant.into());
    request
}

fn with(budget: Budget) -> RetryPolicy {
    RetryPolicy::new().backoff(Backoff::none()).max_attempts(1_000).budget(budget)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_changes_add_no_token() {
    let settings = |change: u32| {
        let budget = Budget::ratio(0.0).reserve(change % 90).capacity(10 + change % 91);
        with(budget.min_per_second(change % 3).ttl(if change % 2 == 0 { SECOND } else { 60 * SECOND }))
    };
    let policy = with(Budget::ratio(0.0).reserve(10));
    let handle = policy.handle();
    for change in 1..=1_000 {
        handle.reconfigure(&settings(change)).unwrap();
        assert_eq!(handle.balance(), Some(10.0), "{change}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_call_deposits_changes_at_once_for_all_that_share_the_budget() {
    let budget = Budget::ratio(0.0).reserve(0);
    let [one, other] = [(); 2].map(|()| layer().max_attempts(1).budget(budget.clone()));
    let service = other.layer(Upstream::new([answer(200)]));
    assert_eq!(reconfigure(&one.handle(), &layer().max_attempts(1).budget(Budget::ratio(0.25).reserve(0))), "budget");
    for _ in 0..10 {
        service.clone().oneshot(get()).await.unwrap();
    }
    assert_eq!((budget.balance(), other.handle().balance()), (Some(2.5), Some(2.5)));
    assert_eq!(reconfigure(&other.handle(), &one), "budget", "a layer has the settings that were written");
    service.oneshot(get()).await.unwrap();
    assert_eq!(budget.balance(), Some(2.5));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_derived_from_a_changed_one_begins_as_it_was_written() {
    let budget = Budget::ratio(0.25).reserve(2).capacity(20);
    with(budget.clone()).handle().reconfigure(&with(Budget::ratio(0.5).reserve(7).capacity(9))).unwrap();
    let policy = with(budget.capacity(50));
    assert_eq!(policy.handle().balance(), Some(2.0));
    policy_succeeds(&policy).await;
    assert_eq!(policy.handle().balance(), Some(2.25));
}

#[tokio::test(start_paused = true)]
async fn tokens_above_a_smaller_capacity_do_not_come_back() {
    let budget = Budget::ratio(1.0).reserve(10).capacity(10);
    let policy = with(budget.clone());
    let handle = policy.handle();
    let capacity = |tokens| with(Budget::ratio(1.0).reserve(0).capacity(tokens));
    // What calls deposit above the capacity does not become withdrawable by a larger one.
    for _ in 0..15 {
        policy_succeeds(&policy).await;
    }
    assert_eq!(budget.balance(), Some(10.0));
    for (tokens, left) in [(100, 10.0), (4, 4.0), (100, 4.0), (7, 4.0), (3, 3.0), (8, 3.0)] {
        handle.reconfigure(&capacity(tokens)).unwrap();
        assert_eq!(budget.balance(), Some(left), "{tokens}");
    }
    for _ in 0..15 {
        policy_succeeds(&policy).await;
    }
    assert_eq!(budget.balance(), Some(8.0), "a larger one fills up");
}

async fn policy_succeeds(policy: &RetryPolicy) {
    tower_rampart::retry::call(policy, || std::future::ready(Ok::<_, std::io::Error>(()))).await.unwrap();
}

/// How many retries are granted at once.
async fn granted(policy: &RetryPolicy) -> u32 {
    let failing = || std::future::ready(Err::<(), _>(super::down()));
    tower_rampart::retry::call(policy, failing).await.unwrap_err().attempts() - 1
}

#[tokio::test(start_paused = true)]
async fn what_depends_on_the_time_holds_from_the_change_on() {
    let ratio = || Budget::ratio(0.0).reserve(50);
    let policy = with(ratio());
    policy_succeeds(&policy).await;
    tokio::time::sleep(3_600 * SECOND).await;
    // Tokens that have expired come back by no longer life.
    policy.handle().reconfigure(&with(ratio().ttl(Duration::MAX))).unwrap();
    assert_eq!(granted(&policy).await, 1);
    // The time before earns nothing.
    tokio::time::sleep(3_600 * SECOND).await;
    policy.handle().reconfigure(&with(ratio().min_per_second(5))).unwrap();
    assert_eq!(granted(&policy).await, 0);
    tokio::time::sleep(SECOND).await;
    assert_eq!(granted(&policy).await, 5);
    // What was earned before the change stays.
    tokio::time::sleep(2 * SECOND).await;
    policy.handle().reconfigure(&with(ratio())).unwrap();
    assert_eq!(granted(&policy).await, 10);
}

#[tokio::test(start_paused = true)]
async fn the_budgets_of_all_keys_change_and_keep_their_tokens() {
    const KEYS: u32 = 3_000;
    let budget = Budget::ratio(0.0).reserve(3);
    let layer = layer()
        .backoff(Backoff::none())
        .max_attempts(2)
        .budget_by(partition::header("x-tenant-id"), budget.clone())
        .max_partitions(KEYS as usize);
    let service = layer.layer(Upstream::new([answer(503)]));
    let retried = |tenant| {
        let service = service.clone();
        async move { report(&service.oneshot(of(tenant)).await.unwrap()).0.max(1) - 1 }
    };
    for tenant in 0..KEYS {
        assert_eq!(retried(tenant).await, 1, "{tenant}");
    }
    let handle = layer.handle();
    let settings = crate::support::layer()
        .backoff(Backoff::none())
        .max_attempts(2)
        .budget(Budget::ratio(0.5).reserve(1))
        .max_partitions(KEYS as usize + 1);
    assert_eq!(reconfigure(&handle, &settings), "budget, max_partitions");
    for tenant in 0..KEYS {
        // Two are left, and each call adds half of one.
        let mut granted = 0;
        for _ in 0..4 {
            granted += retried(tenant).await;
        }
        assert_eq!((granted, layer.balance(&http::HeaderValue::from(tenant))), (4, Some(0.0)), "{tenant}");
    }
    // A new key has room, and begins with the new reserve.
    assert_eq!([retried(KEYS).await, retried(KEYS).await, retried(KEYS).await], [1, 1, 0]);
    assert_eq!(layer.balance(&http::HeaderValue::from(KEYS)), Some(0.5));
    assert_eq!(budget.balance(), Some(3.0), "that of calls without a key");
}

#[tokio::test(start_paused = true)]
async fn tokens_of_keys_that_have_expired_come_back_by_no_longer_life() {
    let settings = |ttl| with(Budget::ratio(0.1).reserve(50).ttl(ttl));
    let layer = layer()
        .policy(&with(Budget::unlimited()))
        .budget_by(partition::header("x-tenant-id"), Budget::ratio(0.1).reserve(50))
        .max_partitions(1);
    let well = layer.layer(Upstream::new([answer(200)]));
    let down = layer.layer(Upstream::new([answer(503)]));
    // The second has no room, and shares an overflow budget.
    for tenant in [1, 2] {
        well.clone().oneshot(of(tenant)).await.unwrap();
    }
    tokio::time::sleep(3_600 * SECOND).await;
    assert_eq!(reconfigure(&layer.handle(), &settings(Duration::MAX)), "budget");
    for tenant in [1, 2] {
        assert_eq!(report(&down.clone().oneshot(of(tenant)).await.unwrap()).0, 2, "one token is left");
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_budget_keeps_its_share_of_the_tokens() {
    let budget = Budget::grpc(10, 1.0);
    let policy = with(budget.clone());
    let handle = policy.handle();
    let most = |tokens| with(Budget::grpc(tokens, 1.0));
    for (tokens, left) in [(100, 100.0), (7, 7.0), (1_000, 1_000.0), (10, 10.0)] {
        assert_eq!(reconfigure(&handle, &most(tokens)), "budget");
        assert_eq!(budget.balance(), Some(left), "all are there");
    }
    assert_eq!((granted(&policy).await, budget.balance()), (4, Some(5.0)));
    for tokens in [1_000, 3, 10] {
        handle.reconfigure(&most(tokens)).unwrap();
        assert_eq!(budget.balance(), Some(f64::from(tokens) / 2.0));
        let token = granted(&policy).await;
        assert_eq!(token, 0, "throttled before, and after a change to {tokens}");
        // Pays back the failure.
        policy_succeeds(&policy).await;
    }
}
