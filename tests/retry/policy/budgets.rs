//! Rule 9, through the layer; the arithmetic and the races are tested beside the code.

use std::time::Duration;

use tower::{Layer, ServiceExt};
use tower_rampart::RetryLayer;
use tower_rampart::classify::{Class, HttpClassifier};
use tower_rampart::retry::{Backoff, Budget, GiveUp, RetryReport};

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

/// Sends one GET for each pair, and asserts the status and how many requests the upstream has received by then.
async fn sequence(budget: Budget, successes: &[usize], expected: &[(u16, usize)]) {
    let last = expected.last().expect("has calls").1;
    let upstream = Upstream::new((0..=last).map(|nth| answer(if successes.contains(&nth) { 200 } else { 503 })));
    let log = upstream.log();
    let service = layer().max_attempts(4).budget(budget).layer(upstream);
    for (call, (status, requests)) in expected.iter().enumerate() {
        let response = service.clone().oneshot(get()).await.unwrap();
        assert_eq!((response.status().as_u16(), log.calls() - 1), (*status, *requests), "call {call}");
        let gave_up = RetryReport::of(&response).and_then(RetryReport::gave_up);
        assert_eq!(gave_up, (*status == 503).then_some(GiveUp::Budget), "call {call}");
    }
}

/// The sequence of grpc-go's `TestRetryThrottling`: 10 tokens, half a token for a success.
#[tokio::test(start_paused = true)]
async fn rule_9_retries_are_throttled_as_in_grpc_go() {
    let successes = [0, 3, 6, 10, 11, 12, 13, 14, 16, 18];
    let ok = |request| (200, request);
    let throttled = |request| (503, request);
    let calls = [
        ok(0),
        ok(3),
        ok(6),
        // The first attempt is retried, the second is not.
        throttled(8),
        throttled(9),
        ok(10),
        ok(11),
        ok(12),
        ok(13),
        ok(14),
        ok(16),
        throttled(17),
    ];
    let budget = Budget::grpc(10, 0.5);
    sequence(budget.clone(), &successes, &calls).await;
    // 6 after the call before, and 5 are not more than half.
    assert_eq!(budget.balance(), Some(5.0));
}

/// Failures that gRPC counts although they are not retried, and others.
#[tokio::test(start_paused = true)]
async fn rule_9_grpc_counts_failures_that_are_not_retried() {
    for (step, attempts, left) in [
        (answer(503), 1, 9.0),
        // "Do not retry".
        (answer(503).header("x-should-retry", "false"), 3, 9.0),
        (answer(404), 3, 10.0),
        (circuit_open(), 3, 10.0),
    ] {
        let budget = Budget::grpc(10, 0.5);
        let _ = send(layer().max_attempts(attempts).budget(budget.clone()), Upstream::new([step.clone()]), get()).await;
        assert_eq!(budget.balance(), Some(left), "{step:?}");
    }
}

/// "Standard mode" of the SDKs' own tests: eventually succeeds, and fails due to max attempts.
#[tokio::test(start_paused = true)]
async fn rule_9_the_quota_follows_the_aws_sdks() {
    for (steps, balance) in [
        (vec![answer(500), answer(500), answer(200)], 495.0),
        (vec![answer(502)], 490.0),
        (vec![hang()], 480.0),
        (vec![answer(200)], 500.0),
    ] {
        let budget = Budget::aws_standard();
        let layer = layer().max_attempts(3).attempt_timeout(SECOND).budget(budget.clone());
        let layer = layer.classifier(HttpClassifier::new().status(500, Class::Transient));
        let _ = send(layer, Upstream::new(steps.clone()), get()).await;
        assert_eq!(budget.balance(), Some(balance), "{steps:?}");
    }
}

