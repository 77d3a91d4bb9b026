//! Rule 6 and the attempt timeout, and calls that do not read the clock.

use std::future::{pending, poll_fn, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_rampart::BoxError;
use tower_rampart::classify::{Health, Processed, Reason, Verdict};
use tower_rampart::retry::{Deadline, GiveUp, ReplayBody, TimedOut};

use crate::support::*;

type Body = Full<bytes::Bytes>;

fn with_deadline(deadline: Deadline) -> Request<Body> {
    let mut request = get();
    request.extensions_mut().insert(deadline);
    request
}

#[tokio::test(start_paused = true)]
async fn rule_6_the_deadline_cuts_an_attempt_short() {
    let upstream = Upstream::new([hang()]);
    let log = upstream.log();
    let error = send(layer().deadline(SECOND), upstream, get()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Deadline, 1));
    assert_eq!(TimedOut::find(&*error).unwrap().attempt_timeout(), None);
    assert_eq!(log.elapsed(), SECOND);
    let verdict = Verdict::of_error(&*error);
    assert_eq!((verdict.processed(), verdict.reason()), (Processed::Maybe, Reason::TIMEOUT));
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_cut_by_the_deadline_gives_up_with_deadline() {
    for (request, attempts) in [(post("5 euros"), 3), (get(), 1)] {
        let upstream = Upstream::new([hang()]);
        let log = upstream.log();
        let error = send(layer().max_attempts(attempts).deadline(SECOND), upstream, request).await.unwrap_err();
        assert_eq!((gave_up(&error).kind(), log.calls()), (GiveUp::Deadline, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_the_deadline_spans_attempts_and_waits() {
    // 400 + 100 + 400, and then 200 more would be too much: the second answer is returned at once.
    let upstream = Upstream::new([answer(503).taking(400 * MS)]);
    let log = upstream.log();
    let response = send(layer().deadline(1_100 * MS), upstream, get()).await.unwrap();
    assert_eq!(report(&response), (2, Some(GiveUp::Deadline)));
    assert!((900..=903).contains(&log.elapsed().as_millis()), "{:?}", log.elapsed());
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_later_attempt_is_cut_too_and_no_answer_is_fabricated() {
    let upstream = Upstream::new([answer(503), hang()]);
    let log = upstream.log();
    let error = send(layer().deadline(SECOND), upstream, get()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Deadline, 2));
    assert!(TimedOut::find(&*error).is_some());
    assert_eq!((log.calls(), log.elapsed()), (2, SECOND));
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_deadline_in_the_request_overrides_the_layer() {
    for (own, elapsed) in [(300 * MS, 300), (5 * SECOND, 5_000)] {
        let upstream = Upstream::new([hang()]);
        let log = upstream.log();
        let request = with_deadline(Deadline::within(own));
        let error = send(layer().deadline(SECOND), upstream, request).await.unwrap_err();
        assert_eq!(gave_up(&error).kind(), GiveUp::Deadline);
        assert_eq!(log.elapsed().as_millis(), elapsed);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_the_deadline_is_passed_inward_with_what_remains() {
    let upstream = Upstream::new([answer(503).taking(300 * MS), answer(503), answer(200)]);
    let log = upstream.log();
    send(layer(), upstream, with_deadline(Deadline::within(2 * SECOND))).await.unwrap();
    let seen = log.seen();
    assert_eq!(seen.len(), 3);
    for seen in &seen {
        assert_eq!(seen.deadline, Some(2 * SECOND - seen.at));
    }
    assert!((400..=403).contains(&seen[1].at.as_millis()), "{:?}", seen[1].at);
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_call_past_its_deadline_is_not_sent() {
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let request = with_deadline(Deadline::within(SECOND));
    tokio::time::advance(SECOND).await;
    let error = send(layer(), upstream, request).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts(), log.calls()), (GiveUp::Deadline, 0, 0));
    let verdict = Verdict::of_error(&*error);
    assert_eq!((verdict.processed(), verdict.health()), (Processed::No, Health::Neutral));
}

#[tokio::test(start_paused = true)]
async fn rule_6_the_longest_duration_sets_no_deadline() {
    let upstream = Upstream::new([answer(503).taking(SECOND), answer(200).taking(SECOND)]);
    let layer = layer().deadline(std::time::Duration::MAX).attempt_timeout(std::time::Duration::MAX);
    let request = with_deadline(Deadline::within(std::time::Duration::MAX));
    assert_eq!(send(&layer, upstream.clone(), get()).await.unwrap().status(), 200);
    assert_eq!(send(&layer, upstream, request).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_cut_and_retried() {
    let upstream = Upstream::new([hang(), answer(200).taking(1_999 * MS)]);
    let log = upstream.log();
    let response = send(layer().attempt_timeout(2 * SECOND), upstream, get()).await.unwrap();
    assert_eq!(report(&response), (2, None));
    assert!((2_100..=2_103).contains(&log.gaps()[0]), "{:?}", log.gaps());
}

#[tokio::test(start_paused = true)]
async fn a_post_that_was_cut_is_not_retried() {
    let upstream = Upstream::new([hang()]);
    let log = upstream.log();
    let error = send(layer().attempt_timeout(2 * SECOND), upstream, post("5 euros")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), log.calls()), (GiveUp::NotIdempotent, 1));
    assert_eq!(TimedOut::find(&*error).unwrap().attempt_timeout(), Some(2 * SECOND));
    assert_eq!(gave_up(&error).verdict().reason(), Reason::TIMEOUT);
    assert_eq!(log.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_attempt_timeout_and_deadline_cuts() {
    let upstream = Upstream::new([hang()]);
    let log = upstream.log();
    let layer = layer().attempt_timeout(2 * SECOND).deadline(5 * SECOND).max_attempts(9);
    let error = send(layer, upstream, get()).await.unwrap_err();
    // 2 + 0.1 + 2 + 0.2 + 0.7
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Deadline, 3));
    assert_eq!(TimedOut::find(&*error).unwrap().attempt_timeout(), None);
    assert_eq!((log.calls(), log.elapsed()), (3, 5 * SECOND));
    // The error names the limit that expired.
    assert_eq!(TimedOut::find(&*error).unwrap().attempt_timeout(), None);

    let layer = crate::support::layer().attempt_timeout(2 * SECOND).deadline(5 * SECOND).max_attempts(1);
    let error = send(layer, Upstream::new([hang()]), get()).await.unwrap_err();
    assert_eq!(gave_up(&error).kind(), GiveUp::Exhausted);
    assert_eq!(TimedOut::find(&*error).unwrap().attempt_timeout(), Some(2 * SECOND));
}

fn pending_for(
    polls: u32,
) -> impl Service<Request<ReplayBody<Body>>, Response = Response<()>, Error = BoxError> + Clone {
    service_fn(move |_: Request<ReplayBody<Body>>| {
        let mut left = polls;
        poll_fn(move |_| {
            let ready = left == 0;
            left = left.saturating_sub(1);
            if ready { Poll::Ready(Ok::<_, BoxError>(Response::new(()))) } else { Poll::Pending }
        })
    })
}

/// A wait that cannot be made would be noticed only after a request was sent, perhaps one that must not be repeated.
#[test]
fn without_a_time_driver_nothing_is_sent() {
    let calls = AtomicU32::new(0);
    let inner = service_fn(|_: Request<ReplayBody<Body>>| {
        calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok::<_, BoxError>(Response::new(())))
    });
    let without_time = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for layer in [layer(), layer().max_attempts(1).attempt_timeout(SECOND), layer().max_attempts(1).deadline(SECOND)] {
        // Each call, not only the first.
        for _ in 0..2 {
            let call = std::panic::AssertUnwindSafe(|| without_time.block_on(layer.layer(inner).oneshot(get())));
            let panic = std::panic::catch_unwind(call).unwrap_err();
            assert!(panic.downcast::<String>().unwrap().contains("enable_time"));
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[test]
fn without_a_time_driver_nothing_is_sent_also_on_a_second_runtime() {
    let calls = AtomicU32::new(0);
    let inner = service_fn(|_: Request<ReplayBody<Body>>| {
        calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok::<_, BoxError>(Response::new(())))
    });
    let service = layer().layer(inner);
    let call =
        |runtime: &mut tokio::runtime::Builder| runtime.build().unwrap().block_on(service.clone().oneshot(get()));
    std::thread::scope(|scope| {
        let with_time = scope.spawn(|| call(tokio::runtime::Builder::new_current_thread().enable_time()));
        with_time.join().unwrap().unwrap();
        let without = scope.spawn(|| call(&mut tokio::runtime::Builder::new_current_thread()));
        without.join().unwrap_err();
        // Nor does another service on the same thread prove anything.
        let both = scope.spawn(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().build().unwrap().block_on(service.clone().oneshot(get())).unwrap();
            let other = layer().layer(inner);
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(other.oneshot(get()))
        });
        both.join().unwrap_err();
    });
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn a_single_attempt_without_a_time_limit_needs_no_timer() {
    let mut call = pin!(layer().max_attempts(1).layer(pending_for(3)).oneshot(get()));
    for _ in 0..3 {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    assert!(poll_once(call.as_mut()).is_ready());
}

/// A future that uses up the task's cooperative budget in every poll leaves none for the timer.
#[tokio::test(start_paused = true)]
async fn a_busy_attempt_cannot_starve_the_timer() {
    let busy = service_fn(|_: Request<ReplayBody<Body>>| async {
        poll_fn(|cx| -> Poll<()> {
            loop {
                std::task::ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
            }
        })
        .await;
        pending::<Result<Response<()>, BoxError>>().await
    });
    let call = tokio::spawn(layer().max_attempts(1).attempt_timeout(SECOND).layer(busy).oneshot(get()));
    settle().await;
    assert!(!call.is_finished());
    tokio::time::advance(2 * SECOND).await;
    settle().await;
    assert!(call.is_finished());
    assert!(TimedOut::find(&*call.await.unwrap().unwrap_err()).is_some());
}
