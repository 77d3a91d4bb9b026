//! What a call costs in allocations. A binary of its own, because it counts them.
#![allow(clippy::unwrap_used)]

#[path = "support/counting.rs"]
mod counting;

use std::future::{Future, Ready, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{Empty, Full};
use tower::{Layer, Service, service_fn};
use tower_rampart::BoxError;
use tower_rampart::breaker::partition::{self, Partition};
use tower_rampart::classify::{Verdict, classifier_fn};
use tower_rampart::retry::{self, Backoff, Budget, ReplayBody, RetryLayer, RetryPolicy};

use self::counting::{COUNT, Count};

/// What is counted while this runs: allocations, and the most bytes beyond those there were.
fn counted<T>(run: impl FnOnce() -> T) -> (u64, i64, T) {
    let before = COUNT.get();
    COUNT.set(Count { peak: before.live, ..before });
    let output = run();
    let after = COUNT.get();
    (after.allocations - before.allocations, after.peak - before.live, output)
}

/// A runtime, as the layer makes sure before it sends anything that timers work.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here has to wait"),
    }
}

/// Reads the body and answers.
struct Reading<B>(Pin<Box<ReplayBody<B>>>);

impl<B: Body<Error: Into<BoxError>>> Future for Reading<B> {
    type Output = Result<Response<()>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.0.as_mut().poll_frame(cx) {
                Poll::Ready(Some(frame)) => drop(frame?),
                Poll::Ready(None) => return Poll::Ready(Ok(Response::new(()))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[test]
fn a_first_try_that_succeeds_with_an_empty_body_allocates_nothing() {
    fn bare<B>(_: Request<ReplayBody<B>>) -> Ready<Result<Response<()>, BoxError>> {
        ready(Ok(Response::new(())))
    }
    let quiet = RetryLayer::new_for_http();
    let timed = RetryLayer::new_for_http()
        .attempt_timeout(Duration::from_secs(1))
        .deadline(Duration::from_secs(1))
        .budget(Budget::ratio(0.5).reserve(0))
        .on_retry(|_| {})
        .idempotent(|_| true);
    let runtime = runtime();
    let _in_runtime = runtime.enter();
    for _ in 0..3 {
        let mut quiet = quiet.layer(service_fn(bare::<Empty<Bytes>>));
        let mut timed = timed.layer(service_fn(bare::<Full<Bytes>>));
        for _ in 0..3 {
            let (allocations, _, response) = counted(|| now(quiet.call(Request::new(Empty::new()))));
            assert_eq!((allocations, response.unwrap().status().as_u16()), (0, 200));
            // The limits travel in the extensions of the request: a map and a box for each of the two, in what is kept
            // and in what is sent.
            let (allocations, _, response) = counted(|| now(timed.call(Request::new(Full::default()))));
            assert_eq!((allocations, response.unwrap().status().as_u16()), (8, 200));
        }
    }
    // And it would be noticed.
    assert_eq!(counted(|| drop(Box::new(1))).0, 1);
}

#[test]
fn a_key_that_has_a_budget_allocates_nothing() {
    fn check<P, Req>(partition: P, request: impl Fn() -> Req)
    where
        P: Partition<Req>,
        P: Clone,
        Req: Clone,
    {
        let classifier = classifier_fn(|_: Result<&(), _>| Verdict::success());
        let layer = RetryLayer::new(classifier).max_attempts(1).budget_by(partition, Budget::ratio(0.2));
        let mut service = layer.layer(service_fn(|_: Req| ready(Ok::<_, BoxError>(()))));
        now(service.call(request())).unwrap();
        for _ in 0..3 {
            let request = request();
            assert_eq!(counted(|| now(service.call(request)).unwrap()).0, 0);
        }
    }
    let with_host = || Request::get("http://api.example.com/").header("x-tenant-id", "7").body(()).unwrap();
    check(partition::header("x-tenant-id"), with_host);
    check(partition::host(), with_host);
    check(partition::by(|id: &u64| *id), || 7);
}

#[test]
fn a_plain_request_costs_its_own_clone_and_no_more() {
    let runtime = runtime();
    let _in_runtime = runtime.enter();
    let classifier = classifier_fn(|_: Result<&usize, _>| Verdict::success());
    let mut service =
        RetryLayer::new(classifier).layer(service_fn(|query: String| ready(Ok::<_, BoxError>(query.len()))));
    for _ in 0..3 {
        let query = String::from("query");
        let (allocations, _, output) = counted(|| now(service.call(query)));
        assert_eq!((allocations, output.unwrap()), (1, 5));
    }
}

#[test]
fn a_body_costs_three_allocations_at_most_and_none_with_a_single_attempt() {
    let runtime = runtime();
    let _in_runtime = runtime.enter();
    for (bytes, attempts, expected) in [(100, 3, 3), (10_000, 3, 3), (100_000, 3, 2), (100, 1, 0), (10_000, 1, 0)] {
        let inner = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| Reading(Box::pin(request.into_body())));
        let mut service = RetryLayer::new_for_http().max_attempts(attempts).layer(inner);
        let text = Bytes::from(vec![b'x'; bytes]);
        // Shared once already, as the first clone of a `Bytes` may itself allocate.
        let request = Request::new(Full::new(text.clone()));
        let (allocations, _, response) = counted(|| now(service.call(request)));
        assert_eq!(response.unwrap().status(), 200);
        // One is the box of the reading service.
        assert_eq!(allocations - 1, expected, "{bytes} bytes, {attempts} attempts");
    }
}

/// So many frames of one byte.
struct Drops(usize);

impl Body for Drops {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let more = self.0.checked_sub(1);
        self.0 = more.unwrap_or(0);
        Poll::Ready(more.map(|_| Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

#[test]
fn rule_8_small_chunks_cost_no_more_than_twice_their_bytes() {
    let runtime = runtime();
    let _in_runtime = runtime.enter();
    let inner = service_fn(|request: Request<ReplayBody<Drops>>| Reading(Box::pin(request.into_body())));
    let mut service = RetryLayer::new_for_http().layer(inner);
    let (_, peak, response) = counted(|| now(service.call(Request::new(Drops(64 * 1024)))));
    assert_eq!(response.unwrap().status(), 200);
    assert!((64 * 1024..200 * 1024).contains(&peak), "{peak} bytes");
}

#[test]
fn a_function_that_succeeds_at_once_costs_nothing_and_a_retry_its_report() {
    let runtime = runtime();
    let _in_runtime = runtime.enter();
    let policy = RetryPolicy::new()
        .backoff(Backoff::none())
        .deadline(Duration::from_secs(1))
        .attempt_timeout(Duration::from_secs(1))
        .retry_if(|_: &std::io::Error| true)
        .on_retry(|_| {})
        .no_budget();
    for _ in 0..3 {
        let (allocations, _, output) = counted(|| now(retry::call(&policy, || ready(Ok::<_, std::io::Error>(7)))));
        assert_eq!((allocations, output.unwrap()), (0, 7));
        let (allocations, _, output) = counted(|| retry::call_blocking(&policy, || Ok::<_, std::io::Error>(7)));
        assert_eq!((allocations, output.unwrap()), (0, 7));
        // The error in a box, the failures in a box, and their list.
        let mut calls = 0;
        let mut once = || {
            calls += 1;
            if calls % 2 == 0 { Ok(7) } else { Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) }
        };
        // The first one also sets up the generator of the thread.
        retry::call_blocking(&policy, &mut once).unwrap();
        let (allocations, _, output) = counted(|| retry::call_blocking(&policy, once));
        assert_eq!((allocations, output.unwrap()), (3, 7));
    }
}
