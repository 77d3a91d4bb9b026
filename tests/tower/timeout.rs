use std::sync::Arc;

use tokio::sync::Semaphore;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::{ServiceBuilder, ServiceExt};
use tower_rampart::classify::Reason;
use tower_rampart::retry::{GiveUp, RetryError};

use crate::support::*;
use crate::{breaker, calls_and_failures};

/// It cuts the call, wherever it is. The attempt in flight counts as one whose caller left.
#[tokio::test(start_paused = true)]
async fn outside_it_cuts_all_attempts_together() {
    let (breaker, handle) = breaker();
    let upstream = Upstream::new([answer(503).taking(300 * MS)]);
    let log = upstream.log();
    let stack =
        ServiceBuilder::new().layer(TimeoutLayer::new(SECOND)).layer(layer().max_attempts(9)).layer(breaker.clone());
    let error = stack.service(upstream).oneshot(get()).await.unwrap_err();
    assert!(error.is::<Elapsed>() && RetryError::find(&*error).is_none());
    // At 0, 400 and 900 ms.
    assert_eq!((log.calls(), log.elapsed()), (3, SECOND));
    assert_eq!(calls_and_failures(&handle), (2, 2));

    let hangs = ServiceBuilder::new().layer(TimeoutLayer::new(SECOND)).layer(layer()).layer(breaker);
    hangs.service(Upstream::new([hang()])).oneshot(get()).await.unwrap_err();
    assert_eq!(calls_and_failures(&handle), (2, 2), "a hang is invisible");
}

#[tokio::test(start_paused = true)]
async fn inside_it_cuts_each_attempt() {
    for (request, attempts, kind) in [(get(), 3, GiveUp::Exhausted), (post("5 euros"), 1, GiveUp::NotIdempotent)] {
        let (breaker, handle) = breaker();
        let upstream = Upstream::new([hang()]);
        let log = upstream.log();
        let stack = ServiceBuilder::new().layer(layer()).layer(breaker).layer(TimeoutLayer::new(SECOND));
        let error = stack.service(upstream).oneshot(request).await.unwrap_err();
        let gave_up = gave_up(&error);
        assert_eq!((gave_up.kind(), gave_up.attempts()), (kind, attempts));
        assert_eq!(gave_up.verdict().reason(), Reason::TIMEOUT);
        assert_eq!(calls_and_failures(&handle), (attempts.into(), attempts.into()));
        assert_eq!(log.gaps(), [1_100, 1_200][..attempts as usize - 1], "a second, and the wait");
    }
}

#[tokio::test(start_paused = true)]
async fn between_retry_and_breaker_it_hides_every_hang_from_the_breaker() {
    let (breaker, handle) = breaker();
    let upstream = Upstream::new([hang()]);
    let log = upstream.log();
    let stack = ServiceBuilder::new().layer(layer()).layer(TimeoutLayer::new(SECOND)).layer(breaker).service(upstream);
    for _ in 0..20 {
        let error = stack.clone().oneshot(get()).await.unwrap_err();
        assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Exhausted, 3));
    }
    assert_eq!((log.calls(), calls_and_failures(&handle)), (60, (0, 0)));
}

/// A `Timeout` begins with the call of the service inside, which waits until that is ready.
#[tokio::test(start_paused = true)]
async fn inside_it_does_not_limit_the_wait_for_readiness() {
    let permits = Arc::new(Semaphore::new(0));
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let stack = ServiceBuilder::new()
        .layer(layer())
        .layer(breaker().0)
        .layer(TimeoutLayer::new(SECOND))
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(permits.clone()))
        .service(upstream);
    let call = tokio::spawn(stack.oneshot(get()));
    tokio::time::sleep(5 * SECOND).await;
    permits.add_permits(1);
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    assert_eq!((log.calls(), log.elapsed()), (1, 5 * SECOND));
}
