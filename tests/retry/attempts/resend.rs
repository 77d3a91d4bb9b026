//! Rule 1, transparent retries: what an established connection gives back goes out again at once and for free, once.

use std::sync::Mutex;
use std::time::Duration;

use tower_rampart::classify::{HttpClassifier, Processed, Reason, Verdict};
use tower_rampart::retry::{Backoff, Budget, GiveUp, RetryReport};

use crate::support::*;

const GIVEN_BACK: [Reason; 4] = [Reason::REFUSED_STREAM, Reason::GOAWAY, Reason::CANCELED, Reason::DISPATCH_GONE];

#[tokio::test(start_paused = true)]
async fn rule_1_a_transparent_retry_costs_no_token_no_attempt_and_no_wait() {
    for reason in GIVEN_BACK {
        let upstream = Upstream::new([given_back(reason, Processed::Maybe), answer(503), answer(200)]);
        let log = upstream.log();
        let budget = Budget::ratio(0.0).reserve(1);
        let response = send(layer().max_attempts(2).budget(budget.clone()), upstream, get()).await.unwrap();
        // The 503 took the only token, the only further attempt and the only wait.
        assert_eq!((response.status().as_u16(), report(&response)), (200, (2, None)), "{reason}");
        assert!(matches!(log.gaps()[..], [0, 100..=101]), "{reason}: {:?}", log.gaps());
        assert_eq!(log.seen().iter().map(|seen| seen.attempt).collect::<Vec<_>>(), [1, 1, 2], "{reason}");
        assert_eq!(budget.balance(), Some(0.0));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_second_transparent_retry_costs_a_token_and_an_attempt() {
    let twice = || [(); 2].map(|()| given_back(Reason::GOAWAY, Processed::Maybe));
    let upstream = Upstream::new(twice().into_iter().chain([answer(200)]));
    let log = upstream.log();
    let budget = Budget::ratio(0.0).reserve(1);
    let response = send(layer().budget(budget.clone()), upstream, get()).await.unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (200, (2, None)));
    assert!(matches!(log.gaps()[..], [0, 100..=101]), "{:?}", log.gaps());
    assert_eq!(budget.balance(), Some(0.0));

    // Nor does a failure in between make it free again.
    let upstream = Upstream::new([
        given_back(Reason::GOAWAY, Processed::Maybe),
        answer(503),
        given_back(Reason::GOAWAY, Processed::Maybe),
        answer(200),
    ]);
    let log = upstream.log();
    let response = send(layer(), upstream, get()).await.unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (200, (3, None)));
    assert_eq!(log.gaps().len(), 3);

    let upstream = Upstream::new(twice());
    let log = upstream.log();
    let error = send(layer().budget(Budget::ratio(0.0).reserve(0)), upstream, get()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts(), log.calls()), (GiveUp::Budget, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_post_is_resent_only_with_proof_that_it_was_not_processed() {
    for reason in GIVEN_BACK {
        for (processed, calls) in [(Processed::No, 2), (Processed::Maybe, 1)] {
            let upstream = Upstream::new([given_back(reason, processed), answer(200)]);
            let log = upstream.log();
            let outcome: Result<http::Response<http_body_util::Full<bytes::Bytes>>, _> =
                send(layer(), upstream, post("5 euros")).await;
            assert_eq!((outcome.is_ok(), log.calls()), (calls == 2, calls), "{reason} {processed:?}");
            if let Err(error) = outcome {
                assert_eq!(gave_up(&error).kind(), GiveUp::NotIdempotent);
            } else {
                assert_eq!(log.bodies()[1], "5 euros");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_distrusted_refusal_proves_nothing() {
    for (request, calls) in [(post("5 euros"), 1), (put("5 euros"), 2)] {
        let upstream = Upstream::new([given_back(Reason::REFUSED_STREAM, Processed::No), answer(200)]);
        let log = upstream.log();
        let _ = send::<_, _, _, http::Response<http_body_util::Full<bytes::Bytes>>>(
            layer().distrust_refusals(),
            upstream,
            request,
        )
        .await;
        assert_eq!(log.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_refused_connection_is_no_transparent_retry() {
    for reason in [Reason::CONNECT, Reason::DNS, Reason::TLS, Reason::RESET, Reason::INCOMPLETE, Reason::TIMEOUT] {
        let upstream = Upstream::new([given_back(reason, Processed::No), answer(200)]);
        let log = upstream.log();
        let response = send(layer(), upstream, get()).await.unwrap();
        assert_eq!(report(&response), (2, None), "{reason}");
        assert!(matches!(log.gaps()[..], [100..=101]), "{reason}: {:?}", log.gaps());
    }
}

/// Only what a connection gives back is unanswered. A verdict of the user's may give an answer any reason.
#[tokio::test(start_paused = true)]
async fn rule_1_an_answer_is_never_resent_for_free_whatever_its_reason() {
    for reason in GIVEN_BACK {
        let given_back = Verdict::transient().with_processed(Processed::No).with_reason(reason);
        let classifier = HttpClassifier::new().status(503, given_back);
        let upstream = Upstream::new([answer(503), answer(200)]);
        let log = upstream.log();
        let response = send(layer().classifier(classifier), upstream, get()).await.unwrap();
        assert_eq!(report(&response), (2, None), "{reason}");
        assert!(matches!(log.gaps()[..], [100..=101]), "{reason}: {:?}", log.gaps());
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_single_attempt_keeps_nothing_to_resend() {
    let upstream = Upstream::new([given_back(Reason::GOAWAY, Processed::No), answer(200)]);
    let log = upstream.log();
    let error = send(layer().max_attempts(1), upstream, get()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), log.calls()), (GiveUp::Exhausted, 1));
}

#[tokio::test(start_paused = true)]
async fn rule_5_a_resend_is_reported_and_observed_as_such() {
    let seen = Mutex::new(Vec::new());
    let layer = layer().backoff(Backoff::none()).on_retry(|event| {
        seen.lock().unwrap().push((event.attempt(), event.is_resend(), event.wait()));
    });
    let steps = [given_back(Reason::REFUSED_STREAM, Processed::No), answer(503), answer(200)];
    let response = send(layer, Upstream::new(steps), get()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(1, true, Duration::ZERO), (1, false, Duration::ZERO)]);
    let history = RetryReport::of(&response).unwrap().history();
    let attempts: Vec<_> =
        history.iter().map(|sending| (sending.attempt(), sending.reason(), sending.proof())).collect();
    let refused = Some(Reason::REFUSED_STREAM);
    assert_eq!(attempts, [(1, refused, refused), (1, Some(Reason::STATUS), None), (2, None, None)]);
}
