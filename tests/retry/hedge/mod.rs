//! Rule 13: a second attempt beside a slow one.

mod budgets;
mod latency;
mod layers;
mod rounds;
mod types;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_rampart::classify::{Processed, Reason};
use tower_rampart::retry::{GiveUp, Hedge, HedgedRetryLayer, ReplayBody, RetryReport};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::*;

const DELAY: Duration = Duration::from_millis(50);
const LOST: Option<Reason> = Some(Reason::ABANDONED);
const STATUS: Option<Reason> = Some(Reason::STATUS);

pub(super) fn hedged() -> HedgedRetryLayer {
    layer().hedge(Hedge::after(DELAY))
}

/// Sends one request, and returns its outcome, when it came, and when the attempts began.
pub(super) async fn run(
    layer: HedgedRetryLayer,
    steps: impl IntoIterator<Item = Step>,
    request: Request<Full<Bytes>>,
) -> (Result<Response<Full<Bytes>>, BoxError>, Duration, Vec<Duration>) {
    let upstream = Upstream::new(steps);
    let log = upstream.log();
    let outcome = layer.layer(upstream).oneshot(request).await;
    (outcome, log.elapsed(), log.seen().iter().map(|seen| seen.at).collect())
}

/// Number, whether it was a hedge, and why it failed, of every attempt.
fn history(response: &Response<Full<Bytes>>) -> Vec<(u32, bool, Option<Reason>)> {
    let report = RetryReport::of(response).expect("a report");
    report.history().iter().map(|send| (send.attempt(), send.is_hedge(), send.reason())).collect()
}

#[tokio::test(start_paused = true)]
async fn rule_13_the_hedge_of_a_slow_attempt_wins() {
    let (outcome, took, sent) = run(hedged(), [answer(200).taking(SECOND), answer(200).taking(20 * MS)], get()).await;
    let response = outcome.unwrap();
    assert_eq!((took, sent), (70 * MS, vec![Duration::ZERO, DELAY]));
    assert_eq!(report(&response), (2, None));
    assert_eq!(history(&response), [(1, false, LOST), (2, true, None)]);
}

#[tokio::test(start_paused = true)]
async fn rule_13_the_first_attempt_wins_if_it_is_faster_than_its_hedge() {
    let (outcome, took, sent) = run(hedged(), [answer(200).taking(60 * MS), answer(200).taking(20 * MS)], get()).await;
    assert_eq!((took, sent.len()), (60 * MS, 2));
    assert_eq!(history(&outcome.unwrap()), [(2, true, LOST), (1, false, None)]);
}

