//! What classification allocates: nothing on the way of a success, and nothing per frame of a body.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/counting.rs"]
mod counting;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower::{Layer, Service, service_fn};
use tower_rampart::ClassifyLayer;
use tower_rampart::classify::{Class, Counters, HttpClassifier, Reason, Verdict};

use self::counting::COUNT;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.get().allocations;
    work();
    COUNT.get().allocations - before
}

/// Polls a future that is ready at once.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready"),
    }
}

/// A body of empty frames, as many as it says.
struct Frames(u64);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        Poll::Ready(left.map(|_| Ok(Frame::data(Bytes::from_static(b"frame")))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(5 * self.0)
    }
}

fn answer(request: Request<u16>) -> Ready<Result<Response<Frames>, Infallible>> {
    let mut response = Response::new(Frames(1_000));
    *response.status_mut() = http::StatusCode::from_u16(request.into_body()).unwrap();
    ready(Ok(response))
}

#[test]
fn a_success_allocates_nothing() {
    let counters = Counters::new();
    let classifier = HttpClassifier::new()
        .status(409, Class::Transient)
        .when(|head| (head.status() == 418).then(Verdict::ambiguous));
    let layer = ClassifyLayer::new(classifier.clone())
        .route(|request| request.path() == "/search", classifier)
        .on_verdict(|verdict| assert!(verdict.is_success()))
        .counters(&counters);
    let mut service = layer.layer(service_fn(answer));
    let count = allocations(|| {
        for _ in 0..1_000 {
            now(service.call(Request::new(200))).unwrap();
        }
    });
    assert_eq!((count, counters.class(Class::Success)), (0, 1_000));
}

#[test]
fn a_failure_allocates_its_annotation_alone() {
    let mut service = ClassifyLayer::new_for_http().layer(service_fn(answer));
    // The map of extensions, its table, and the box of the verdict.
    let count = allocations(|| drop(now(service.call(Request::new(503)))));
    assert!((1..=3).contains(&count), "{count}");
}

#[test]
fn a_judged_body_allocates_nothing_per_frame() {
    let counters = Counters::new();
    let layer = ClassifyLayer::new_for_http().counters(&counters).judge_body();
    let mut service = layer.layer(service_fn(answer));
    let mut frames = 0;
    let count = allocations(|| {
        let mut body = pin!(now(service.call(Request::new(200))).unwrap().into_body());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            frame.unwrap();
            frames += 1;
        }
    });
    assert_eq!((count, frames), (0, 1_000));
    assert_eq!(counters.count(Class::Success, Reason::UNKNOWN), 1);
}

#[test]
fn judging_an_error_allocates_nothing() {
    let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let mut verdict = Verdict::success();
    assert_eq!(allocations(|| verdict = Verdict::of_error(&error)), 0);
    assert_eq!(verdict.reason(), Reason::RESET);
}
