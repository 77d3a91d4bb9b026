//! How a whole call ended, in one word.

use std::collections::HashSet;

use tower_rampart::breaker::{CircuitOpen, State};
use tower_rampart::classify::{Class, ClassifiedError, HttpClassifier, Processed, Verdict, classifier_fn};
use tower_rampart::retry::{self, Backoff, Budget, GiveUp, Outcome, RetryError, RetryPolicy};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::*;

const ALL: [Outcome; 13] = [
    Outcome::Success,
    Outcome::Exhausted,
    Outcome::Terminal,
    Outcome::Ambiguous,
    Outcome::CircuitOpen,
    Outcome::Deadline,
    Outcome::Budget,
    Outcome::NotIdempotent,
    Outcome::BodyNotReplayable,
    Outcome::RetryAfterTooLong,
    Outcome::NotReady,
    Outcome::RetriedAbove,
    Outcome::Transient,
];

#[test]
fn each_has_its_own_word() {
    let words: HashSet<_> = ALL.into_iter().map(Outcome::as_str).collect();
    assert_eq!(words.len(), ALL.len());
    assert_eq!(Outcome::CircuitOpen.to_string(), "circuit_open");
}

/// The outcome of a call through a layer to an upstream that plays these steps.
async fn outcome(
    layer: RetryLayer,
    request: http::Request<http_body_util::Full<bytes::Bytes>>,
    steps: Vec<Step>,
) -> Outcome {
    Outcome::of(&send(layer, Upstream::new(steps), request).await)
}

#[tokio::test(start_paused = true)]
async fn http_responses_show_it_in_their_report() {
    let layer = layer;
    assert_eq!(outcome(layer(), get(), vec![answer(200)]).await, Outcome::Success);
    assert_eq!(outcome(layer(), get(), vec![answer(503), answer(200)]).await, Outcome::Success);
    assert_eq!(outcome(layer(), get(), vec![answer(503)]).await, Outcome::Exhausted);
    assert_eq!(outcome(layer(), get(), vec![answer(404)]).await, Outcome::Terminal);
    assert_eq!(outcome(layer(), get(), vec![answer(503), answer(404)]).await, Outcome::Terminal);
    assert_eq!(outcome(layer(), post("charge"), vec![answer(503)]).await, Outcome::NotIdempotent);
    let late = answer(503).header("retry-after", 3_600);
    assert_eq!(outcome(layer(), get(), vec![late.clone()]).await, Outcome::RetryAfterTooLong);
    assert_eq!(outcome(layer().deadline(50 * MS), get(), vec![answer(503)]).await, Outcome::Deadline);
    assert_eq!(outcome(layer().budget(Budget::ratio(0.0).reserve(0)), get(), vec![answer(503)]).await, Outcome::Budget);
    assert_eq!(outcome(layer().max_attempts(1), get(), vec![answer(503)]).await, Outcome::Transient);
}

#[tokio::test(start_paused = true)]
async fn the_verdict_of_the_layers_own_classifier_counts() {
    let ambiguous = || layer().classifier(HttpClassifier::new().status(409, Class::Ambiguous));
    assert_eq!(outcome(ambiguous(), get(), vec![answer(503), answer(409)]).await, Outcome::Ambiguous);
}

