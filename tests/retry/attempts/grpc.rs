//! What is different over gRPC: the deadline that a call carries in its headers, and the codes in a report.

use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::classify::{Processed, Reason, Verdict};
use tower_rampart::retry::{Backoff, Deadline, GiveUp, ReplayBodies, ReplayBody, RetryReport};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::*;

type Grpc = RetryLayer<tower_rampart::classify::GrpcClassifier, ReplayBodies<fn(&http::request::Parts) -> bool>>;

fn grpc_layer() -> Grpc {
    fn always(_: &http::request::Parts) -> bool {
        true
    }
    RetryLayer::new_for_grpc()
        .idempotent(always as fn(&http::request::Parts) -> bool)
        .backoff(Backoff::fixed(100 * MS))
        .no_budget()
}

fn pull(timeout: &str) -> Request<Full<Bytes>> {
    Request::post("/billing.Metrics/Pull").header("grpc-timeout", timeout).body(Full::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_grpc_timeout_is_the_deadline_of_the_whole_call() {
    for (timeout, of_layer, elapsed) in
        [("300m", None, 300), ("300m", Some(SECOND), 300), ("3S", Some(SECOND), 1_000), ("3S", None, 3_000)]
    {
        let upstream = Upstream::new([hang()]);
        let log = upstream.log();
        let layer = match of_layer {
            Some(time) => grpc_layer().deadline(time),
            None => grpc_layer(),
        };
        let error = layer.layer(upstream).oneshot(pull(timeout)).await.unwrap_err();
        assert_eq!((gave_up(&error).kind(), log.elapsed().as_millis()), (GiveUp::Deadline, elapsed), "{timeout}");
    }
    // A deadline in the extensions overrides the layer's, and the header may only shorten it.
    for (carried, elapsed) in [(200, 200), (5_000, 300)] {
        let upstream = Upstream::new([hang()]);
        let log = upstream.log();
        let mut request = pull("300m");
        request.extensions_mut().insert(Deadline::within(carried * MS));
        grpc_layer().deadline(9 * SECOND).layer(upstream).oneshot(request).await.unwrap_err();
        assert_eq!(log.elapsed().as_millis(), elapsed);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_every_attempt_sends_what_remains_of_a_grpc_timeout() {
    let seen = Mutex::new(Vec::new());
    let inner = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
        let timeout = request.headers()["grpc-timeout"].to_str().unwrap().to_owned();
        seen.lock().unwrap().push(timeout);
        async {
            tokio::time::sleep(200 * MS).await;
            Ok::<_, BoxError>(Response::builder().header("grpc-status", "14").body(()).unwrap())
        }
    });
    let response = grpc_layer().max_attempts(9).layer(inner).oneshot(pull("1S")).await.unwrap();
    // 200 ms each and 100 ms in between; a fourth attempt would have less time than the third needed.
    let micros: Vec<u32> =
        seen.lock().unwrap().iter().map(|timeout| timeout.strip_suffix('u').unwrap().parse().unwrap()).collect();
    assert_eq!(micros.len(), 3, "{micros:?}");
    for (micros, expected) in micros.iter().zip([1_000_000, 700_000, 400_000]) {
        assert!((expected - 3_000..=expected).contains(micros), "{micros:?}");
    }
    let report = RetryReport::of(&response).unwrap();
    assert_eq!((report.attempts(), report.gave_up()), (3, Some(GiveUp::Deadline)));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_grpc_timeout_and_one_over_http_pass_through_unchanged() {
    let seen = Mutex::new(Vec::new());
    let inner = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
        seen.lock().unwrap().push(request.headers()["grpc-timeout"].to_str().unwrap().to_owned());
        async { Ok::<_, BoxError>(Response::new(())) }
    });
    grpc_layer().layer(inner).oneshot(pull("1.5S")).await.unwrap();
    layer().deadline(SECOND).layer(inner).oneshot(pull("300m")).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["1.5S", "300m"]);
}

/// Over HTTP every 200 is a success; a report must not read a gRPC answer by that table.
#[tokio::test(start_paused = true)]
async fn rule_5_a_retried_answer_keeps_its_grpc_verdict() {
    let codes = Mutex::new(vec!["8", "14"]);
    let inner = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| {
        let code = codes.lock().unwrap().pop().unwrap();
        async move {
            let response = Response::builder().header("grpc-status", code).header("grpc-retry-pushback-ms", "-1");
            Ok::<_, BoxError>(if code == "14" { Response::builder().header("grpc-status", code) } else { response })
                .map(|response| response.body(()).unwrap())
        }
    });
    let response = grpc_layer().layer(inner).oneshot(pull("9S")).await.unwrap();
    let report = RetryReport::of(&response).unwrap();
    let codes: Vec<_> = report.history().iter().map(|sending| (sending.verdict().code(), sending.reason())).collect();
    assert_eq!(codes, [(Some(14), Some(Reason::GRPC)), (Some(8), Some(Reason::GRPC))]);
    assert_eq!((report.gave_up(), report.processed()), (Some(GiveUp::NotRetryable), Processed::Maybe));
    assert_eq!(Verdict::of_grpc(&response).code(), Some(8));
}

/// The source is the error of the earlier attempt, but the code is that of a deadline.
#[cfg(feature = "tonic")]
#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_between_attempts_returns_deadline_exceeded() {
    let inner = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| async {
        Err::<Response<()>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    for (advance, code) in
        [(2 * SECOND, tonic::Code::DeadlineExceeded), (std::time::Duration::ZERO, tonic::Code::Unavailable)]
    {
        let mut call = std::pin::pin!(grpc_layer().max_attempts(99).layer(inner).oneshot(pull("1S")));
        assert!(poll_once(call.as_mut()).is_pending());
        tokio::time::advance(advance).await;
        let error = call.await.unwrap_err();
        assert_eq!(gave_up(&error).kind(), GiveUp::Deadline);
        assert_eq!(tonic::Status::from_error(error).code(), code);
    }
}
