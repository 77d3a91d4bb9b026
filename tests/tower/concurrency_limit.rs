use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::sync::Semaphore;
use tower::limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_rampart::breaker::CircuitOpen;
use tower_rampart::retry::GiveUp;

use crate::breaker;
use crate::support::*;

/// One permit, which another call holds for five seconds.
async fn taken_for_five_seconds() -> GlobalConcurrencyLimitLayer {
    let permits = Arc::new(Semaphore::new(1));
    let taken = permits.clone().acquire_owned().await.unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(5 * SECOND).await;
        drop(taken);
    });
    GlobalConcurrencyLimitLayer::with_semaphore(permits)
}

#[tokio::test(start_paused = true)]
async fn outside_the_retry_layer_a_permit_is_held_while_a_call_waits_for_its_retry() {
    let permits = Arc::new(Semaphore::new(1));
    let upstream = Upstream::new([answer(503), answer(200), answer(200)]);
    let log = upstream.log();
    let limit = GlobalConcurrencyLimitLayer::with_semaphore(permits.clone());
    let stack = ServiceBuilder::new().layer(limit).layer(layer()).service(upstream);
    let first = tokio::spawn(stack.clone().oneshot(get()));
    settle().await;
    assert_eq!((log.calls(), permits.available_permits()), (1, 0));
    // Inside the retry layer the second call would pass at once, as the second of three.
    assert_eq!(stack.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!((log.calls(), log.elapsed()), (3, 100 * MS));
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn between_retry_and_breaker_a_rejection_waits_for_a_permit() {
    let (breaker, handle) = breaker();
    handle.force_open();
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let limit = taken_for_five_seconds().await;
    let stack = ServiceBuilder::new().layer(layer().deadline(SECOND)).layer(&limit).layer(&breaker);
    let error = stack.service(upstream.clone()).oneshot(get()).await.unwrap_err();
    assert!(CircuitOpen::find(&*error).is_some());
    assert_eq!((log.calls(), log.elapsed()), (0, 5 * SECOND), "not even the deadline ends it");

    let limit = taken_for_five_seconds().await;
    let stack = ServiceBuilder::new().layer(layer()).layer(breaker).layer(&limit).service(upstream);
    let error = stack.oneshot(get()).await.unwrap_err();
    assert!(CircuitOpen::find(&*error).is_some());
    assert_eq!(log.elapsed(), 5 * SECOND, "the breaker outside of the limit rejects at once");
}

/// The caller waits in `poll_ready`, before there is a call. A breaker in between is always ready.
#[tokio::test(start_paused = true)]
async fn right_inside_the_retry_layer_the_first_wait_is_not_part_of_the_call() {
    async fn pull<S>(stack: S) -> Result<u16, GiveUp>
    where
        S: Service<Request<Full<Bytes>>, Response = http::Response<Full<Bytes>>, Error = tower_rampart::BoxError>,
    {
        match stack.oneshot(get()).await {
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) => Err(gave_up(&error).kind()),
        }
    }
    fn limited(limit: &GlobalConcurrencyLimitLayer) -> (ConcurrencyLimit<Upstream>, Log) {
        let upstream = Upstream::new([answer(200)]);
        let log = upstream.log();
        (limit.layer(upstream), log)
    }
    let retry = layer().deadline(SECOND);

    let (client, log) = limited(&taken_for_five_seconds().await);
    assert_eq!((pull(retry.layer(client)).await, log.elapsed()), (Ok(200), 5 * SECOND));

    let (client, log) = limited(&taken_for_five_seconds().await);
    let (breaker, _) = breaker();
    assert_eq!((pull(retry.layer(breaker.layer(client))).await, log.elapsed()), (Err(GiveUp::Deadline), SECOND));
    assert_eq!(log.calls(), 0);
}
