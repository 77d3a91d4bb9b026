//! Each way in which a body can end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use http_body::Body;
use http_body_util::BodyExt;
use tower_rampart::breaker::{Abandoned, CircuitOpen, State, Window};
use tower_rampart::classify::{Class, Reason, Verdict};

use crate::script::{Step, script};
use crate::{body, call, counts, layer};

#[tokio::test]
async fn a_success_settles_when_its_body_has_ended() {
    let layer = layer();
    let breaker = layer.breaker();
    let mut body = body(&layer, script([Step::Data("a"), Step::Data("b")])).await;
    for _ in 0..2 {
        body.frame().await.unwrap().unwrap();
        assert_eq!(counts(&breaker), (0, 0));
    }
    assert!(body.frame().await.is_none());
    assert_eq!(counts(&breaker), (1, 0));
    drop(body);
    assert_eq!(counts(&breaker), (1, 0));
}

#[tokio::test]
async fn a_body_that_fails_or_is_short_is_a_failure() {
    for broken in [script([Step::Data("half"), Step::Fail]), script([Step::Data("half")]).announced(8)] {
        let layer = layer();
        let _ = body(&layer, broken).await.collect().await;
        assert_eq!(counts(&layer.breaker()), (1, 1));
    }
}

#[tokio::test]
async fn the_error_of_a_body_is_classified() {
    let layer = layer();
    let error = body(&layer, script([Step::Fail])).await.collect().await.unwrap_err();
    let verdict = Verdict::of_error(&*error);
    assert_eq!((verdict.class(), verdict.reason()), (Class::Ambiguous, Reason::BODY));
}

#[tokio::test]
async fn a_head_that_is_no_success_settles_at_once() {
    let layer = layer();
    let breaker = layer.breaker();
    for (status, counted) in [(503, (1, 1)), (404, (2, 1)), (421, (2, 1)), (429, (3, 2))] {
        let response = call(&layer, status, script([Step::Data("sorry"), Step::Fail])).await.unwrap();
        assert_eq!(counts(&breaker), counted, "{status}");
        response.into_body().collect().await.unwrap_err();
        assert_eq!(counts(&breaker), counted, "{status}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_settles_at_once() {
    let layer = layer();
    let body = body(&layer, script([]).telling_its_end()).await;
    assert!(body.is_end_stream());
    assert_eq!(counts(&layer.breaker()), (1, 0));
}

#[tokio::test]
async fn ten_bodies_dropped_early_are_neutral() {
    let layer = layer();
    for read in 0..10 {
        let mut body = body(&layer, script((0..10).map(|_| Step::Data("a")))).await;
        for _ in 0..read {
            body.frame().await.unwrap().unwrap();
        }
    }
    assert_eq!((layer.breaker().state(), counts(&layer.breaker())), (State::Closed, (0, 0)));
}

#[tokio::test]
async fn a_body_that_yields_after_its_end_settles_once() {
    let layer = layer();
    let mut body = body(&layer, script([Step::Data("a"), Step::End, Step::Data("b"), Step::Fail, Step::End])).await;
    let mut frames = Vec::new();
    for _ in 0..5 {
        frames.push(body.frame().await.map(|frame| frame.is_ok()));
    }
    drop(body);
    assert_eq!(frames, [Some(true), None, Some(true), Some(false), None]);
    assert_eq!(counts(&layer.breaker()), (1, 0));
}

#[tokio::test]
async fn a_body_that_fails_twice_settles_once() {
    let layer = layer();
    let mut body = body(&layer, script([Step::Fail, Step::Fail])).await;
    for _ in 0..2 {
        body.frame().await.unwrap().unwrap_err();
    }
    drop(body);
    assert_eq!(counts(&layer.breaker()), (1, 1));
}

#[tokio::test]
async fn a_body_that_panics_is_a_failure() {
    let layer = layer();
    let mut polled = tokio_test::task::spawn(body(&layer, script([Step::Panic])).await);
    let panicking = AssertUnwindSafe(|| polled.enter(|cx, body| drop(body.poll_frame(cx))));
    assert!(catch_unwind(panicking).is_err());
    drop(polled);
    assert_eq!(counts(&layer.breaker()), (1, 1));
}

#[tokio::test]
async fn a_body_outlives_the_service_and_the_layer() {
    let layer = layer();
    let breaker = layer.breaker();
    let body = body(&layer, script([Step::Data("half"), Step::Fail])).await;
    drop(layer);
    body.collect().await.unwrap_err();
    assert_eq!(counts(&breaker), (1, 1));
}

#[tokio::test]
async fn a_body_of_an_earlier_time_changes_nothing() {
    let layer = layer();
    let breaker = layer.breaker();
    let (good, bad) = (body(&layer, script([Step::Data("a")])).await, body(&layer, script([Step::Fail])).await);
    breaker.reset();
    good.collect().await.unwrap();
    bad.collect().await.unwrap_err();
    assert_eq!((breaker.state(), counts(&breaker)), (State::Closed, (0, 0)));
}

/// The calls of the window are those whose bodies have ended, each once, whatever became of the others.
#[tokio::test]
async fn each_body_settles_exactly_once() {
    let layer = crate::layer()
        .window(Window::count(1_000))
        .minimum_calls(1_000)
        // A permit that settled again when it is dropped would show.
        .abandoned(Abandoned::FailureAfter(Duration::ZERO));
    let breaker = layer.breaker();
    let mut open = Vec::new();
    for n in 1..=100 {
        open.push(body(&layer, script([Step::Data("a"), Step::Data("b")]).announced(2)).await);
        body(&layer, script([Step::Data("a")])).await.collect().await.unwrap();
        body(&layer, script([Step::Data("a"), Step::Fail])).await.collect().await.unwrap_err();
        drop(body(&layer, script([Step::Data("a")])).await);
        std::mem::forget(body(&layer, script([Step::Data("a")])).await);
        drop(call(&layer, 500, script([Step::Data("sorry")])).await.unwrap());
        assert_eq!(counts(&breaker), (3 * n, 2 * n));
    }
    for body in open {
        body.collect().await.unwrap();
    }
    assert_eq!(counts(&breaker), (400, 200));
}

#[tokio::test]
async fn broken_bodies_open_it() {
    let layer = crate::layer().consecutive_failures(3);
    for _ in 0..3 {
        assert_eq!(layer.breaker().state(), State::Closed);
        body(&layer, script([Step::Fail])).await.collect().await.unwrap_err();
    }
    assert_eq!(layer.breaker().state(), State::Open);
    let error = call(&layer, 200, script([])).await.map(|_| ()).unwrap_err();
    assert!(CircuitOpen::find(&*error).is_some());
}
