use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Semaphore;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::{ServiceBuilder, ServiceExt};
use tower_rampart::breaker::State;
use tower_rampart::classify::{Processed, Reason};
use tower_rampart::retry::{Budget, GiveUp, RetryError};

use crate::support::*;
use crate::{breaker, calls_and_failures};

#[tokio::test(start_paused = true)]
async fn inside_a_shed_post_is_retried_and_says_nothing_about_the_upstream() {
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::new(Semaphore::new(0)));
    let (breaker, handle) = breaker();
    let budget = Budget::ratio(0.0).reserve(50).ttl(Duration::MAX);
    let upstream = Upstream::new([answer(201)]);
    let log = upstream.log();
    let stack = ServiceBuilder::new()
        .layer(layer().budget(budget.clone()))
        .layer(breaker)
        .layer(LoadShedLayer::new())
        .layer(limit)
        .service(upstream);
    for _ in 0..20 {
        let error = stack.clone().oneshot(post("5 euros")).await.unwrap_err();
        let gave_up = gave_up(&error);
        assert_eq!((gave_up.kind(), gave_up.attempts()), (GiveUp::Exhausted, 3));
        assert_eq!((gave_up.verdict().processed(), gave_up.verdict().reason()), (Processed::No, Reason::OVERLOADED));
    }
    assert_eq!((handle.state(), calls_and_failures(&handle), log.calls()), (State::Closed, (0, 0), 0));
    assert_eq!(budget.balance(), Some(10.0), "a shed call costs a token like any other");
}

#[tokio::test(start_paused = true)]
async fn inside_a_retry_takes_the_permit_that_became_free_in_between() {
    let permits = Arc::new(Semaphore::new(0));
    let upstream = Upstream::new([answer(201)]);
    let log = upstream.log();
    let stack = ServiceBuilder::new()
        .layer(layer())
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(permits.clone()))
        .service(upstream);
    let call = tokio::spawn(stack.oneshot(post("5 euros")));
    tokio::time::sleep(150 * MS).await;
    permits.add_permits(1);
    let response = call.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (201, (3, None)));
    assert_eq!((log.bodies(), log.elapsed()), (vec!["5 euros".to_owned()], 300 * MS));
}

/// A breaker is always ready, so a layer outside of it never sees that the limit inside is reached.
#[tokio::test(start_paused = true)]
async fn outside_the_breaker_nothing_is_ever_shed() {
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(Arc::new(Semaphore::new(0)));
    let (breaker, _) = breaker();
    let stack =
        ServiceBuilder::new().layer(LoadShedLayer::new()).layer(breaker).layer(limit).service(Upstream::new([hang()]));
    let calls: Vec<_> = (0..100).map(|_| tokio::spawn(stack.clone().oneshot(get()))).collect();
    tokio::time::sleep(3_600 * SECOND).await;
    assert_eq!(calls.iter().filter(|call| call.is_finished()).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn outside_the_retry_layer_the_first_attempt_alone_is_shed() {
    let permits = Arc::new(Semaphore::new(1));
    let upstream = Upstream::new([answer(503), answer(200)]);
    let log = upstream.log();
    let stack = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(layer())
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(permits.clone()))
        .service(upstream);
    let mut first = pin!(stack.clone().oneshot(get()));
    assert!(poll_once(first.as_mut()).is_pending());
    // While the first call waits for its retry, another takes the permit for five seconds.
    let taken = permits.clone().acquire_owned().await.unwrap();
    let Poll::Ready(Err(shed)) = poll_once(pin!(stack.oneshot(get()))) else { panic!("shed at once") };
    assert!(shed.is::<Overloaded>() && RetryError::find(&*shed).is_none());
    assert_eq!(log.calls(), 1);
    tokio::spawn(async move {
        tokio::time::sleep(5 * SECOND).await;
        drop(taken);
    });
    assert_eq!(first.await.unwrap().status(), 200);
    assert_eq!(log.elapsed(), 5 * SECOND, "the retry waited for the permit, where a first attempt is shed");
}
