//! Rule 12: tiers of retries do not multiply each other.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::classify::{GrpcClassifier, HttpClassifier, Processed, Verdict};
use tower_rampart::retry::{
    Backoff, DeadlineHeader, GiveUp, InboundRetries, ReplayBodies, ReplayBody, RetryError, RetryGuard, RetryReport,
    StopRetries,
};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::*;

type Tier = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;

/// What the tiers of a system do against amplification.
#[derive(Clone, Copy, Debug)]
struct Care {
    /// The most tiers above that may retry.
    guard: Option<u32>,
    /// Whether servers read the marks of their callers.
    reads: bool,
    /// Whether servers mark their answers.
    stops: bool,
}

const NONE: Care = Care { guard: None, reads: false, stops: false };
const DOWN: Care = Care { guard: Some(1), reads: true, stops: false };

fn tune<C, I>(
    layer: RetryLayer<C, ReplayBodies<I>>,
    care: Care,
) -> RetryLayer<C, tower_rampart::retry::CloneBodies<I>> {
    let layer = layer.backoff(Backoff::fixed(10 * MS)).no_budget();
    match care.guard {
        Some(depth) => layer.guard(RetryGuard::new().max_depth(depth)),
        None => layer,
    }
    .clone_bodies()
}

/// A client of the next tier, with three attempts.
fn client(next: Tier, care: Care, is_grpc: bool) -> Tier {
    if is_grpc {
        let layer = RetryLayer::new_for_grpc().idempotent(|_| true);
        BoxCloneSyncService::new(tune(layer, care).layer(next))
    } else {
        BoxCloneSyncService::new(tune(RetryLayer::new_for_http(), care).layer(next))
    }
}

fn failed(is_grpc: bool) -> Response<Full<Bytes>> {
    let failed = if is_grpc {
        Response::builder().header("content-type", "application/grpc").header("grpc-status", "14")
    } else {
        Response::builder().status(503)
    };
    failed.body(Full::default()).unwrap()
}

fn success() -> Response<Full<Bytes>> {
    Response::builder().header("grpc-status", "0").body(Full::default()).unwrap()
}

/// A server that calls the next tier through a client, and fails if that call fails.
fn tier(next: Tier, care: Care, is_grpc: bool) -> Tier {
    let client = client(next, care, is_grpc);
    BoxCloneSyncService::new(service_fn(move |inbound: Request<Full<Bytes>>| {
        let mut outbound = request(is_grpc);
        if care.reads {
            outbound.extensions_mut().insert(InboundRetries::from_headers(inbound.headers()));
        }
        let call = client.clone().oneshot(outbound);
        async move {
            let outcome = call.await;
            let has_failed = match &outcome {
                Ok(response) if is_grpc => !Verdict::of_grpc(response).is_success(),
                Ok(response) => !response.status().is_success(),
                Err(_) => true,
            };
            let mut answer = if has_failed { failed(is_grpc) } else { success() };
            match StopRetries::after(&outcome) {
                Some(stop) if care.stops && is_grpc => stop.mark_grpc(answer.headers_mut()),
                Some(stop) if care.stops => stop.mark_http(answer.headers_mut()),
                _ => {}
            }
            Ok(answer)
        }
    }))
}

fn request(is_grpc: bool) -> Request<Full<Bytes>> {
    if is_grpc { post("").map(|_| Full::default()) } else { get() }
}

/// How often the bottom of three tiers is called, if its first `failures` calls fail, and whether the call succeeded.
async fn calls(care: Care, is_grpc: bool, failures: usize) -> (usize, bool) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let bottom = Tier::new(service_fn(move |_| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        ready(Ok(if number < failures { failed(is_grpc) } else { success() }))
    }));
    let top = client(tier(tier(bottom, care, is_grpc), care, is_grpc), care, is_grpc);
    let response = top.oneshot(request(is_grpc)).await.unwrap();
    let verdict = if is_grpc { Verdict::of_grpc(&response) } else { Verdict::of(&response) };
    (count.load(Ordering::Relaxed), verdict.is_success())
}

