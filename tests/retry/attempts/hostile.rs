//! Hostile or careless callers, bodies, servers and stacks.

use std::future::{pending, ready};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::classify::{Class, HttpClassifier, Processed, Verdict, classifier_fn};
use tower_rampart::retry::{Backoff, Deadline, GiveUp, ReplayBody, RetryReport, TimedOut};
use tower_rampart::{BoxError, CircuitBreakerLayer, ClassifyLayer, RetryLayer};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn an_empty_idempotency_key_does_not_count() {
    for (value, calls) in [("", 1), ("  ", 1), ("\t", 1), ("7f3a", 2)] {
        let upstream = Upstream::new([answer(503), answer(200)]);
        let log = upstream.log();
        let mut request = post("charge");
        request.headers_mut().insert("idempotency-key", value.parse().unwrap());
        send(layer(), upstream, request).await.unwrap();
        assert_eq!(log.calls(), calls, "{value:?}");
    }
}

/// A firewall that rejects what a connection still sends can end it with this error after the request was read.
#[tokio::test(start_paused = true)]
async fn a_refused_io_error_without_a_connect_error_proves_nothing() {
    let upstream = Upstream::new([connection_refused(), answer(200)]);
    let log = upstream.log();
    let error = send(layer(), upstream, post("charge")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), log.calls()), (GiveUp::NotIdempotent, 1));
}

#[tokio::test(start_paused = true)]
async fn an_outer_retry_does_not_repeat_what_an_inner_one_may_have_had_processed() {
    let upstream = Upstream::new([answer(503), answer(429), answer(200)]);
    let log = upstream.log();
    let both = ServiceBuilder::new().layer(layer()).layer(layer().max_attempts(2).idempotent(|_| true));
    let response = both.service(upstream).oneshot(post("charge")).await.unwrap();
    assert_eq!((response.status().as_u16(), log.calls()), (429, 2));
    assert_eq!(Verdict::of(&response).processed(), Processed::Maybe);
    assert_eq!(RetryReport::of(&response).unwrap().processed(), Processed::Maybe);

    // A request that no attempt had processed is retried by both.
    let upstream = Upstream::new([answer(429), answer(429), answer(200)]);
    let log = upstream.log();
    let both = ServiceBuilder::new().layer(layer()).layer(layer().max_attempts(2));
    let response = both.service(upstream).oneshot(post("charge")).await.unwrap();
    assert_eq!((response.status().as_u16(), log.calls()), (200, 3));
}

/// Otherwise no timeout outside could cut it, and no other task of the thread would run.
#[tokio::test(start_paused = true)]
async fn a_service_that_fails_at_once_yields_between_attempts() {
    let calls = AtomicU32::new(0);
    let inner = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| {
        calls.fetch_add(1, Ordering::Relaxed);
        ready(Err::<Response<()>, _>(io::Error::other("down")))
    });
    let layer = layer().max_attempts(1_000).backoff(Backoff::none());
    let mut call = pin!(layer.layer(inner).oneshot(get()));
    for calls_so_far in 1..=10 {
        assert!(poll_once(call.as_mut()).is_pending());
        assert_eq!(calls.load(Ordering::Relaxed), calls_so_far);
    }
    // It continues without a further wake.
    let error = call.await.unwrap_err();
    assert_eq!((gave_up(&error).attempts(), calls.load(Ordering::Relaxed)), (1_000, 1_000));
}

#[tokio::test(start_paused = true)]
async fn no_time_is_too_long() {
    let breaker = CircuitBreakerLayer::new_for_http()
        .window(tower_rampart::breaker::Window::time(Duration::MAX))
        .slow_calls(Duration::MAX, 1.0)
        .open_for(Duration::MAX)
        .honor_retry_after(Duration::MAX)
        .probe_lease(Duration::MAX)
        .minimum_calls(10);
    let retry = layer()
        .max_attempts(3)
        .attempt_timeout(Duration::MAX)
        .deadline(Duration::MAX)
        .max_retry_after(Duration::MAX)
        .backoff(Backoff::exponential(Duration::MAX, Duration::MAX));
    for hint in ["18446744073709551615", "99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let upstream = Upstream::new([answer(503).header("retry-after", hint), answer(200)]);
        let log = upstream.log();
        let stack = ServiceBuilder::new().layer(retry.clone()).layer(breaker.clone()).service(upstream);
        let mut request = get();
        request.extensions_mut().insert(Deadline::within(Duration::MAX));
        let mut call = pin!(stack.oneshot(request));
        assert!(poll_once(call.as_mut()).is_pending(), "{hint}");
        assert_eq!(log.calls(), 1);
    }
}

/// A body whose size hint is wrong.
struct WrongSizeHint {
    hint: SizeHint,
    chunks: u32,
}

