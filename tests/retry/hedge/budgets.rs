//! What hedges take from their budgets.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_rampart::breaker::partition;
use tower_rampart::classify::{Processed, Reason};
use tower_rampart::retry::{Budget, Hedge};

use super::DELAY;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn rule_13_an_empty_budget_hedges_nothing() {
    let budget = Budget::ratio(0.0).reserve(1);
    let layer = layer().budget(budget.clone()).hedge(Hedge::after(DELAY));
    let upstream = Upstream::new([answer(200).taking(200 * MS)]);
    let log = upstream.log();
    let service = layer.layer(upstream);
    service.clone().oneshot(get()).await.unwrap();
    assert_eq!((log.calls(), budget.balance()), (2, Some(0.0)));
    service.oneshot(get()).await.unwrap();
    assert_eq!(log.calls(), 3);
}

/// Of each kind of budget: what is left while a hedge is in flight, once its call was answered, and once it was
/// dropped.
#[tokio::test(start_paused = true)]
async fn rule_13_a_hedge_takes_a_token_of_every_kind_of_budget() {
    type Kind = (fn() -> Budget, [f64; 3]);
    let kinds: [Kind; 4] = [
        (|| Budget::ratio(0.0).reserve(5), [4.0, 4.0, 4.0]),
        // A hedge is no failure.
        (|| Budget::grpc(10, 0.1), [10.0, 10.0, 10.0]),
        // A success without retries gives back one token.
        (Budget::aws_standard, [495.0, 496.0, 495.0]),
        (|| Budget::concurrent(0.0, 3), [2.0, 3.0, 3.0]),
    ];
    for (budget, [in_flight, answered, dropped]) in kinds {
        for (is_dropped, left) in [(false, answered), (true, dropped)] {
            let budget = budget();
            let layer = layer().budget(budget.clone()).hedge(Hedge::after(DELAY));
            let mut call = Box::pin(layer.layer(Upstream::new([answer(200).taking(SECOND)])).oneshot(get()));
            tokio::time::timeout(DELAY + MS, call.as_mut()).await.unwrap_err();
            assert_eq!(budget.balance(), Some(in_flight), "{budget:?}");
            if !is_dropped {
                call.as_mut().await.unwrap();
            }
            drop(call);
            assert_eq!(budget.balance(), Some(left), "{budget:?}, dropped: {is_dropped}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_retry_and_its_hedge_hold_two_places_of_a_concurrent_budget() {
    let budget = Budget::concurrent(0.0, 3);
    let layer = layer().budget(budget.clone()).hedge(Hedge::after(DELAY));
    let mut call = Box::pin(layer.layer(Upstream::new([answer(503), hang()])).oneshot(get()));
    let mut free = Vec::new();
    for wait in [50 * MS, 75 * MS, 50 * MS] {
        tokio::time::timeout(wait, call.as_mut()).await.unwrap_err();
        free.push(budget.balance().unwrap());
    }
    drop(call);
    assert_eq!((free, budget.balance()), (vec![2.0, 2.0, 1.0], Some(3.0)));
}

/// As in proposal A6: while half of the tokens or less are left, nothing is hedged. Both failures of a hedged call
/// count.
#[tokio::test(start_paused = true)]
async fn rule_13_the_throttle_of_grpc_holds_hedges_too() {
    let budget = Budget::grpc(4, 0.1);
    let upstream = Upstream::new([answer(503).taking(60 * MS)]);
    let log = upstream.log();
    let service = layer().max_attempts(2).budget(budget.clone()).hedge(Hedge::after(DELAY)).layer(upstream);
    service.clone().oneshot(get()).await.unwrap();
    assert_eq!((log.calls(), budget.balance()), (2, Some(2.0)));
    service.oneshot(get()).await.unwrap();
    assert_eq!((log.calls(), budget.balance()), (3, Some(1.0)), "not hedged, and not retried");
}

/// A server gives both back, as when it recycles a connection: one transparent retry replaces the pair. Only the first
/// one of a call is free, so the next pair counts, as a second one does without a hedge.
#[tokio::test(start_paused = true)]
async fn rule_13_the_throttle_of_grpc_counts_what_is_given_back_after_the_transparent_retry() {
    let refused = |takes| given_back(Reason::REFUSED_STREAM, Processed::No).taking(takes * MS);
    let pair = || [refused(60), refused(20)];
    let alone = || [refused(20)];
    let cases: [(Vec<Step>, usize, f64); 4] = [
        (alone().into(), 2, 10.0),
        ([alone(), alone()].concat(), 3, 9.0),
        (pair().into(), 3, 10.0),
        ([pair(), pair()].concat(), 5, 8.0),
    ];
    for (mut steps, calls, left) in cases {
        steps.push(answer(401));
        let budget = Budget::grpc(10, 0.1);
        let upstream = Upstream::new(steps);
        let log = upstream.log();
        let layer = layer().max_attempts(5).budget(budget.clone()).hedge(Hedge::after(DELAY));
        layer.layer(upstream).oneshot(get()).await.unwrap();
        assert_eq!((log.calls(), budget.balance()), (calls, Some(left)));
    }
}

/// As without a hedge, where the attempt that the deadline cuts counts.
#[tokio::test(start_paused = true)]
async fn rule_13_the_throttle_of_grpc_counts_both_attempts_that_a_deadline_cuts() {
    for (is_hedged, left) in [(false, 9.0), (true, 8.0)] {
        let budget = Budget::grpc(10, 0.1);
        let delay = if is_hedged { DELAY } else { SECOND };
        let layer = layer().deadline(200 * MS).budget(budget.clone()).hedge(Hedge::after(delay));
        layer.layer(Upstream::new([hang()])).oneshot(get()).await.unwrap_err();
        assert_eq!(budget.balance(), Some(left), "hedged: {is_hedged}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_hedge_takes_its_token_from_the_budget_of_its_key() {
    let one = Budget::ratio(0.0).reserve(1);
    let layer = layer().budget_by(partition::header("x-tenant-id"), one.clone()).hedge(Hedge::after(DELAY));
    let upstream = Upstream::new([answer(200).taking(200 * MS)]);
    let log = upstream.log();
    let service = layer.layer(upstream);
    // The second call of a tenant finds its budget empty. Requests without a tenant share the given budget.
    for (tenant, calls) in [(Some("a"), 2), (Some("a"), 3), (Some("b"), 5), (None, 7), (None, 8)] {
        let mut request = get();
        tenant.map(|tenant| request.headers_mut().insert("x-tenant-id", tenant.parse().unwrap()));
        service.clone().oneshot(request).await.unwrap();
        assert_eq!(log.calls(), calls, "{tenant:?}");
    }
    assert_eq!(one.balance(), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn rule_9_the_balance_of_a_key_can_be_watched_with_hedges_too() {
    let seven = partition::by(|_: &Request<Full<Bytes>>| 7);
    let layer = layer().budget_by(seven, Budget::ratio(0.0).reserve(3)).hedge(Hedge::after(DELAY));
    assert_eq!(layer.balance(&7), None);
    layer.layer(Upstream::new([answer(200).taking(SECOND), answer(200)])).oneshot(get()).await.unwrap();
    assert_eq!(layer.balance(&7), Some(2.0));
}
