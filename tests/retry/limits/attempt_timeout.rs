//! Rule 11: an attempt timeout for each attempt.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::BoxError;
use tower_rampart::retry::{AttemptDeadline, Backoff, Budget, GiveUp, ReplayBody, TimedOut};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn rule_11_the_last_attempt_can_have_all_that_is_left() {
    let upstream = Upstream::new([hang(), hang(), answer(200).taking(5_500 * MS)]);
    let log = upstream.log();
    let layer = layer()
        .deadline(10 * SECOND)
        .attempt_timeout_by(|attempt, remaining| if attempt.number() < 3 { 2 * SECOND } else { remaining });
    // 2 + 0.1 + 2 + 0.2, and 5.7 s are left.
    assert_eq!(send(layer.clone(), upstream, get()).await.unwrap().status(), 200);
    assert!((2_100..=2_103).contains(&log.gaps()[0]) && (2_200..=2_203).contains(&log.gaps()[1]), "{:?}", log.gaps());

    let upstream = Upstream::new([hang()]);
    let log = upstream.log();
    let error = send(layer, upstream, get()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::Deadline, 3));
    assert_eq!((TimedOut::find(&*error).unwrap().attempt_timeout(), log.elapsed()), (None, 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn rule_11_the_function_gets_the_attempt_and_what_is_left_once_for_each_send() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let layer = || {
        let asked = Arc::clone(&asked);
        layer().attempt_timeout_by(move |attempt, remaining| {
            asked.lock().unwrap().push((attempt.number(), remaining.as_millis()));
            SECOND / attempt.number()
        })
    };
    let upstream = || Upstream::new([answer(503).taking(300 * MS), hang()]);
    let error = send(layer().deadline(9 * SECOND), upstream(), get()).await.unwrap_err();
    assert_eq!(TimedOut::find(&*error).unwrap().attempt_timeout(), Some(SECOND / 3));
    assert_eq!(error.to_string(), "gave up after 3 attempts: no attempts left (timed out)");
    let calls = asked.lock().unwrap().split_off(0);
    let [(1, 9_000), (2, second), (3, third)] = calls[..] else { panic!("{calls:?}") };
    assert!((8_597..=8_600).contains(&second) && (7_892..=7_900).contains(&third), "{calls:?}");

    send(layer(), upstream(), get()).await.unwrap_err();
    let calls = asked.lock().unwrap().split_off(0);
    assert_eq!(calls, [1, 2, 3].map(|attempt| (attempt, Duration::MAX.as_millis())));
}

#[tokio::test(start_paused = true)]
async fn rule_11_no_limit_is_too_short_or_too_long() {
    // An answer that is there at once is taken even with a limit of zero.
    for limit in [Duration::ZERO, Duration::from_nanos(1)] {
        let upstream = Upstream::new([hang(), answer(200)]);
        let log = upstream.log();
        let response = send(layer().attempt_timeout_by(move |_, _| limit), upstream, get()).await.unwrap();
        assert_eq!((response.status().as_u16(), report(&response)), (200, (2, None)));
        assert!((101..=103).contains(&log.gaps()[0]), "{:?}", log.gaps());
    }
    for deadline in [None, Some(Duration::MAX), Some(2 * SECOND)] {
        let layer = layer().attempt_timeout_by(|_, _| Duration::MAX);
        let layer = deadline.map_or(layer.clone(), |deadline| layer.deadline(deadline));
        let upstream = Upstream::new([answer(503).taking(SECOND / 2), answer(200).taking(SECOND)]);
        assert_eq!(send(&layer, upstream, get()).await.unwrap().status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_11_the_spread_and_the_extension_follow_the_current_attempt() {
    // The wait after a timeout is spread over the limit of the attempt that timed out.
    for (limit, most) in [(100 * MS, 102), (2_000 * MS, 2_002)] {
        let mut longest = 0;
        for _ in 0..50 {
            let upstream = Upstream::new([hang(), answer(200)]);
            let log = upstream.log();
            let layer = layer().backoff(Backoff::exponential(MS, 5 * SECOND)).attempt_timeout_by(move |_, _| limit);
            send(layer, upstream, get()).await.unwrap();
            longest = longest.max(log.gaps()[0] - limit.as_millis());
        }
        assert!((most / 2..=most).contains(&longest), "{longest}");
    }

    let seen = Mutex::new(Vec::new());
    let inner = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
        seen.lock().unwrap().push(request.extensions().get::<AttemptDeadline>().unwrap().remaining());
        async { Ok::<_, BoxError>(Response::builder().status(503).body(()).unwrap()) }
    });
    let by_attempt = layer().backoff(Backoff::none()).attempt_timeout_by(|attempt, _| SECOND * attempt.number());
    // What an outer layer leaves to this one is the limit of each attempt, too.
    let outer = layer().max_attempts(1).attempt_timeout(5 * SECOND / 2).clone_bodies();
    ServiceBuilder::new().layer(outer).layer(by_attempt).service(inner).oneshot(get()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [1_000 * MS, 2_000 * MS, 2_500 * MS]);
}

#[tokio::test(start_paused = true)]
async fn rule_11_a_function_that_panics_ends_the_call_and_sends_nothing() {
    for panics_at in [1, 2] {
        let upstream = Upstream::new([answer(503), answer(200)]);
        let log = upstream.log();
        let limited = ServiceBuilder::new().concurrency_limit(1).service(upstream);
        let budget = Budget::ratio(1.0).reserve(0);
        let by = layer().budget(budget.clone()).backoff(Backoff::none()).attempt_timeout_by(move |attempt, _| {
            assert_ne!(attempt.number(), panics_at, "the function panics");
            SECOND
        });
        let mut service = by.layer(limited);
        let mut call = Box::pin(ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap().call(get()));
        let panic = loop {
            match catch_unwind(AssertUnwindSafe(|| poll_once(call.as_mut()))) {
                Ok(polled) => assert!(polled.is_pending()),
                Err(panic) => break panic,
            }
        };
        assert!(panic.downcast::<String>().unwrap().contains("the function panics"));
        assert!(catch_unwind(AssertUnwindSafe(|| poll_once(call.as_mut()))).is_err(), "it is not polled on");
        assert_eq!((log.calls(), budget.balance()), (panics_at as usize - 1, Some(0.0)));
        drop(call);
        // The permit is back.
        ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
    }
}