/// What its server refuses may be the copy alone, while the first request goes through.
#[tokio::test(start_paused = true)]
async fn a_keyed_request_that_is_refused_after_one_that_may_have_gone_through_is_ambiguous() {
    let keyed = || {
        let mut request = post("charge");
        request.headers_mut().insert("idempotency-key", http::HeaderValue::from_static("7"));
        request
    };
    let limited = || layer().attempt_timeout(SECOND);
    for first in [hang(), reset()] {
        let upstream = Upstream::new([first.clone(), answer(409)]);
        let result: Result<http::Response<http_body_util::Full<bytes::Bytes>>, BoxError> =
            send(limited(), upstream, keyed()).await;
        assert_eq!(Outcome::of(&result), Outcome::Ambiguous);
        let response = result.unwrap();
        assert_eq!(report(&response), (2, Some(GiveUp::NotRetryable)));
        assert_eq!(retry::RetryReport::of(&response).unwrap().processed(), Processed::Maybe);
        let verdict = Verdict::of(&response);
        assert_eq!((verdict.class(), verdict.processed()), (Class::Terminal, Processed::Maybe));

        let answered = fail(Verdict::terminal());
        let outcome = |steps| outcome(limited(), keyed(), steps);
        assert_eq!(outcome(vec![first.clone(), answered.clone()]).await, Outcome::Ambiguous, "an error");
        assert_eq!(outcome(vec![first.clone(), answer(200)]).await, Outcome::Success);
        assert_eq!(outcome(vec![first.clone(), refused(), answer(409)]).await, Outcome::Ambiguous);
        assert_eq!(outcome(vec![refused(), answer(409)]).await, Outcome::Terminal, "the first was not processed");
    }
    assert_eq!(outcome(limited(), put("row"), vec![reset(), answer(409)]).await, Outcome::Terminal, "without a key");
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_layer_show_it() {
    assert_eq!(outcome(layer(), get(), vec![reset()]).await, Outcome::Exhausted);
    assert_eq!(outcome(layer(), post("charge"), vec![reset()]).await, Outcome::NotIdempotent);
    assert_eq!(outcome(layer(), get(), vec![circuit_open()]).await, Outcome::CircuitOpen);
    assert_eq!(outcome(layer(), get(), vec![fail(Verdict::ambiguous())]).await, Outcome::Ambiguous);
    assert_eq!(outcome(layer(), get(), vec![fail(Verdict::terminal())]).await, Outcome::Terminal);
    assert_eq!(outcome(layer().deadline(SECOND), get(), vec![hang()]).await, Outcome::Deadline);
    let forbidden = fail(Verdict::transient().with_should_retry(false));
    assert_eq!(outcome(layer(), get(), vec![forbidden]).await, Outcome::Transient);
}

#[test]
fn without_a_retry_layer_the_verdict_on_the_error_counts() {
    let of = |error: BoxError| Outcome::of::<(), _>(&Err(error));
    assert_eq!(of(CircuitOpen::new("billing", State::Open).into()), Outcome::CircuitOpen);
    assert_eq!(of(ClassifiedError::new(Verdict::terminal()).into()), Outcome::Terminal);
    assert_eq!(of("unknown".into()), Outcome::Transient);
    let kinds = [
        (GiveUp::BodyNotReplayable, Outcome::BodyNotReplayable),
        (GiveUp::NotReady, Outcome::NotReady),
        (GiveUp::CircuitOpen, Outcome::CircuitOpen),
        (GiveUp::Exhausted, Outcome::Exhausted),
        (GiveUp::Deadline, Outcome::Deadline),
        (GiveUp::Budget, Outcome::Budget),
        (GiveUp::NotIdempotent, Outcome::NotIdempotent),
        (GiveUp::RetryAfterTooLong, Outcome::RetryAfterTooLong),
        (GiveUp::RetriedAbove, Outcome::RetriedAbove),
        // The verdict on the error decides, and an unknown one is transient.
        (GiveUp::NotRetryable, Outcome::Transient),
        (GiveUp::BodyFailed, Outcome::Transient),
    ];
    for (kind, outcome) in kinds {
        assert_eq!(of(RetryError::new(kind, 1, "down").into()), outcome);
        assert_eq!(of(std::io::Error::other(RetryError::new(kind, 1, "down")).into()), outcome, "in a chain");
    }
    let response = http::Response::builder().header("grpc-status", "14").body(()).unwrap();
    assert_eq!(Outcome::of_grpc(&Ok::<_, BoxError>(response)), Outcome::Transient);
}

#[test]
fn a_function_shows_it_too() {
    let policy = RetryPolicy::new().backoff(Backoff::none());
    let outcome = |result: Result<u32, &str>| Outcome::of_call(&retry::call_blocking(&policy, || result));
    assert_eq!(outcome(Ok(7)), Outcome::Success);
    assert_eq!(outcome(Err("down")), Outcome::Exhausted);
    // A value of any type has no place for a verdict.
    let rejects = policy.clone().classifier(classifier_fn(|_: Result<&u32, _>| Verdict::terminal()));
    assert_eq!(Outcome::of_call(&retry::call_blocking(&rejects, || Ok::<_, BoxError>(7))), Outcome::Success);
}