#[tokio::test(start_paused = true)]
async fn rule_12_three_tiers_of_three_attempts_make_five_calls_and_not_27() {
    for is_grpc in [false, true] {
        for (care, expected) in [
            (NONE, 27),
            (DOWN, 5),
            // Only the uppermost tier retries.
            (Care { guard: Some(0), ..DOWN }, 3),
            // Every tier retries the first attempts of the one above.
            (Care { guard: Some(9), ..DOWN }, 7),
            // The tier that has retried in vain says so.
            (Care { stops: true, ..DOWN }, 3),
            (Care { guard: Some(9), stops: true, ..DOWN }, 3),
            (Care { stops: true, ..NONE }, 3),
            // A guard that is told nothing trusts nothing.
            (Care { reads: false, ..DOWN }, 27),
        ] {
            assert_eq!(calls(care, is_grpc, usize::MAX).await, (expected, false), "{care:?}, gRPC: {is_grpc}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_12_a_call_that_fails_once_or_twice_succeeds_all_the_same() {
    for is_grpc in [false, true] {
        for care in [NONE, DOWN, Care { stops: true, ..DOWN }] {
            for failures in 0..3 {
                assert_eq!(calls(care, is_grpc, failures).await, (failures + 1, true), "{care:?}, gRPC: {is_grpc}");
            }
        }
    }
}

fn guarded() -> RetryLayer {
    layer().guard(RetryGuard::new())
}

fn inbound(marks: &[(&'static str, &'static str)]) -> Request<Full<Bytes>> {
    let headers: HeaderMap =
        marks.iter().map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())).collect();
    let mut request = get();
    request.extensions_mut().insert(InboundRetries::from_headers(&headers));
    request
}

#[tokio::test(start_paused = true)]
async fn rule_12_an_inbound_retry_or_too_many_tiers_make_one_attempt() {
    let rubbish: &[_] = &[("x-retry-attempt", "many"), ("x-envoy-attempt-count", "-7"), ("x-retry-depth", "")];
    for (marks, attempts) in [
        (&[][..], 3),
        (&[("x-retry-attempt", "1"), ("x-retry-depth", "1")], 3),
        (&[("x-retry-attempt", "2")], 1),
        (&[("x-envoy-attempt-count", "2")], 1),
        (&[("grpc-previous-rpc-attempts", "1")], 1),
        (&[("x-retry-depth", "2")], 1),
        (rubbish, 3),
    ] {
        let upstream = Upstream::new([answer(503)]);
        let log = upstream.log();
        let response = send(guarded(), upstream, inbound(marks)).await.unwrap();
        let kind = if attempts == 1 { GiveUp::RetriedAbove } else { GiveUp::Exhausted };
        assert_eq!((report(&response), log.calls()), ((attempts, Some(kind)), attempts as usize), "{marks:?}");
        // A tier that has not retried leaves it to its callers.
        assert_eq!(StopRetries::after_response(&response).is_some(), attempts == 3);

        // Without a guard the marks mean nothing.
        let upstream = Upstream::new([answer(503)]);
        assert_eq!(report(&send(layer(), upstream, inbound(marks)).await.unwrap()).0, 3);
    }
    let name = http::HeaderName::from_static("x-acme-attempt");
    let headers = HeaderMap::from_iter([(name.clone(), "3".parse().unwrap())]);
    assert_eq!(RetryGuard::new().attempt_header(name).inbound(&headers).attempt(), 3);
    assert_eq!(InboundRetries::from_headers(&headers).attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn rule_12_what_was_not_processed_is_sent_again_even_for_an_inbound_retry() {
    let retry = || inbound(&[("x-retry-attempt", "2")]);
    let upstream = Upstream::new([refused(), refused(), answer(200)]);
    let response = send(guarded(), upstream, retry()).await.unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (200, (3, None)));
    let upstream = Upstream::new([refused(), reset(), answer(200)]);
    let error = send(guarded(), upstream, retry()).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::RetriedAbove, 2));
    assert_eq!(error.to_string(), "gave up after 2 attempts: tiers above retry the call (connection reset)");
    // A transparent retry costs no attempt.
    let given_back = given_back(tower_rampart::classify::Reason::REFUSED_STREAM, Processed::Maybe);
    let response = send(guarded(), Upstream::new([given_back, answer(200)]), retry()).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// A 429 proves that nothing was processed, but it comes from a server that has too much to do.
#[tokio::test(start_paused = true)]
async fn rule_12_what_a_server_refused_is_not_sent_again_for_an_inbound_retry() {
    for status in [421, 425, 429] {
        let (first, retry) = (inbound(&[]), inbound(&[("x-retry-attempt", "2")]));
        for (request, expected) in [(first, (3, Some(GiveUp::Exhausted))), (retry, (1, Some(GiveUp::RetriedAbove)))] {
            let upstream = Upstream::new([answer(status)]);
            let log = upstream.log();
            let response = send(guarded(), upstream, request).await.unwrap();
            assert_eq!((report(&response), log.calls()), (expected, expected.0 as usize), "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_12_every_attempt_carries_its_marks() {
    async fn marks<C, I>(layer: RetryLayer<C, ReplayBodies<I>>, mut request: Request<Full<Bytes>>) -> Vec<String>
    where
        C: tower_rampart::classify::Classifier<Response<()>> + Clone,
        I: tower_rampart::retry::Idempotency<http::request::Parts> + Clone,
    {
        let seen = Mutex::new(Vec::new());
        let inner = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
            let text = |name| request.headers().get(name).map_or("-", |value| value.to_str().unwrap());
            let [attempt, depth] = [text("x-retry-attempt"), text("x-retry-depth")];
            seen.lock().unwrap().push(format!("{attempt} {depth} {}", text("grpc-previous-rpc-attempts")));
            ready(Ok::<_, BoxError>(Response::builder().status(503).body(()).unwrap()))
        });
        // What a proxy passed on is replaced.
        request.headers_mut().insert("x-retry-attempt", "77".parse().unwrap());
        request.headers_mut().insert("x-retry-depth", "77".parse().unwrap());
        let _ = layer.backoff(Backoff::none()).no_budget().layer(inner).oneshot(request).await;
        seen.into_inner().unwrap()
    }
    let guard = RetryGuard::new;
    assert_eq!(marks(guarded(), get()).await, ["1 1 -", "2 1 -", "3 1 -"]);
    assert_eq!(marks(guarded(), inbound(&[("x-retry-depth", "1")])).await, ["1 2 -", "2 2 -", "3 2 -"]);
    assert_eq!(marks(guarded(), inbound(&[("x-retry-depth", "2")])).await, ["1 2 -"]);
    assert_eq!(marks(guarded(), inbound(&[("x-envoy-attempt-count", "4")])).await, ["4 0 -"]);
    assert_eq!(marks(guarded().max_attempts(1), get()).await, ["1 0 -"]);
    assert_eq!(marks(layer(), get()).await, ["77 77 -"; 3]);
    let grpc = RetryLayer::new_for_grpc().guard(guard()).idempotent(|_| true);
    assert_eq!(marks(grpc, request(true)).await, ["1 1 -", "2 1 1", "3 1 2"]);
}

#[tokio::test(start_paused = true)]
async fn rule_12_an_answer_asks_callers_not_to_retry_unless_it_is_theirs_to_retry() {
    let after = |layer: RetryLayer, steps: Vec<Step>, request| async move {
        StopRetries::after(&send(layer, Upstream::new(steps), request).await).is_some()
    };
    assert!(!after(layer(), vec![answer(200)], get()).await);
    assert!(!after(layer(), vec![answer(503), answer(200)], get()).await);
    assert!(!after(layer(), vec![answer(404)], get()).await);
    assert!(after(layer(), vec![answer(503)], get()).await);
    assert!(after(layer(), vec![reset()], get()).await);
    assert!(after(layer(), vec![answer(503)], post("charge")).await);
    assert!(after(layer(), vec![circuit_open()], get()).await);
    assert!(after(layer(), vec![answer(503).header("x-should-retry", false)], get()).await);
    assert!(after(layer(), vec![answer(503).header("retry-after", 3_600)], get()).await);
    assert!(after(layer().deadline(SECOND), vec![hang()], get()).await);
    // A single attempt is no retry.
    assert!(!after(layer().max_attempts(1), vec![answer(503)], get()).await);
    assert!(!after(layer().max_attempts(1), vec![reset()], get()).await);
    let other: Result<Response<()>, BoxError> = Err("not of a retry layer".into());
    assert_eq!(StopRetries::after(&other), None);
    for kind in [GiveUp::BodyFailed, GiveUp::BodyNotReplayable, GiveUp::NotReady, GiveUp::RetriedAbove] {
        assert_eq!(StopRetries::after_error(&RetryError::new(kind, 2, "down")), None, "{kind}");
    }

    let mut headers = HeaderMap::new();
    let stop = StopRetries::after_error(&RetryError::new(GiveUp::Budget, 1, "down")).unwrap();
    stop.mark_http(&mut headers);
    stop.mark_grpc(&mut headers);
    let mut response = failed(false);
    response.headers_mut().extend(headers.clone());
    let http = tower_rampart::classify::Classifier::classify(&HttpClassifier::new(), Ok(&response));
    assert_eq!(http.should_retry(), Some(false));
    let mut response = failed(true);
    headers.remove("x-should-retry");
    response.headers_mut().extend(headers);
    let grpc = tower_rampart::classify::Classifier::classify(&GrpcClassifier::new(), Ok(&response));
    assert_eq!(grpc.should_retry(), Some(false));
    assert!(StopRetries::after_response(&response).is_some());
}

#[tokio::test(start_paused = true)]
async fn rule_12_bodies_that_are_cloned_get_the_headers_too() {
    let layer = layer().clone_bodies().guard(RetryGuard::new()).deadline(SECOND);
    let layer = layer.deadline_header(DeadlineHeader::seconds("x-timeout"));
    let inner = service_fn(|request: Request<Full<Bytes>>| {
        let headers = ["x-retry-attempt", "x-retry-depth", "x-timeout"].map(|name| request.headers()[name].clone());
        assert_eq!(headers, ["1", "1", "1"]);
        ready(Ok::<_, BoxError>(Response::new(())))
    });
    layer.layer(inner).oneshot(get()).await.unwrap();
}

/// Serves a tier on a socket and returns a client of it.
async fn over_a_socket(tier: Tier) -> Tier {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tier = tier.clone();
            let handler = hyper::service::service_fn(move |request: Request<Incoming>| {
                let answer = tier.clone().oneshot(request.map(|_| Full::default()));
                async move { Ok::<_, Infallible>(answer.await.unwrap()) }
            });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), handler).await;
            });
        }
    });
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    Tier::new(service_fn(move |mut request: Request<Full<Bytes>>| {
        *request.uri_mut() = format!("http://{address}/").parse().unwrap();
        let answer = client.request(request);
        async move { Ok(answer.await?.map(|_| Full::default())) }
    }))
}

#[tokio::test]
async fn rule_12_three_tiers_on_sockets_make_five_calls_or_three() {
    for (care, expected) in [(NONE, 27), (DOWN, 5), (Care { stops: true, ..DOWN }, 3)] {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let bottom = over_a_socket(Tier::new(service_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            ready(Ok(failed(false)))
        })))
        .await;
        let b = over_a_socket(tier(bottom, care, false)).await;
        let a = over_a_socket(tier(b, care, false)).await;
        let response = client(a, care, false).oneshot(get()).await.unwrap();
        assert_eq!((response.status().as_u16(), count.load(Ordering::Relaxed)), (503, expected), "{care:?}");
        let attempts = RetryReport::of(&response).map_or(1, RetryReport::attempts);
        assert_eq!(attempts, if care.stops { 1 } else { 3 });
    }
}
