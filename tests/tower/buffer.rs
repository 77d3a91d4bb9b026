use std::future::Ready;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::Instant;
use tower::buffer::{Buffer, BufferLayer};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_rampart::BoxError;
use tower_rampart::breaker::State;
use tower_rampart::classify::Processed;
use tower_rampart::retry::{Deadline, GiveUp, ReplayBody};

use crate::support::*;
use crate::{breaker, calls_and_failures};

type Body = Full<Bytes>;

/// A client that cannot be cloned.
struct Single(Upstream);

impl<B> Service<Request<B>> for Single
where
    Upstream: Service<Request<B>>,
{
    type Response = <Upstream as Service<Request<B>>>::Response;
    type Error = <Upstream as Service<Request<B>>>::Error;
    type Future = <Upstream as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.call(request)
    }
}

/// A client that is never ready, or fails to become so.
struct Unready(fn() -> Poll<Result<(), BoxError>>);

impl Service<Request<ReplayBody<Body>>> for Unready {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        (self.0)()
    }

    fn call(&mut self, _: Request<ReplayBody<Body>>) -> Self::Future {
        unreachable!("is never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn around_a_client_that_is_not_clone_a_wait_holds_no_place_in_the_queue() {
    let upstream = Upstream::new([answer(503), answer(200), answer(503), answer(200)]);
    let log = upstream.log();
    let stack = ServiceBuilder::new().layer(layer()).layer(breaker().0).service(Buffer::new(Single(upstream), 1));
    let first = tokio::spawn(stack.clone().oneshot(get()));
    settle().await;
    assert_eq!(log.calls(), 1);
    assert_eq!(stack.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!((log.calls(), log.elapsed()), (2, Duration::ZERO));
    let response = first.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (200, (3, None)));
}

/// A POST that waits for a place in the queue was not sent. One that waits in the queue may be taken out of it any
/// time.
#[tokio::test(start_paused = true)]
async fn inside_only_a_post_that_found_no_place_in_the_queue_is_known_to_be_unsent() {
    let (breaker, handle) = breaker();
    let client = Buffer::new(Unready(|| Poll::Pending), 1);
    let stack = ServiceBuilder::new().layer(layer().attempt_timeout(SECOND)).layer(breaker).service(client);
    // The worker holds one request, and the queue another.
    let mut queued = [stack.clone().oneshot(get()), stack.clone().oneshot(post("5 euros"))].map(Box::pin);
    for call in &mut queued {
        assert!(poll_once(call.as_mut()).is_pending());
        settle().await;
    }
    let unsent = tokio::spawn(stack.oneshot(post("5 euros")));
    let start = Instant::now();
    let [_, queued] = queued;
    let error = queued.await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), start.elapsed()), (GiveUp::NotIdempotent, SECOND));
    assert_eq!(gave_up(&error).verdict().processed(), Processed::Maybe);
    let error = unsent.await.unwrap().unwrap_err();
    assert_eq!((gave_up(&error).attempts(), gave_up(&error).verdict().processed()), (3, Processed::No));
    assert_eq!(calls_and_failures(&handle), (4, 4), "each counts as a timeout of the upstream");
}

/// The worker calls the breaker, so the retry layer learns nothing of what waits there. The cut comes through.
#[tokio::test(start_paused = true)]
async fn between_retry_and_breaker_a_hang_is_seen_and_an_unsent_post_is_not() {
    let (breaker, handle) = breaker();
    let stack = ServiceBuilder::new()
        .layer(layer().attempt_timeout(SECOND))
        .layer(BufferLayer::new(8))
        .layer(breaker)
        .concurrency_limit(1)
        .service(Upstream::new([hang()]));
    let hung = tokio::spawn(stack.clone().oneshot(get()));
    settle().await;
    let error = stack.clone().oneshot(post("5 euros")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::NotIdempotent, 1));
    assert_eq!(gave_up(&hung.await.unwrap().unwrap_err()).attempts(), 3);
    assert_eq!((handle.state(), calls_and_failures(&handle)), (State::Closed, (4, 4)));
}

/// A call begins when its future is first polled, and here that is after the queue.
#[tokio::test(start_paused = true)]
async fn outside_the_deadline_of_the_layer_begins_after_the_queue() {
    /// When each of three calls of an upstream that hangs ends, and how many were sent.
    async fn ends<L, S>(inner: L, extensions: http::Extensions) -> ([u64; 3], usize)
    where
        L: Layer<ConcurrencyLimit<Upstream>, Service = S>,
        S: Service<Request<Body>, Response = Response<Body>, Error = BoxError> + Send + 'static,
        S::Future: Send + 'static,
    {
        let upstream = Upstream::new([hang()]);
        let log = upstream.log();
        let stack = Buffer::new(inner.layer(ConcurrencyLimit::new(upstream, 1)), 8);
        let start = Instant::now();
        let calls = [0; 3].map(|_| {
            let mut request = get();
            request.extensions_mut().extend(extensions.clone());
            let call = stack.clone().oneshot(request);
            tokio::spawn(async move {
                let error = call.await.unwrap_err();
                assert_eq!(gave_up(&error).kind(), GiveUp::Deadline);
                start.elapsed().as_secs()
            })
        });
        let mut ends = [0; 3];
        for (end, call) in ends.iter_mut().zip(calls) {
            *end = call.await.unwrap();
        }
        (ends, log.calls())
    }
    let retry = layer().deadline(SECOND);
    assert_eq!(ends(retry.clone(), http::Extensions::new()).await, ([1, 2, 3], 3));
    let mut extensions = http::Extensions::new();
    extensions.insert(Deadline::within(SECOND));
    assert_eq!(ends(retry.clone(), extensions).await, ([1, 1, 1], 1));
    // A breaker is always ready, so nothing waits in the queue. The permit comes free at the deadline of the other two.
    let both = ServiceBuilder::new().layer(retry).layer(breaker().0).into_inner();
    assert_eq!(ends(both, http::Extensions::new()).await, ([1, 1, 1], 1));
}

/// The client of a `Buffer` that has failed to become ready is gone for good.
#[tokio::test(start_paused = true)]
async fn inside_a_client_that_failed_ends_the_retrying_but_behind_a_breaker_it_fails_every_attempt() {
    let fails = || Buffer::new(Unready(|| Poll::Ready(Err("gone".into()))), 1);
    let error = ServiceBuilder::new().layer(layer()).service(fails()).oneshot(get()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::NotReady, 1));

    let (breaker, handle) = breaker();
    let stack = ServiceBuilder::new().layer(layer()).layer(breaker).service(fails());
    let error = stack.oneshot(get()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Exhausted, 3));
    assert_eq!(calls_and_failures(&handle), (3, 3));
}
