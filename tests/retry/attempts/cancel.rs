//! A call that is dropped at any point leaves nothing behind.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::sync::Semaphore;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_rampart::retry::{Budget, GiveUp, Hedge};

use crate::support::*;

/// How many polls the longest of these calls takes until it is ready by itself.
const POLLS: usize = 40;

#[tokio::test(start_paused = true)]
async fn cancelled_at_every_await_point_places_and_tokens_add_up() {
    let mut finished = 0;
    for polls in 0..POLLS {
        let budget = Budget::ratio(0.5).reserve(5);
        let retries = AtomicI64::new(0);
        let upstream = Upstream::new([
            answer(503).taking(120 * MS),
            reset().reading(0).taking(70 * MS),
            answer(503),
            answer(200).taking(60 * MS),
        ]);
        let log = upstream.log();
        let places = Arc::new(Semaphore::new(1));
        let layer =
            layer().max_attempts(4).budget(budget.clone()).attempt_timeout(SECOND).deadline(10 * SECOND).on_retry(
                |_| {
                    retries.fetch_add(1, Ordering::Relaxed);
                },
            );
        let stack = ServiceBuilder::new()
            .layer(&layer)
            .layer(GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&places)))
            .service(upstream);
        let body = Chunks::of(["one "]).then(Chunk::Wait(30 * MS)).then(Chunk::Data(Bytes::from("two")));
        let output = cancel_after(stack.clone().oneshot(Request::put("/").body(body).unwrap()), polls).await;

        let retries = retries.load(Ordering::Relaxed);
        let begun = i64::try_from(log.calls()).unwrap();
        assert!(begun <= retries + 1 && retries <= begun, "{begun} attempts, {retries} retries");
        // Every call that was begun put its share in, every retry that was sent took its token out.
        let deposits = if polls == 0 { 0.0 } else { 0.5 };
        #[allow(clippy::cast_precision_loss)]
        let expected = 5.0 + deposits - (begun - 1).max(0) as f64;
        assert_eq!(budget.balance(), Some(expected), "after {polls} polls");
        for body in log.bodies() {
            assert!("one two".starts_with(&body), "{body:?}");
        }
        if let Some(output) = output {
            assert_eq!((output.unwrap().status().as_u16(), log.calls()), (200, 4));
            assert_eq!(log.bodies(), ["one two", "", "one two", "one two"]);
            finished += 1;
        }
        drop(stack);
        settle().await;
        assert_eq!(places.available_permits(), 1, "after {polls} polls");
    }
    assert!(finished > 0 && finished < POLLS, "{finished} of {POLLS} were not cancelled");
}

/// With a hedge in flight, with one that waits for a place, and with a retry that waits.
#[tokio::test(start_paused = true)]
async fn a_hedged_call_that_is_dropped_at_any_point_gives_everything_back() {
    let mut finished = 0;
    for places in [1, 2] {
        for polls in 0..POLLS {
            let (concurrent, quota) = (Budget::concurrent(0.0, 2), Budget::aws_standard());
            for budget in [&concurrent, &quota] {
                let upstream = Upstream::new([
                    answer(503).taking(170 * MS),
                    answer(503).taking(220 * MS),
                    reset().taking(170 * MS),
                    answer(200).taking(20 * MS),
                ]);
                let log = upstream.log();
                let free = Arc::new(Semaphore::new(places));
                let stack = ServiceBuilder::new()
                    .layer(layer().max_attempts(4).budget(budget.clone()).hedge(Hedge::after(60 * MS)))
                    .layer(GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&free)))
                    .service(upstream);
                let output = cancel_after(stack.oneshot(put("rows")), polls).await;
                finished += u32::from(output.is_some());
                let sent = log.calls().saturating_sub(1) as f64;
                match budget.balance() {
                    balance if std::ptr::eq(budget, &concurrent) => assert_eq!(balance, Some(2.0), "{polls} polls"),
                    // A success gives back what the last retry cost, if it was no hedge.
                    balance if output.is_some() => assert!(balance >= Some(500.0 - 5.0 * sent), "{balance:?}"),
                    balance => assert_eq!(balance, Some(500.0 - 5.0 * sent), "{polls} polls, {sent} sent"),
                }
                settle().await;
                assert_eq!(free.available_permits(), places, "after {polls} polls");
            }
        }
    }
    assert!(finished > 0, "none was not cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_does_not_disturb_the_next() {
    for polls in 0..10 {
        let upstream = Upstream::new([answer(503)]);
        let stack = ServiceBuilder::new().layer(layer()).concurrency_limit(1).service(upstream);
        assert!(cancel_after(stack.clone().oneshot(put("one")), polls).await.is_none() || polls > 6);
        let response = stack.oneshot(put("two")).await.unwrap();
        assert_eq!(report(&response).0, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_polled_is_not_sent_and_deposits_nothing() {
    let budget = Budget::ratio(0.5).reserve(5);
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let mut stack = layer().budget(budget.clone()).layer(upstream);
    ready(&mut stack).await;
    drop(stack.call(put("one")));
    assert_eq!((log.calls(), budget.balance()), (0, Some(5.0)));

    ready(&mut stack).await;
    stack.call(put("one")).await.unwrap();
    assert_eq!((log.calls(), budget.balance()), (1, Some(5.5)));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_first_polled_after_its_deadline_is_not_sent() {
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let mut stack = layer().deadline(SECOND).layer(upstream);
    ready(&mut stack).await;
    let call = stack.call(put("one"));
    tokio::time::advance(SECOND).await;
    let error = call.await.unwrap_err();
    assert_eq!(log.calls(), 0);
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Deadline, 0));
}

async fn ready<S: Service<Request<Full<Bytes>>>>(service: &mut S) {
    assert!(poll_fn(|cx| service.poll_ready(cx)).await.is_ok());
}
