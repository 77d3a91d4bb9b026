//! The error of a call that a breaker rejects.

use std::convert::Infallible;
use std::error::Error;
use std::future::ready;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use tower::{Layer, Service, ServiceExt, service_fn};
use tower_rampart::breaker::{CircuitBreaker, CircuitOpen, State, Window, partition};
use tower_rampart::classify::{Class, Health, Processed, Reason, Verdict};
use tower_rampart::{BoxError, CircuitBreakerLayer};

use crate::support::*;

fn forced_open() -> CircuitBreaker {
    let breaker = CircuitBreaker::builder().name("billing").build();
    breaker.force_open();
    breaker
}

/// Found, and judged as such.
fn assert_found(error: &(dyn Error + 'static)) {
    assert_eq!(CircuitOpen::find(error).map(CircuitOpen::name), Some("billing"), "{error:?}");
    let verdict = Verdict::of_error(error);
    assert_eq!(
        (verdict.class(), verdict.processed(), verdict.health(), verdict.reason()),
        (Class::Terminal, Processed::No, Health::Neutral, Reason::CIRCUIT_OPEN)
    );
}

#[test]
fn is_found_however_it_was_boxed() {
    fn asks(breaker: &CircuitBreaker) -> Result<(), BoxError> {
        breaker.try_acquire()?.settle(Verdict::success());
        Ok(())
    }

    fn calls(breaker: &CircuitBreaker) -> Result<(), BoxError> {
        breaker.call(|| Ok::<_, Infallible>(()))?;
        Ok(())
    }

    let open = || CircuitOpen::new("billing", State::Open);
    assert_found(&*asks(&forced_open()).unwrap_err());
    assert_found(&*calls(&forced_open()).unwrap_err());
    assert_found(&open());
    assert_found(&Box::new(open()));
    assert_found(&Arc::new(open()));
    assert_found(&std::io::Error::other(Box::new(open())));
    assert!(calls(&forced_open()).unwrap_err().is::<CircuitOpen>(), "in one box");
}

#[tokio::test(start_paused = true)]
async fn is_found_where_two_calls_race_for_the_last_probe() {
    let layer = layer().name("billing").window(Window::count(1)).half_open_max_calls(1).success_threshold(1);
    let (mut service, _) = over(&layer);
    call(&service, Do::Fail).await;
    advance(30 * SECOND).await;
    // Neither begins before its first poll.
    let (mut one, other) = (begin(service.call(((), Do::Hang))), begin(service.call(((), Do::Succeed))));
    assert!(poll_once(one.as_mut()).await.is_pending());
    let error = other.await.unwrap_err();
    assert_found(&*error);
    assert!(error.is::<CircuitOpen>(), "in one box");
}

#[tokio::test]
async fn names_the_partition_only_where_there_are_any() {
    let text = |error: &CircuitOpen| error.to_string();
    assert_eq!(text(&forced_open().try_acquire().unwrap_err()), r#"circuit breaker "billing" is open"#);

    let layer = CircuitBreakerLayer::new_for_http().name("billing").partition_by(partition::header("x-tenant-id"));
    let breakers = layer.handle();
    breakers.force_open(&http::HeaderValue::from_static("tenant-7"));
    breakers.default_partition().force_open();
    let service = layer.layer(service_fn(|_: http::Request<()>| ready(Ok::<_, Infallible>(http::Response::new(())))));
    for (tenant, expected) in [
        (Some("tenant-7"), r#"circuit breaker "billing", partition tenant-7, is open"#),
        (None, r#"circuit breaker "billing", for requests without a key, is open"#),
    ] {
        let mut request = http::Request::new(());
        tenant.map(|tenant| request.headers_mut().insert("x-tenant-id", http::HeaderValue::from_static(tenant)));
        let error = service.clone().oneshot(request).await.unwrap_err();
        assert_eq!(text(CircuitOpen::find(&*error).unwrap()), expected);
    }
}

#[test]
fn shows_its_own_data_and_not_the_inside_of_a_breaker() {
    let open = CircuitOpen::new("billing", State::HalfOpen).with_retry_after(SECOND).with_partition("tenant-7");
    assert_eq!(
        format!("{open:?}"),
        r#"CircuitOpen { name: "billing", partition: "tenant-7", state: HalfOpen, retry_after: Some(1s) }"#
    );
    let plain = CircuitOpen::new("billing", State::Open);
    assert_eq!((plain.name(), plain.partition(), plain.retry_after()), ("billing", "(default)", None));
    assert_eq!(plain.to_string(), r#"circuit breaker "billing" is open"#);
    let rounded = plain.with_retry_after(MS * 3 / 2);
    assert_eq!(rounded.retry_after(), Some(MS * 2));
}

#[test]
fn can_cross_a_caught_panic() {
    fn check<T: UnwindSafe + RefUnwindSafe + Send + Sync>() {}
    check::<CircuitOpen>();
}

#[cfg(not(feature = "tonic"))]
#[test]
fn ends_a_chain_of_errors_with_its_own_text() {
    assert!(forced_open().try_acquire().unwrap_err().source().is_none());
}

#[cfg(feature = "tonic")]
#[test]
fn is_unavailable_for_the_clients_of_tonic() {
    for error in [
        forced_open().try_acquire().unwrap_err() as BoxError,
        Box::new(forced_open().try_acquire().unwrap_err()),
        Box::new(std::io::Error::other(forced_open().try_acquire().unwrap_err())),
    ] {
        assert_found(&*error);
        let status = tonic::Status::from_error(error);
        assert_eq!(
            (status.code(), status.message()),
            (tonic::Code::Unavailable, r#"circuit breaker "billing" is open"#)
        );
    }
}