#[tokio::test(start_paused = true)]
async fn rule_13_an_attempt_that_is_answered_in_time_is_not_hedged() {
    for takes in [Duration::ZERO, DELAY - MS] {
        let (outcome, took, sent) = run(hedged(), [answer(200).taking(takes)], get()).await;
        assert_eq!((took, sent.len()), (takes, 1));
        assert!(RetryReport::of(&outcome.unwrap()).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_request_that_is_not_idempotent_is_never_hedged() {
    let (outcome, took, sent) = run(hedged(), [answer(200).taking(SECOND)], post("charge")).await;
    assert_eq!((outcome.unwrap().status().as_u16(), took, sent.len()), (200, SECOND, 1));

    // While the server acts on the first request with a key, it answers the second with 409, which would end the call.
    let keyed = || Request::post("/").header("idempotency-key", "7").body(Full::from("charge")).unwrap();
    let steps = [answer(200).taking(SECOND), answer(409)];
    let (outcome, took, sent) = run(hedged(), steps.clone(), keyed()).await;
    assert_eq!((outcome.unwrap().status().as_u16(), took, sent.len()), (200, SECOND, 1));
    let upstream = Upstream::new(steps);
    let log = upstream.log();
    RetryLayer::new_for_grpc().hedge(Hedge::after(DELAY)).layer(upstream).oneshot(keyed()).await.unwrap();
    assert_eq!(log.calls(), 1, "over gRPC");
    assert_eq!(run(hedged(), [answer(503), answer(200)], keyed()).await.2.len(), 2, "it is retried");

    // A request that the user declares idempotent is hedged.
    for (request, expected) in [(post("search"), (DELAY, 2)), (keyed(), (SECOND, 1))] {
        let declared = layer().idempotent(|head: &Parts| head.uri.path() == "/").hedge(Hedge::after(DELAY));
        let upstream = Upstream::new([answer(200).taking(SECOND), answer(200)]);
        let log = upstream.log();
        declared.layer(upstream).oneshot(request).await.unwrap();
        assert_eq!((log.elapsed(), log.calls()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_both_fail_and_the_retries_go_on() {
    let steps = [answer(503).taking(70 * MS), answer(503).taking(40 * MS), answer(200)];
    let (outcome, took, sent) = run(hedged(), steps, get()).await;
    // The hedge fails at 90 ms. The third attempt waits for the second backoff, as after two attempts without hedges.
    assert_eq!((took, sent), (290 * MS, vec![Duration::ZERO, DELAY, 290 * MS]));
    let response = outcome.unwrap();
    assert_eq!(report(&response), (3, None));
    assert_eq!(history(&response), [(1, false, STATUS), (2, true, STATUS), (3, false, None)]);
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_failure_waits_for_the_attempt_that_is_still_in_flight() {
    for steps in [
        [answer(503).taking(60 * MS), answer(200).taking(100 * MS)],
        [answer(200).taking(150 * MS), answer(503).taking(10 * MS)],
    ] {
        let (outcome, took, sent) = run(hedged(), steps, get()).await;
        assert_eq!((outcome.unwrap().status().as_u16(), took, sent.len()), (200, 150 * MS, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_failure_before_the_delay_is_an_ordinary_retry() {
    let (outcome, took, sent) = run(hedged(), [answer(503).taking(10 * MS), answer(200)], get()).await;
    assert_eq!((took, sent), (110 * MS, vec![Duration::ZERO, 110 * MS]));
    assert_eq!(history(&outcome.unwrap()), [(1, false, STATUS), (2, false, None)]);
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_retry_is_hedged_too() {
    let steps = [answer(503), answer(200).taking(SECOND), answer(200)];
    let (outcome, took, sent) = run(hedged(), steps, get()).await;
    assert_eq!((took, sent), (150 * MS, vec![Duration::ZERO, 100 * MS, 150 * MS]));
    assert_eq!(history(&outcome.unwrap()), [(1, false, STATUS), (2, false, LOST), (3, true, None)]);
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_terminal_answer_ends_the_call() {
    for steps in [
        [answer(404).taking(60 * MS), answer(200).taking(SECOND)],
        [answer(200).taking(SECOND), answer(404).taking(10 * MS)],
    ] {
        let (outcome, took, sent) = run(hedged(), steps, get()).await;
        let response = outcome.unwrap();
        assert_eq!((response.status().as_u16(), took, sent.len()), (404, 60 * MS, 2));
        assert_eq!(report(&response), (2, Some(GiveUp::NotRetryable)));
    }
}

/// A rejection by the breaker, which may have admitted the other attempt, and an answer that the server asks to retry.
#[tokio::test(start_paused = true)]
async fn rule_13_a_rejection_or_a_wish_for_a_retry_waits_for_the_other_attempt() {
    let wish = || answer(404).header("x-should-retry", "true");
    for [first, hedge] in [
        [circuit_open().taking(60 * MS), answer(200).taking(100 * MS)],
        [answer(200).taking(150 * MS), circuit_open().taking(10 * MS)],
        [wish().taking(60 * MS), answer(200).taking(100 * MS)],
        [answer(200).taking(150 * MS), wish().taking(10 * MS)],
    ] {
        let (outcome, took, sent) = run(hedged(), [first, hedge], get()).await;
        assert_eq!((outcome.unwrap().status().as_u16(), took, sent.len()), (200, 150 * MS, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_call_was_maybe_processed_if_the_attempt_that_failed_first_was() {
    let steps = [reset().taking(60 * MS), given_back(Reason::REFUSED_STREAM, Processed::No).taking(20 * MS)];
    let (outcome, took, sent) = run(layer().max_attempts(2).hedge(Hedge::after(DELAY)), steps, get()).await;
    let error = outcome.unwrap_err();
    assert_eq!((took, sent.len()), (70 * MS, 2));
    let report = gave_up(&error).report();
    assert_eq!((report.history()[1].reason(), report.processed()), (Some(Reason::REFUSED_STREAM), Processed::Maybe));
}

#[tokio::test(start_paused = true)]
async fn rule_13_hedges_count_as_attempts() {
    for (attempts, sends) in [(1, 1), (2, 2), (3, 3), (4, 4)] {
        let layer = layer().max_attempts(attempts).hedge(Hedge::after(DELAY));
        let (outcome, _, sent) = run(layer, [answer(503).taking(SECOND)], get()).await;
        let response = outcome.unwrap();
        assert_eq!((response.status().as_u16(), sent.len()), (503, sends), "{attempts}");
        if attempts > 1 {
            assert_eq!(report(&response), (attempts, Some(GiveUp::Exhausted)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_server_that_asks_for_a_wait_gets_no_further_hedges() {
    // The hint of the first attempt, which fails first, is kept: 60 ms and two seconds.
    let steps = [
        answer(503).header("retry-after", 2).taking(60 * MS),
        answer(503).taking(100 * MS),
        answer(200).taking(SECOND),
    ];
    let (outcome, _, sent) = run(layer().max_attempts(9).hedge(Hedge::after(DELAY)), steps, get()).await;
    let third = sent[2];
    assert!((2_060 * MS..2_600 * MS).contains(&third), "{third:?}");
    assert_eq!((outcome.unwrap().status().as_u16(), sent.len()), (200, 3), "the third attempt is not hedged");
}

#[tokio::test(start_paused = true)]
async fn rule_13_the_attempt_timeout_cuts_each_attempt_on_its_own() {
    let layer = layer().attempt_timeout(100 * MS).hedge(Hedge::after(DELAY));
    let (outcome, took, sent) = run(layer, [hang(), answer(200).taking(90 * MS)], get()).await;
    let response = outcome.unwrap();
    assert_eq!((took, sent), (140 * MS, vec![Duration::ZERO, DELAY]));
    assert_eq!(history(&response), [(1, false, Some(Reason::TIMEOUT)), (2, true, None)]);
}

#[tokio::test(start_paused = true)]
async fn rule_13_the_deadline_cuts_both() {
    let layer = layer().deadline(200 * MS).hedge(Hedge::after(DELAY));
    let (outcome, took, sent) = run(layer, [hang()], get()).await;
    let error = outcome.unwrap_err();
    assert_eq!((took, sent.len()), (200 * MS, 2));
    let gave_up = gave_up(&error);
    assert_eq!((gave_up.kind(), gave_up.attempts(), gave_up.report().history().len()), (GiveUp::Deadline, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn rule_13_no_hedge_that_the_deadline_would_cut_at_once() {
    let layer = layer().deadline(DELAY + MS).hedge(Hedge::after(DELAY));
    let (_, took, sent) = run(layer, [hang()], get()).await;
    assert_eq!((took, sent.len()), (51 * MS, 1));
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_retry_event_says_that_it_is_a_hedge() {
    let events = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let layer = layer().on_retry(move |event| {
        let facts = (event.attempt(), event.is_hedge(), event.wait(), event.verdict().reason().to_string());
        heard.lock().unwrap().push(facts);
    });
    let steps = [answer(503).taking(60 * MS), answer(503), answer(200)];
    let upstream = Upstream::new(steps);
    layer.hedge(Hedge::after(DELAY)).layer(upstream).oneshot(get()).await.unwrap();
    let expected = [(1, true, Duration::ZERO, "slow".to_owned()), (1, false, 200 * MS, "status".to_owned())];
    assert_eq!(*events.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_body_that_is_all_there_is_sent_twice() {
    let upstream = Upstream::new([answer(200).taking(SECOND), answer(200)]);
    let log = upstream.log();
    let body = Chunks::of(["one ", "two"]);
    hedged().layer(upstream).oneshot(Request::put("/").body(body).unwrap()).await.unwrap();
    assert_eq!((log.bodies(), log.elapsed()), (vec!["one two".to_owned(), "one two".to_owned()], DELAY));
    assert!(log.seen().iter().all(|seen| seen.ended && seen.exact_size.is_none()));
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_body_that_is_still_sent_or_too_large_is_not_hedged() {
    let slow = Chunks::of(["one "]).then(Chunk::Stall);
    let large = Chunks::of(["more than ten bytes"]);
    for (body, took) in [(slow, 300 * MS), (large, 200 * MS)] {
        let upstream = Upstream::new([answer(200).taking(200 * MS)]);
        let log = upstream.log();
        let layer = layer().max_replay_bytes(10).deadline(300 * MS).hedge(Hedge::after(DELAY));
        let _ = layer.layer(upstream).oneshot(Request::put("/").body(body).unwrap()).await;
        assert_eq!((log.calls(), log.elapsed()), (1, took));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_hedge_reads_the_body_beside_the_first_attempt_and_a_retry_after_both() {
    let upstream = Upstream::new([answer(503).taking(60 * MS), answer(503).taking(20 * MS), answer(200)]);
    let log = upstream.log();
    hedged().layer(upstream).oneshot(put("one two")).await.unwrap();
    assert_eq!(log.bodies(), ["one two"; 3]);
    assert!(log.seen().iter().all(|seen| seen.exact_size == Some(7)));
    assert_eq!(log.seen().iter().map(|seen| seen.attempt).collect::<Vec<_>>(), [1, 2, 3]);
}

/// The attempts of a service that are in flight.
#[derive(Clone, Default)]
struct InFlight(Arc<AtomicU32>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_a_dropped_call_drops_all_its_attempts() {
    let mut most = 0;
    for polls in 0..30 {
        let count = Arc::new(AtomicU32::new(0));
        let inner = tower::service_fn(|_: Request<ReplayBody<Full<Bytes>>>| {
            count.fetch_add(1, Ordering::Relaxed);
            let attempt = InFlight(Arc::clone(&count));
            async move {
                tokio::time::sleep(220 * MS).await;
                drop(attempt);
                Ok::<_, BoxError>(Response::builder().status(503).body(Full::<Bytes>::default()).unwrap())
            }
        });
        let layer = layer().max_attempts(4).hedge(Hedge::after(DELAY));
        {
            let mut call = pin!(layer.layer(inner).oneshot(get()));
            for _ in 0..polls {
                let _ = poll_once(call.as_mut()).map(|response| drop(response.unwrap()));
                most = most.max(count.load(Ordering::Relaxed));
                settle().await;
                tokio::time::advance(20 * MS).await;
            }
        }
        assert_eq!(count.load(Ordering::Relaxed), 0, "after {polls} polls");
    }
    assert_eq!(most, 2, "two attempts at most");
}
