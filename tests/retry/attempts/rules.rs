//! Rules 1 to 3, 5 and 7: what is retried, after which wait, and what a give-up returns.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt};
use tower_rampart::classify::{Class, HttpClassifier, Processed, Reason, Verdict, classifier_fn};
use tower_rampart::retry::{Backoff, Budget, GiveUp, ReplayBody, RetryError, RetryReport};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn rule_1_a_transient_answer_to_an_idempotent_request_is_retried() {
    let upstream = Upstream::new([answer(503), answer(502), answer(200)]);
    let log = upstream.log();
    let response = send(layer(), upstream, get()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(report(&response), (3, None));
    assert_eq!(log.seen().iter().map(|seen| seen.attempt).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn rule_1_only_what_is_transient_is_retried() {
    for status in [200, 204, 304, 400, 401, 403, 404, 409, 501, 505] {
        let upstream = Upstream::new([answer(status)]);
        let log = upstream.log();
        let response = send(layer(), upstream, get()).await.unwrap();
        assert_eq!((response.status().as_u16(), log.calls()), (status, 1));
        assert_eq!(RetryReport::of(&response), None, "not retried, so nothing is left behind");
    }
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let upstream = Upstream::new([answer(status), answer(200)]);
        let log = upstream.log();
        assert_eq!(send(layer(), upstream, get()).await.unwrap().status(), 200);
        assert_eq!(log.calls(), 2, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_an_ambiguous_answer_is_never_retried() {
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let layer = layer().classifier(HttpClassifier::new().status(200, Class::Ambiguous));
    let response = send(layer, upstream, get()).await.unwrap();
    assert_eq!((response.status().as_u16(), log.calls()), (200, 1));
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_post_that_may_have_been_processed_is_not_retried() {
    let upstream = Upstream::new([answer(503), answer(200)]);
    let log = upstream.log();
    assert_eq!(send(layer(), upstream, post("5 euros")).await.unwrap().status(), 503);
    assert_eq!(log.bodies(), ["5 euros"]);

    let upstream = Upstream::new([reset(), answer(200)]);
    let log = upstream.log();
    let error = send(layer(), upstream, post("5 euros")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::NotIdempotent, 1));
    assert_eq!(log.bodies(), ["5 euros"]);
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_post_with_an_idempotency_key_is_retried() {
    let upstream = Upstream::new([answer(503), answer(200)]);
    let log = upstream.log();
    let mut request = post("5 euros");
    request.headers_mut().insert("idempotency-key", "7f3a".parse().unwrap());
    assert_eq!(send(layer(), upstream, request).await.unwrap().status(), 200);
    assert_eq!(log.bodies(), ["5 euros", "5 euros"]);
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_post_that_was_provably_not_processed_is_retried() {
    for unprocessed in [answer(429), answer(425), answer(421), refused()] {
        let upstream = Upstream::new([unprocessed.clone(), answer(200)]);
        let log = upstream.log();
        assert_eq!(send(layer(), upstream, post("5 euros")).await.unwrap().status(), 200);
        assert_eq!(log.calls(), 2, "{unprocessed:?}");
        assert_eq!(log.bodies()[1], "5 euros");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_attempts_are_counted_with_the_first() {
    for attempts in [1, 2, 3, 7] {
        let upstream = Upstream::new([answer(503)]);
        let log = upstream.log();
        let response = send(layer().max_attempts(attempts), upstream, get()).await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(log.calls(), attempts as usize);
        if attempts == 1 {
            assert_eq!(RetryReport::of(&response), None);
        } else {
            assert_eq!(report(&response), (attempts, Some(GiveUp::Exhausted)));
        }
    }
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    send(RetryLayer::new_for_http().no_budget(), upstream, get()).await.unwrap();
    assert_eq!(log.calls(), 3, "the default");
}

#[tokio::test(start_paused = true)]
async fn rule_1_the_predicate_decides_what_is_idempotent() {
    let search = |uri| Request::post(uri).body(Full::<bytes::Bytes>::default()).unwrap();
    let layer = || layer().idempotent(|request| request.uri.path() == "/search");
    for (uri, calls) in [("/search", 2), ("/charge", 1)] {
        let upstream = Upstream::new([answer(503), answer(200)]);
        let log = upstream.log();
        send(layer(), upstream, search(uri)).await.unwrap();
        assert_eq!(log.calls(), calls, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_what_the_server_asks_overrides_the_class_but_never_idempotency() {
    let word = |retry| {
        HttpClassifier::new()
            .status(202, Verdict::success().with_should_retry(retry))
            .status(503, Verdict::transient().with_should_retry(retry))
            .status(404, Verdict::terminal().with_should_retry(retry).with_processed(Processed::Maybe))
    };
    for (status, retry, request, calls) in [
        (202, false, get(), 1),
        (202, true, get(), 2),
        (202, true, post("5 euros"), 1),
        (503, false, get(), 1),
        (404, true, get(), 2),
        (404, true, post("5 euros"), 1),
        (503, true, post("5 euros"), 1),
    ] {
        let upstream = Upstream::new([answer(status), answer(200)]);
        let log = upstream.log();
        send(layer().classifier(word(retry)), upstream, request).await.unwrap();
        assert_eq!(log.calls(), calls, "{status} {retry}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_the_budget_comes_last_so_that_no_token_is_wasted() {
    let budget = Budget::ratio(0.0).reserve(5).ttl(3_600 * SECOND);
    let layer = |budget: &Budget| layer().budget(budget.clone()).max_retry_after(10 * SECOND).deadline(60 * SECOND);
    let refusals = [
        (answer(404), get()),
        (answer(503), post("not idempotent")),
        (answer(503).header("retry-after", 11), get()),
        (answer(503).taking(60 * SECOND - MS), get()),
        (answer(503).holding_after(0), put("still being sent")),
    ];
    for (step, request) in refusals {
        let upstream = Upstream::new([step]);
        let log = upstream.log();
        send(layer(&budget), upstream, request).await.unwrap();
        assert_eq!((log.calls(), budget.balance()), (1, Some(5.0)), "{:?}", log.seen());
    }
    let upstream = Upstream::new([answer(503)]);
    send(layer(&budget).max_attempts(3), upstream, get()).await.unwrap();
    assert_eq!(budget.balance(), Some(3.0), "two retries, two tokens, none for being exhausted");
}

#[tokio::test(start_paused = true)]
async fn rule_2_without_a_hint_the_wait_is_the_backoff() {
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    send(layer().max_attempts(9), upstream, get()).await.unwrap();
    assert_eq!(log.gaps(), [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
}

#[tokio::test(start_paused = true)]
async fn rule_2_full_jitter_spreads_over_the_whole_wait() {
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    let layer = layer().backoff(Backoff::exponential(1_000 * MS, 1_000 * MS));
    send(layer.max_attempts(401), upstream, get()).await.unwrap();
    let gaps = log.gaps();
    // 400 uniform draws leave a fifth of the range empty with a chance of e^-89.
    assert!(gaps.iter().all(|gap| *gap <= 1_001), "{gaps:?}");
    for fifth in 0..5 {
        assert!(gaps.iter().any(|gap| (fifth * 200..(fifth + 1) * 200).contains(gap)), "none in fifth {fifth}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_hint_is_honored_in_full_plus_jitter() {
    let mut gaps = Vec::new();
    for _ in 0..100 {
        let upstream = Upstream::new([answer(429).header("retry-after", 3), answer(200)]);
        let log = upstream.log();
        assert_eq!(send(layer(), upstream, get()).await.unwrap().status(), 200);
        gaps.extend(log.gaps());
    }
    assert!(gaps.iter().all(|gap| (3_000..=3_101).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap < 3_030) && gaps.iter().any(|gap| *gap > 3_070), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_hint_over_the_cap_ends_the_retrying_at_once() {
    for (cap, hint, calls) in [(None, 60, 2), (None, 61, 1), (Some(5), 5, 2), (Some(5), 6, 1)] {
        let upstream = Upstream::new([answer(503).header("retry-after", hint), answer(200)]);
        let log = upstream.log();
        let layer = match cap {
            Some(cap) => layer().max_retry_after(cap * SECOND),
            None => layer(),
        };
        let response = send(layer, upstream, get()).await.unwrap();
        assert_eq!((log.calls(), response.status().as_u16()), (calls, if calls == 1 { 503 } else { 200 }), "{hint}");
        if calls == 1 {
            assert_eq!(log.elapsed().as_millis(), 0);
            assert_eq!(response.headers()["retry-after"], hint.to_string().as_str(), "the answer is returned as it is");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_hint_past_the_deadline_ends_the_retrying_at_once() {
    let upstream = Upstream::new([answer(503), answer(503).header("retry-after", 10), answer(200)]);
    let log = upstream.log();
    let response = send(layer().deadline(10 * SECOND), upstream, get()).await.unwrap();
    assert_eq!(report(&response), (2, Some(GiveUp::Deadline)));
    assert_eq!(log.elapsed().as_millis(), 100);
}

#[tokio::test(start_paused = true)]
async fn rule_2_the_jitter_of_a_hint_shrinks_to_fit_the_deadline() {
    for _ in 0..50 {
        let upstream = Upstream::new([answer(503).header("retry-after", 10), answer(200)]);
        let log = upstream.log();
        let layer = layer().backoff(Backoff::fixed(60 * SECOND)).deadline(12 * SECOND);
        assert_eq!(send(layer, upstream, get()).await.unwrap().status(), 200);
        assert!((10_000..=11_001).contains(&log.gaps()[0]), "{:?}", log.gaps());
    }
}

#[tokio::test(start_paused = true)]
async fn rule_2_attempt_1000_does_not_overflow() {
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    let response = send(layer().max_attempts(1_001), upstream, get()).await.unwrap();
    assert_eq!(report(&response), (1_001, Some(GiveUp::Exhausted)));
    assert_eq!(log.gaps()[999], 5_000);
}

/// Notes when it is dropped.
struct Watched<'a>(&'a AtomicBool);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_the_failed_response_is_dropped_before_the_wait() {
    let dropped = AtomicBool::new(false);
    let heard = AtomicU32::new(0);
    let layer = layer().on_retry(|_| {
        assert!(dropped.load(Ordering::Relaxed), "dropped before the callback runs");
        heard.fetch_add(1, Ordering::Relaxed);
    });
    let service = layer.layer(tower::service_fn(|_: Request<ReplayBody<Full<bytes::Bytes>>>| {
        let response = Response::builder().status(503).body(Watched(&dropped)).unwrap();
        async { Ok::<_, BoxError>(response) }
    }));
    let mut call = pin!(service.oneshot(get()));
    assert!(poll_once(call.as_mut()).is_pending());
    assert!(dropped.load(Ordering::Relaxed));
    assert_eq!(heard.load(Ordering::Relaxed), 1);
}

#[derive(Debug)]
struct Counted<'a>(&'a AtomicU32);

impl Clone for Counted<'_> {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_the_last_attempt_moves_the_request() {
    for (attempts, copies) in [(1, 0), (2, 1), (3, 2)] {
        let clones = AtomicU32::new(0);
        let calls = AtomicU32::new(0);
        let classifier = classifier_fn(|_: Result<&(), _>| Verdict::transient());
        let layer = RetryLayer::new(classifier).max_attempts(attempts).backoff(Backoff::none()).no_budget();
        let mut service = layer.layer(tower::service_fn(|_: Counted<'_>| {
            calls.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, BoxError>(()) }
        }));
        service.ready().await.unwrap().call(Counted(&clones)).await.unwrap();
        assert_eq!((calls.into_inner(), clones.into_inner()), (attempts, copies));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_with_one_attempt_the_body_goes_through_as_it_is() {
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let body = Chunks::of(["a", "b"]).exact();
    let request = Request::post("/").body(body).unwrap();
    send(layer().max_attempts(1), upstream, request).await.unwrap();
    assert_eq!((log.seen()[0].exact_size, log.bodies()), (Some(2), vec!["ab".into()]));
}

#[tokio::test(start_paused = true)]
async fn rule_3_with_one_attempt_every_kind_of_body_goes_through_and_a_failure_is_final() {
    let trailers = || HeaderMap::from_iter([("checksum".parse().unwrap(), "1f3a".parse().unwrap())]);
    let kinds: [(Chunks, Option<u64>, &str); 5] = [
        (Chunks::default(), None, ""),
        (Chunks::default().exact(), Some(0), ""),
        (Chunks::of(["one ", "two"]), None, "one two"),
        (Chunks::of(["one ", "two"]).exact(), Some(7), "one two"),
        (Chunks::of(["one"]).then(Chunk::Wait(MS)).then(Chunk::Trailers(trailers())), None, "one"),
    ];
    for (number, (body, exact, text)) in kinds.into_iter().enumerate() {
        let upstream = Upstream::new([answer(503), answer(200)]);
        let log = upstream.log();
        let budget = Budget::ratio(0.5).reserve(5);
        let layer = layer().max_attempts(1).budget(budget.clone());
        let request = Request::put("/").body(body).unwrap();
        let response = send(layer, upstream, request).await.unwrap();
        assert_eq!((response.status().as_u16(), RetryReport::of(&response)), (503, None));
        assert_eq!((log.bodies(), log.seen()[0].exact_size), (vec![text.into()], exact), "{number}");
        assert_eq!(log.seen()[0].trailers, (number == 4).then(trailers));
        assert!(log.seen()[0].ended, "{number}");
        assert_eq!((log.seen()[0].attempt, budget.balance()), (1, Some(5.5)));
    }
    let request = Request::put("/").body(Chunks::of(["one"]).then(Chunk::Fail)).unwrap();
    let upstream = Upstream::new([answer(200)]);
    let log = upstream.log();
    let error = send(layer().max_attempts(1), upstream, request).await.unwrap_err();
    assert_eq!((gave_up(&error).attempts(), log.bodies()), (1, vec!["one".into()]));
    assert_eq!(log.seen()[0].body_error.as_deref(), Some("the body is broken"));
}

#[tokio::test(start_paused = true)]
async fn the_kept_request_is_dropped_when_the_call_ends() {
    for (verdict, calls) in [(Verdict::success(), 1), (Verdict::terminal(), 1), (Verdict::transient(), 3)] {
        let request = Arc::new(());
        let count = AtomicU32::new(0);
        let classifier = classifier_fn(|_: Result<&(), _>| verdict);
        let layer = RetryLayer::new(classifier).backoff(Backoff::none()).no_budget();
        let mut service = layer.layer(tower::service_fn(|_: Arc<()>| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, BoxError>(()) }
        }));
        let mut call = pin!(service.ready().await.unwrap().call(Arc::clone(&request)));
        call.as_mut().await.unwrap();
        // The future is still there.
        assert_eq!((count.load(Ordering::Relaxed), Arc::strong_count(&request)), (calls, 1), "{verdict}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_5_a_response_is_returned_unchanged() {
    let upstream = Upstream::new([answer(500), answer(503).header("x-request-id", "two")]);
    let response = send(layer().max_attempts(2), upstream, get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["x-request-id"], "two");
    assert_eq!(report(&response), (2, Some(GiveUp::Exhausted)));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "answer 2");
}

#[tokio::test(start_paused = true)]
async fn rule_5_an_error_is_returned_as_the_source() {
    let upstream = Upstream::new([answer(503), reset()]);
    let error = send(layer().max_attempts(2), upstream, get()).await.unwrap_err();
    let gave_up = gave_up(&error);
    assert_eq!((gave_up.kind(), gave_up.attempts()), (GiveUp::Exhausted, 2));
    assert_eq!(gave_up.verdict().reason(), Reason::RESET);
    assert_eq!(error.to_string(), "gave up after 2 attempts: no attempts left (connection reset)");
    let source = error.downcast::<RetryError>().unwrap().into_source();
    assert_eq!(source.downcast::<std::io::Error>().unwrap().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn rule_5_a_terminal_error_is_reported_as_not_retryable() {
    let upstream = Upstream::new([reset()]);
    let layer = layer().classifier(classifier_fn(|_: Result<&Response<Full<bytes::Bytes>>, _>| Verdict::terminal()));
    let error = send(layer, upstream, get()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::NotRetryable, 1));
    assert_eq!(gave_up(&error).verdict(), Verdict::terminal());
}

#[tokio::test(start_paused = true)]
async fn rule_5_an_earlier_attempt_that_may_have_been_processed_is_reported() {
    for (steps, processed) in [
        ([reset(), refused()], Processed::Maybe),
        ([refused(), refused()], Processed::No),
        ([refused(), reset()], Processed::Maybe),
    ] {
        let error = send(layer().max_attempts(2), Upstream::new(steps), get()).await.unwrap_err();
        assert_eq!(gave_up(&error).verdict().processed(), processed);
        assert_eq!(Verdict::of_error(&*error).processed(), processed);
    }
    for (steps, processed) in [
        ([answer(503), answer(429)], Processed::Maybe),
        ([answer(429), answer(429)], Processed::No),
        ([answer(503), answer(404)], Processed::Yes),
    ] {
        let response = send(layer().max_attempts(2), Upstream::new(steps), get()).await.unwrap();
        assert_eq!(RetryReport::of(&response).unwrap().processed(), processed);
        assert_eq!(Verdict::of(&response).processed(), processed);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_7_an_open_circuit_is_not_retried_unless_the_setting_is_on() {
    let upstream = Upstream::new([circuit_open(), answer(200)]);
    let log = upstream.log();
    let error = send(layer(), upstream, get()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts(), log.calls()), (GiveUp::CircuitOpen, 1, 1));
    assert_eq!(gave_up(&error).verdict().reason(), Reason::CIRCUIT_OPEN);

    let upstream = Upstream::new([circuit_open(), answer(200)]);
    let log = upstream.log();
    let response = send(layer().retry_circuit_open(true), upstream, post("never sent")).await.unwrap();
    assert_eq!((response.status().as_u16(), log.calls()), (200, 2));
}

#[tokio::test(start_paused = true)]
async fn on_retry_is_called_for_every_retry() {
    let heard = Mutex::new(Vec::new());
    let layer = layer().on_retry(|event| {
        heard.lock().unwrap().push((event.attempt(), event.wait().as_millis(), event.verdict().code()));
    });
    let upstream = Upstream::new([answer(503), answer(429), answer(200)]);
    send(layer, upstream, get()).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), [(1, 100, Some(503)), (2, 200, Some(429))]);
}
