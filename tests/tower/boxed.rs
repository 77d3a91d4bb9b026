use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};
use tower_rampart::BoxError;
use tower_rampart::breaker::State;
use tower_rampart::classify::Processed;
use tower_rampart::retry::{Budget, GiveUp, ReplayBody};

use crate::support::*;
use crate::{breaker, calls_and_failures};

type Body = Full<Bytes>;

#[tokio::test(start_paused = true)]
async fn outside_all_clones_share_breaker_and_budget() {
    let (breaker, handle) = breaker();
    let budget = Budget::ratio(0.0).reserve(3);
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    let stack = ServiceBuilder::new().layer(layer().budget(budget.clone())).layer(breaker).service(upstream);
    let client: BoxCloneSyncService<Request<Body>, Response<Body>, BoxError> = BoxCloneSyncService::new(stack);
    let clones: Vec<_> = (0..8).map(|_| client.clone()).collect();
    for client in clones {
        let _ = client.oneshot(get()).await;
    }
    // Three tokens for eight calls, of which the last finds an open circuit.
    assert_eq!((log.calls(), budget.balance()), (10, Some(0.0)));
    assert_eq!((handle.state(), calls_and_failures(&handle)), (State::Open, (10, 10)));
}

/// What a cut means to the layers inside is not lost in a box.
#[tokio::test(start_paused = true)]
async fn between_retry_and_breaker_a_cut_is_a_timeout_and_an_unsent_post_is_known() {
    let (breaker, handle) = breaker();
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::new(Semaphore::new(0)));
    let upstream = Upstream::new([answer(201)]);
    let log = upstream.log();
    let inner = ServiceBuilder::new().layer(breaker).layer(limit).service(upstream);
    let inner: BoxCloneSyncService<Request<ReplayBody<Body>>, Response<Body>, BoxError> =
        BoxCloneSyncService::new(inner);
    let stack = ServiceBuilder::new().layer(layer().attempt_timeout(SECOND)).service(inner);
    let error = stack.oneshot(post("5 euros")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Exhausted, 3));
    assert_eq!(gave_up(&error).verdict().processed(), Processed::No);
    assert_eq!((calls_and_failures(&handle), log.calls()), ((3, 3), 0));
}
