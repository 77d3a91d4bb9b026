//! Layers that a setting turns off, in place of `option_layer`.

use std::io;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::timeout::TimeoutLayer;
use tower::util::option_layer;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::{Mode, State};
use tower_rampart::classify::Reason;
use tower_rampart::retry::{ReplayBody, RetryReport};
use tower_rampart::{BoxError, CircuitBreakerLayer};

use crate::calls_and_failures;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_single_attempt_is_no_retry() {
    let upstream = Upstream::new([answer(503), answer(200)]);
    let log = upstream.log();
    let response = send(layer().max_attempts(1), upstream, put("5 euros")).await.unwrap();
    assert_eq!((response.status().as_u16(), log.calls()), (503, 1));
    assert!(RetryReport::of(&response).is_none_or(|report| report.attempts() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_disabled_breaker_admits_every_call_and_counts_none() {
    let breaker = CircuitBreakerLayer::new_for_http().mode(Mode::Disabled);
    let handle = breaker.breaker();
    let stack = ServiceBuilder::new().layer(breaker).service(Upstream::new([answer(503)]));
    for _ in 0..1_000 {
        assert_eq!(stack.clone().oneshot(get()).await.unwrap().status(), 503);
    }
    assert_eq!((handle.state(), calls_and_failures(&handle)), (State::Closed, (0, 0)));
}

/// Both arms of the `Either` need one error type: `map_err` below makes it that of the layers.
#[tokio::test(start_paused = true)]
async fn a_layer_of_tower_is_optional_over_an_error_that_is_boxed() {
    async fn pull(timeout: Option<TimeoutLayer>) -> Result<(), bool> {
        let stack = ServiceBuilder::new()
            .layer(layer().max_attempts(1))
            .layer(CircuitBreakerLayer::new_for_http())
            .layer(option_layer(timeout))
            .map_err(BoxError::from)
            .service(service_fn(|_: Request<ReplayBody<Full<Bytes>>>| async {
                tokio::time::sleep(2 * SECOND).await;
                Ok::<_, io::Error>(Response::new(()))
            }));
        match stack.oneshot(get()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(gave_up(&error).verdict().reason() == Reason::TIMEOUT),
        }
    }
    assert_eq!(pull(None).await, Ok(()));
    assert_eq!(pull(Some(TimeoutLayer::new(SECOND))).await, Err(true));
}
