//! Rule 9, through the layer; the arithmetic and the races are tested beside the code.

use std::time::Duration;

use tower::{Layer, ServiceExt};
use tower_rampart::RetryLayer;
use tower_rampart::retry::{Backoff, Budget, GiveUp};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn rule_9_six_tenths_mean_six_tenths() {
    let budget = Budget::ratio(0.6).reserve(0);
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    let service = layer().max_attempts(10).budget(budget.clone()).layer(upstream);
    for _ in 0..1_000 {
        service.clone().oneshot(get()).await.unwrap();
    }
    assert_eq!(log.calls(), 1_600);
    assert_eq!(budget.balance(), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn rule_9_the_default_is_a_fifth_and_ten_to_start_with() {
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    // No wait, in which tokens would expire.
    let service = RetryLayer::new_for_http().backoff(Backoff::none()).layer(upstream);
    for _ in 0..100 {
        service.clone().oneshot(get()).await.unwrap();
    }
    assert_eq!(log.calls(), 100 + 10 + 20);
}

#[tokio::test(start_paused = true)]
async fn rule_9_clones_of_layer_service_and_budget_share_the_tokens() {
    let budget = Budget::ratio(0.0).reserve(3);
    let first = layer().budget(budget.clone());
    let second = layer().budget(budget.clone());
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    let service = first.clone().layer(upstream.clone());
    for service in [service.clone(), service, first.layer(upstream.clone()), second.layer(upstream)] {
        service.oneshot(get()).await.unwrap();
    }
    // Two retries of the first, one of the second, none of the others.
    assert_eq!((log.calls(), budget.balance()), (4 + 3, Some(0.0)));
}

#[tokio::test(start_paused = true)]
async fn rule_9_an_empty_budget_returns_the_answer_and_is_reported() {
    let upstream = Upstream::new([answer(503)]);
    let response = send(layer().budget(Budget::ratio(0.0).reserve(1)), upstream, get()).await.unwrap();
    assert_eq!(report(&response), (2, Some(GiveUp::Budget)));

    let error =
        send(layer().budget(Budget::ratio(0.0).reserve(0)), Upstream::new([refused()]), get()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Budget, 1));
}

/// Sends `calls` that succeed, `every` so often, and then one that fails. Returns how many times that one is retried.
async fn retries_after(budget: Budget, calls: usize, every: Duration) -> usize {
    let upstream = Upstream::new(std::iter::repeat_n(answer(200), calls).chain([answer(503)]));
    let log = upstream.log();
    let service = layer().backoff(Backoff::none()).max_attempts(1_000).budget(budget).layer(upstream);
    for _ in 0..calls {
        service.clone().oneshot(get()).await.unwrap();
        tokio::time::advance(every).await;
    }
    service.oneshot(get()).await.unwrap();
    log.calls() - calls - 1
}

#[tokio::test(start_paused = true)]
async fn rule_9_tokens_that_are_older_than_their_time_to_live_expire() {
    let budget = || Budget::ratio(0.2);
    // Ten tokens to start with, of which exp(-2) are left after two times to live, and two that came since.
    assert_eq!(retries_after(budget(), 10, SECOND).await, 1, "at least one");
    assert_eq!(retries_after(budget().ttl(5 * SECOND), 10, SECOND).await, 2);
    assert_eq!(retries_after(budget().ttl(10 * SECOND), 10, SECOND).await, 12);
    assert_eq!(retries_after(budget().ttl(Duration::MAX), 10, SECOND).await, 12);
}

#[tokio::test(start_paused = true)]
async fn rule_9_no_token_expires_within_its_time_to_live() {
    // Ten tokens to start with, and two from two calls.
    for (quiet, retries) in [(0, 12), (500, 12), (2_000, 12), (2_500, 4), (4_000, 2), (8_000, 1)] {
        assert_eq!(retries_after(Budget::ratio(1.0), 1, quiet * MS).await, retries, "{quiet} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_9_a_full_bucket_keeps_what_its_calls_deposit_in_the_time_to_live() {
    let budget = || Budget::ratio(0.2).reserve(0);
    for (ttl, retries) in [(SECOND, 20), (2 * SECOND, 39), (5 * SECOND, 86), (60 * SECOND, 100)] {
        assert_eq!(retries_after(budget().ttl(ttl), 1_000, 10 * MS).await, retries, "{ttl:?}");
    }
    assert_eq!(retries_after(budget(), 1_000, 10 * MS).await, 39, "the default is two seconds");
    assert_eq!(retries_after(budget(), 60_000, 10 * MS).await, 39, "ten minutes are no different");
}

/// Calls that fail spend what they deposit, before it gets old.
#[tokio::test(start_paused = true)]
async fn rule_9_the_ratio_is_exact_however_slowly_calls_fail() {
    for every in [MS, 10 * MS, SECOND, 60 * SECOND] {
        let budget = Budget::ratio(0.2).reserve(0);
        let upstream = Upstream::new([answer(503)]);
        let log = upstream.log();
        let service = layer().backoff(Backoff::none()).max_attempts(10).budget(budget).layer(upstream);
        for _ in 0..1_000 {
            service.clone().oneshot(get()).await.unwrap();
            tokio::time::advance(every).await;
        }
        assert_eq!(log.calls(), 1_200, "{every:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_9_one_token_stays_for_ever() {
    let century = 100 * 365 * 24 * 3_600 * SECOND;
    assert_eq!(retries_after(Budget::ratio(0.2), 1, century).await, 1);
    assert_eq!(retries_after(Budget::ratio(0.2).reserve(0), 5, 3_600 * SECOND).await, 1);
    assert_eq!(retries_after(Budget::ratio(0.2).reserve(0), 3, 3_600 * SECOND).await, 0, "if there was one");
    assert_eq!(retries_after(Budget::ratio(0.2).ttl(Duration::ZERO), 1, SECOND).await, 1);
}