impl Body for WrongSizeHint {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(left) = self.chunks.checked_sub(1) else { return Poll::Ready(None) };
        self.chunks = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"chunk")))))
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_with_a_wrong_size_hint_is_neither_truncated_nor_doubled() {
    let mut upper = SizeHint::new();
    upper.set_upper(1);
    let mut lower = SizeHint::new();
    lower.set_lower(u64::MAX);
    for (hint, chunks, attempts) in [
        (SizeHint::with_exact(0), 3, 2),
        (SizeHint::with_exact(1), 3, 2),
        (SizeHint::with_exact(40), 3, 2),
        (upper, 3, 2),
        // Too large by its hint, so sent once.
        (SizeHint::with_exact(u64::MAX), 3, 1),
        (lower, 3, 1),
        // Small by its hint, and larger than the replay buffer.
        (SizeHint::with_exact(5), 100_000, 1),
    ] {
        let upstream = Upstream::new([answer(503), answer(200)]);
        let log = upstream.log();
        let request = Request::put("/").body(WrongSizeHint { hint, chunks }).unwrap();
        let _: Response<Full<Bytes>> = send(layer(), upstream, request).await.unwrap();
        let whole = "chunk".repeat(chunks as usize);
        assert_eq!(log.bodies(), vec![whole; attempts], "{hint:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_without_end_ends_with_the_attempt() {
    let upstream = Upstream::new([answer(503).reading(100_000), answer(200)]);
    let log = upstream.log();
    let request = Request::put("/").body(WrongSizeHint { hint: SizeHint::default(), chunks: u32::MAX }).unwrap();
    let response: Response<Full<Bytes>> = send(layer(), upstream, request).await.unwrap();
    assert_eq!((response.status().as_u16(), log.calls()), (503, 1));
}

#[tokio::test(start_paused = true)]
async fn unknown_methods_are_sent_once() {
    for method in ["CONNECT", "PATCH", "PURGE", "get", "PROPFIND"] {
        let upstream = Upstream::new([answer(503), answer(200)]);
        let log = upstream.log();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = Request::builder().method(method.clone()).body(Full::<Bytes>::default()).unwrap();
        let _: Response<Full<Bytes>> = send(layer(), upstream, request).await.unwrap();
        assert_eq!(log.calls(), 1, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_classified_as_success_stays_an_error() {
    let optimist = classifier_fn(|_: Result<&Response<Full<Bytes>>, _>| Verdict::success());
    let upstream = Upstream::new([reset()]);
    let log = upstream.log();
    let stack = ServiceBuilder::new()
        .layer(layer().classifier(optimist))
        .layer(CircuitBreakerLayer::new(optimist))
        .layer(ClassifyLayer::new(optimist));
    let error = stack.service(upstream).oneshot(get()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), log.calls()), (GiveUp::NotRetryable, 1));
}

#[tokio::test(start_paused = true)]
async fn layers_in_any_order_keep_their_rules() {
    // The breaker outermost learns from the call, not from its attempts.
    let breaker = CircuitBreakerLayer::new_for_http().consecutive_failures(1);
    let breakers = breaker.handle();
    let upstream = Upstream::new([answer(503), answer(503), answer(200), answer(503)]);
    let log = upstream.log();
    let stack = ServiceBuilder::new()
        .layer(ClassifyLayer::new(HttpClassifier::new().status(200, Class::Ambiguous)))
        .layer(breaker)
        .layer(layer())
        .layer(ClassifyLayer::new_for_http())
        .layer(ClassifyLayer::new_for_http())
        .service(upstream);
    let response = stack.clone().oneshot(get()).await.unwrap();
    assert_eq!((Verdict::of(&response).class(), log.calls()), (Class::Ambiguous, 3));
    assert_eq!(breakers.default_partition().snapshot().failures, 0);
    // With its last attempt failed the call has failed, once.
    let response = stack.clone().oneshot(get()).await.unwrap();
    assert_eq!((response.status().as_u16(), log.calls()), (503, 6));
    stack.oneshot(get()).await.unwrap_err();
    assert_eq!(log.calls(), 6);
}

#[tokio::test(start_paused = true)]
async fn an_inner_retry_keeps_the_deadline_of_the_outer_one_if_the_request_carries_it() {
    let inner =
        service_fn(|_: Request<ReplayBody<ReplayBody<Full<Bytes>>>>| pending::<Result<Response<()>, BoxError>>());
    let both = ServiceBuilder::new().layer(RetryLayer::new_for_http()).layer(RetryLayer::new_for_http());
    let mut request = get();
    request.extensions_mut().insert(Deadline::within(SECOND));
    let start = tokio::time::Instant::now();
    let error = both.service(inner).oneshot(request).await.unwrap_err();
    assert!(TimedOut::find(&*error).is_some());
    assert_eq!((gave_up(&error).attempts(), start.elapsed()), (1, SECOND));
}

#[tokio::test]
async fn polling_again_after_a_panic_does_not_resend_the_request() {
    let calls = AtomicU32::new(0);
    let inner = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| {
        assert!(calls.fetch_add(1, Ordering::Relaxed) > 0, "after it was sent");
        ready(Ok::<_, BoxError>(Response::new(())))
    });
    let mut call = pin!(layer().layer(inner).oneshot(post("charge")));
    for _ in 0..2 {
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll_once(call.as_mut())));
        assert!(polled.is_err());
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}
