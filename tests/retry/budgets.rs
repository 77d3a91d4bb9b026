//! Rule 9, through the layer; the arithmetic and the races are tested beside the code.

use tower::{Layer, ServiceExt};
use tower_rampart::RetryLayer;
use tower_rampart::retry::{Budget, GiveUp};

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
    let service = RetryLayer::new_for_http().layer(upstream);
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