/// "No quota" of the SDKs' own tests: with 5 tokens left there is one retry after an error and none after a timeout.
#[tokio::test(start_paused = true)]
async fn rule_9_the_last_tokens_of_the_quota_pay_for_an_error_and_not_for_a_timeout() {
    for (step, attempts, balance) in [(answer(503), 2, 0.0), (hang(), 1, 5.0)] {
        let budget = Budget::aws_standard();
        let spend = layer().max_attempts(100).budget(budget.clone()).backoff(Backoff::none());
        send(spend, Upstream::new([answer(503)]), get()).await.unwrap();
        assert_eq!(budget.balance(), Some(5.0));
        let upstream = Upstream::new([step]);
        let log = upstream.log();
        let _ = send(layer().max_attempts(5).attempt_timeout(SECOND).budget(budget.clone()), upstream, get()).await;
        assert_eq!((log.calls(), budget.balance()), (attempts, Some(balance)));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_9_a_success_at_once_gives_one_token_to_the_quota() {
    let budget = Budget::aws_standard();
    let upstream = Upstream::new([answer(503), answer(503), answer(200)]);
    let service = layer().max_attempts(2).budget(budget.clone()).layer(upstream);
    service.clone().oneshot(get()).await.unwrap();
    assert_eq!(budget.balance(), Some(495.0));
    service.oneshot(get()).await.unwrap();
    assert_eq!(budget.balance(), Some(496.0));
}

/// Of ten calls in progress two may retry at once, and the minimum is one.
#[tokio::test(start_paused = true)]
async fn rule_9_concurrent_retries_are_a_share_of_the_calls_in_progress() {
    for (calls, retried) in [(10, 2), (14, 2), (15, 3), (1, 1), (4, 1)] {
        let budget = Budget::concurrent(20.0, 1);
        let upstream = Upstream::new([answer(503).taking(SECOND)]);
        let log = upstream.log();
        let service = layer().max_attempts(2).budget(budget.clone()).layer(upstream);
        let calls: Vec<_> = (0..calls).map(|_| tokio::spawn(service.clone().oneshot(get()))).collect();
        let count = calls.len();
        // All fail in the same millisecond. Those that are not retried leave, and the share is of fewer then.
        settle().await;
        assert_eq!(budget.balance(), Some(f64::from(retried)), "{count} calls");
        for call in calls {
            call.await.unwrap().unwrap();
        }
        let sent = log.calls() - count;
        assert!((1..=retried as usize).contains(&sent), "{sent} retries of {count} calls");
        assert_eq!(budget.balance(), Some(1.0), "nothing is in progress");
    }
}

/// At every point of a call: what it took for a retry that was not sent comes back, and nothing stays in progress.
#[tokio::test(start_paused = true)]
async fn rule_9_a_call_that_is_dropped_gives_back_what_it_took() {
    for polls in 0..40 {
        let (quota, concurrent) = (Budget::aws_standard(), Budget::concurrent(0.0, 1));
        for budget in [&quota, &concurrent] {
            let upstream = Upstream::new([answer(503).taking(SECOND), answer(503).taking(SECOND), answer(200)]);
            let log = upstream.log();
            let stack = layer().max_attempts(3).budget(budget.clone()).layer(upstream);
            let finished = cancel_after(stack.oneshot(get()), polls).await.is_some();
            let sent = log.calls().saturating_sub(1);
            let expected = match budget.balance() {
                _ if std::ptr::eq(budget, &concurrent) => 1.0,
                _ if finished => 495.0,
                _ => 500.0 - 5.0 * sent as f64,
            };
            assert_eq!(budget.balance(), Some(expected), "after {polls} polls, {sent} retries");
        }
    }
}

/// While it waits, and while the service is not ready for the attempt.
#[tokio::test(start_paused = true)]
async fn rule_9_a_retry_that_is_not_sent_costs_nothing() {
    let budget = Budget::ratio(0.0).reserve(1);
    let stack = layer().budget(budget.clone()).backoff(SECOND).layer(Upstream::new([answer(503)]));
    {
        let mut call = std::pin::pin!(stack.clone().oneshot(get()));
        assert!(tokio::time::timeout(500 * MS, call.as_mut()).await.is_err());
        assert_eq!(budget.balance(), Some(0.0));
    }
    assert_eq!(budget.balance(), Some(1.0));
    // One that is sent costs its token whatever becomes of it.
    stack.oneshot(get()).await.unwrap();
    assert_eq!(budget.balance(), Some(0.0));
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
    // 20 tokens a second. Those of one to two times to live are kept.
    let budget = || Budget::ratio(0.2).reserve(0);
    for (ttl, most) in [(SECOND, 40), (2 * SECOND, 80), (5 * SECOND, 100), (60 * SECOND, 100)] {
        for calls in [1_000, 1_030, 1_060, 60_000] {
            let retries = retries_after(budget().ttl(ttl), calls, 10 * MS).await;
            assert!((most / 2 - 1..=most).contains(&retries), "{ttl:?}, {calls} calls: {retries}");
        }
    }
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
