//! Rule 5: the content of a report, and when there is one.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::classify::{HttpClassifier, Processed, Reason, Verdict, classifier_fn};
use tower_rampart::retry::{Backoff, Budget, Deadline, GiveUp, ReplayBody, RetryError, RetryReport};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn rule_5_a_first_retry_that_was_wanted_and_denied_is_reported() {
    let large = || Request::put("/").body(Full::from(Bytes::from(vec![7; 70_000]))).unwrap();
    let empty = Budget::ratio(0.0).reserve(0);
    for (layer, step, request, kind) in [
        (layer().budget(empty), answer(503), get(), GiveUp::Budget),
        (layer(), answer(503), post("5 euros"), GiveUp::NotIdempotent),
        (layer(), answer(503).header("retry-after", 3_600), get(), GiveUp::RetryAfterTooLong),
        (layer(), answer(503), large(), GiveUp::BodyNotReplayable),
        (layer().deadline(50 * MS), answer(503), get(), GiveUp::Deadline),
    ] {
        let response = send(layer, Upstream::new([step]), request).await.unwrap();
        let report = RetryReport::of(&response).unwrap();
        assert_eq!((report.attempts(), report.gave_up(), report.processed()), (1, Some(kind), Processed::Maybe));
        let [only] = report.history() else { panic!("{report:?}") };
        assert_eq!((only.attempt(), only.verdict().code(), only.wait()), (1, Some(503), None));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_5_nothing_is_reported_where_no_retry_was_wanted() {
    for (layer, status) in [(layer(), 200), (layer(), 404), (layer(), 501), (layer().max_attempts(1), 503)] {
        let response = send(layer, Upstream::new([answer(status)]), get()).await.unwrap();
        assert_eq!(RetryReport::of(&response), None, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_5_a_report_lists_every_send_with_verdict_proof_and_wait() {
    let upstream = Upstream::new([answer(503), answer(429), answer(200)]);
    let response = send(layer(), upstream, get()).await.unwrap();
    let report = RetryReport::of(&response).unwrap();
    let history: Vec<_> =
        report.history().iter().map(|sending| (sending.verdict().code(), sending.proof(), sending.wait())).collect();
    assert_eq!(
        history,
        [(Some(503), None, Some(100 * MS)), (Some(429), Some(Reason::STATUS), Some(200 * MS)), (None, None, None),]
    );
    // A success has no reason, not one that is unknown.
    assert_eq!(report.history()[2].reason(), None);

    let error = send(layer().max_attempts(2), Upstream::new([answer(503), reset()]), get()).await.unwrap_err();
    let history: Vec<_> =
        gave_up(&error).report().history().iter().map(|sending| (sending.reason(), sending.wait())).collect();
    assert_eq!(history, [(Some(Reason::STATUS), Some(100 * MS)), (Some(Reason::RESET), None)]);
}

#[tokio::test(start_paused = true)]
async fn rule_5_a_history_keeps_the_latest_64_sends() {
    let layer = layer().max_attempts(1_000).backoff(Backoff::none());
    let response = send(layer, Upstream::new([answer(503)]), get()).await.unwrap();
    let report = RetryReport::of(&response).unwrap();
    let attempts: Vec<_> = report.history().iter().map(|sending| sending.attempt()).collect();
    assert_eq!(attempts, (937..=1_000).collect::<Vec<_>>());
    assert_eq!(report.attempts(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn rule_5_a_layer_that_clones_bodies_reports_numbers_and_honours_deadlines_too() {
    let mine = HttpClassifier::new().status(404, Verdict::transient());
    let layer = || {
        RetryLayer::new_for_http().classifier(mine.clone()).clone_bodies().backoff(Backoff::fixed(100 * MS)).no_budget()
    };
    let upstream = Upstream::new([answer(404), answer(200)]);
    let log = upstream.log();
    // The inner service sees the caller's own body.
    let inner = service_fn(move |request: Request<Full<Bytes>>| upstream.clone().oneshot(request));
    let response = layer().layer(inner.clone()).oneshot(put("metrics")).await.unwrap();
    assert_eq!(report(&response), (2, None));
    assert_eq!(log.bodies(), ["metrics", "metrics"]);
    assert_eq!(log.seen().iter().map(|seen| seen.attempt).collect::<Vec<_>>(), [1, 2]);

    let upstream = Upstream::new([hang()]);
    let mut request = get();
    request.extensions_mut().insert(Deadline::within(SECOND));
    let error: BoxError = layer().layer(upstream).oneshot(request).await.unwrap_err();
    assert_eq!(gave_up(&error).kind(), GiveUp::Deadline);

    let upstream = Upstream::new([answer(503)]);
    let response = layer().layer(upstream).oneshot(post("5 euros")).await.unwrap();
    assert_eq!(report(&response), (1, Some(GiveUp::NotIdempotent)));
}

#[tokio::test(start_paused = true)]
async fn rule_5_the_source_is_the_error_of_the_last_attempt_itself() {
    // An earlier attempt may have been processed and the last one was not, so the verdict is not that of the last
    // error.
    let last = std::io::Error::other("the last");
    let classifier = classifier_fn(|outcome: Result<&(), &(dyn std::error::Error + 'static)>| match outcome {
        Ok(()) => Verdict::success(),
        Err(error) if error.to_string() == "the last" => Verdict::transient().with_processed(Processed::No),
        Err(_) => Verdict::transient(),
    });
    let errors = std::sync::Mutex::new(vec![last, std::io::Error::other("the first")]);
    let inner = service_fn(|(): ()| {
        let error = errors.lock().unwrap().pop().unwrap();
        async { Err::<(), _>(error) }
    });
    let error = RetryLayer::new(classifier).max_attempts(2).layer(inner).oneshot(()).await.unwrap_err();
    assert_eq!(Verdict::of_error(&*error).processed(), Processed::Maybe);
    let source = error.downcast::<RetryError>().unwrap().into_source();
    assert_eq!(source.downcast::<std::io::Error>().unwrap().to_string(), "the last");
}

#[tokio::test(start_paused = true)]
async fn the_last_or_only_attempt_also_reports_a_failed_body() {
    let failing = || Request::put("/").body(Chunks::of(["one"]).then(Chunk::Fail)).unwrap();
    // The first attempt reads nothing of the body; the last one fails on it.
    let upstream = Upstream::new([refused(), answer(200)]);
    let error = send::<_, _, _, Response<Full<Bytes>>>(layer().max_attempts(2), upstream, failing()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::BodyFailed, 2));
    assert_eq!(gave_up(&error).verdict().reason(), Reason::USER);
}

/// A server may answer before it has read the whole body. The answer is the outcome, even if the body fails afterwards.
#[tokio::test(start_paused = true)]
async fn rule_5_an_answer_keeps_its_verdict_if_the_request_body_failed() {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let inner = service_fn(|request: Request<ReplayBody<Chunks>>| {
        let is_first = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        async move {
            if !is_first {
                request.into_body().collect().await.map(drop).unwrap_err();
            }
            Ok::<_, BoxError>(Response::builder().status(if is_first { 429 } else { 404 }).body(()).unwrap())
        }
    });
    let failing = Request::put("/").body(Chunks::of(["one"]).then(Chunk::Fail)).unwrap();
    let response = layer().layer(inner).oneshot(failing).await.unwrap();
    assert_eq!(report(&response), (2, Some(GiveUp::NotRetryable)));
    let last = RetryReport::of(&response).unwrap().history()[1].verdict();
    assert_eq!((last.code(), last.processed()), (Some(404), Processed::Yes));
}
