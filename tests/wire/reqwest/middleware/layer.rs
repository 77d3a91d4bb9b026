//! One layer or a whole stack in `ClientBuilder::with`.

use std::time::Duration;

use reqwest::Client;
use reqwest_middleware::{Error, RequestBuilder};
use tokio::time::Instant;
use tower::ServiceBuilder;
use tower::limit::ConcurrencyLimitLayer;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitOpen, State, partition};
use tower_rampart::classify::{Class, Reason, Verdict};
use tower_rampart::clients::reqwest_middleware::LayerMiddleware;
use tower_rampart::retry::{Budget, Deadline, GiveUp, Hedge, RetryError, RetryReport};

use super::super::service::{breaker, retry};
use super::super::upstream::{Act, Upstream, answer};
use super::client_with;
use crate::kit::find;

#[tokio::test]
async fn a_503_is_followed_by_a_success() {
    let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
    let client = client_with(LayerMiddleware::new(retry()));
    let response = client.get(format!("{}?page=2", upstream.url())).send().await.unwrap();
    assert_eq!(response.extensions().get::<RetryReport>().unwrap().attempts(), 2);
    assert_eq!(response.url().as_str(), format!("{}?page=2", upstream.url()));
    assert_eq!(upstream.lines(), ["get /?page=2 http/1.1"; 2]);
    assert_eq!((response.status().as_u16(), response.bytes().await.unwrap().len()), (200, 0));
}

#[tokio::test]
async fn rule_1_a_post_is_not_repeated_after_it_was_processed() {
    let upstream = Upstream::answers([Act::Reset]).await;
    let client = client_with(LayerMiddleware::new(retry()));
    let error = client.post(upstream.url()).body("4711").send().await.unwrap_err();
    assert_eq!(RetryError::find(&error).unwrap().kind(), GiveUp::NotIdempotent);
    assert_eq!(upstream.count(), 1);
}

/// The retries of reqwest-retry return an error for a body that cannot be cloned.
#[tokio::test]
async fn rule_8_a_stream_is_replayed_and_one_over_the_cap_is_sent_once() {
    for (cap, sent) in [(64 * 1024, 2), (10, 1)] {
        let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
        let client = client_with(LayerMiddleware::new(retry().max_replay_bytes(cap)));
        let stream = http_body_util::Full::new(bytes::Bytes::from_static(b"hello world"));
        let response = client.put(upstream.url()).body(reqwest::Body::wrap(stream)).send().await.unwrap();
        assert_eq!((response.status().as_u16(), upstream.count()), (if sent == 2 { 200 } else { 503 }, sent));
        assert!(upstream.seen().iter().all(|seen| seen.body == b"hello world"));
    }
}

#[tokio::test]
async fn the_calls_of_a_client_and_its_clones_share_breaker_and_budget() {
    let upstream = Upstream::start(|_, _| answer("500 Oops")).await;
    let breaker = breaker();
    let breakers = breaker.handle();
    let client = client_with(LayerMiddleware::new(breaker));
    client.clone().get(upstream.url()).send().await.unwrap();
    client.get(upstream.url()).send().await.unwrap();
    assert_eq!(breakers.default_partition().state(), State::Open);
    let error = client.get(upstream.url()).send().await.unwrap_err();
    assert_eq!(CircuitOpen::find(&error).unwrap().name(), "billing");
    assert_eq!(upstream.count(), 2);

    // One token to start with.
    let retry = retry().budget(Budget::ratio(0.2).reserve(1));
    let client = client_with(LayerMiddleware::new(retry));
    for _ in 0..3 {
        client.clone().get(upstream.url()).send().await.unwrap();
    }
    assert_eq!(upstream.count(), 2 + 3 + 1);
}

#[tokio::test]
async fn a_failing_tenant_opens_its_own_circuit_alone() {
    let script = |_, head: &str| answer(if head.contains("x-tenant-id: bad") { "500 Oops" } else { "200 OK" });
    let upstream = Upstream::start(script).await;
    let breaker = breaker().partition_by(partition::header("x-tenant-id"));
    let client = client_with(LayerMiddleware::new(ServiceBuilder::new().layer(retry()).layer(breaker)));
    let call = |tenant: &'static str| client.get(upstream.url()).header("x-tenant-id", tenant).send();
    let error = call("bad").await.unwrap_err();
    assert_eq!(RetryError::find(&error).unwrap().kind(), GiveUp::CircuitOpen);
    assert_eq!(call("good").await.unwrap().status(), 200);
    assert!(CircuitOpen::find(&call("bad").await.unwrap_err()).is_some());
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn the_reason_of_a_timeout_survives() {
    let upstream = Upstream::start(|_, _| Act::Hang).await;
    let retry = retry().max_attempts(2).attempt_timeout(Duration::from_secs(1));
    let client = client_with(LayerMiddleware::new(retry));
    let call = tokio::spawn(client.get(upstream.url()).send());
    upstream.hangs().await;
    tokio::time::pause();
    upstream.hangs().await;
    // The first attempt was dropped while the call goes on.
    upstream.is_left().await;
    assert!(!call.is_finished());
    let error = call.await.unwrap().unwrap_err();
    let gave_up = RetryError::find(&error).unwrap();
    assert_eq!((gave_up.kind(), gave_up.attempts()), (GiveUp::Exhausted, 2));
    assert_eq!(gave_up.verdict().reason(), Reason::TIMEOUT);
    assert_eq!(Verdict::of_error(&error).reason(), Reason::TIMEOUT);
    // Also for a search along the sources alone, and in the text.
    assert!(find::<RetryError>(&error).is_some());
    assert!(error.to_string().contains("timed out"), "{error}");
}

/// The layer has a deadline of its own, which the timeout of a request and the deadline in its extensions replace.
#[tokio::test]
async fn the_deadline_of_a_call_spans_its_attempts() {
    let limit = |request: RequestBuilder, seconds| match seconds {
        9 => request.timeout(Duration::from_secs(20)).with_extension(Deadline::within(Duration::from_secs(9))),
        20 => request.timeout(Duration::from_secs(20)),
        _ => request,
    };
    for seconds in [60, 20, 9] {
        let upstream = Upstream::answers([answer("503 Service Unavailable"), Act::Hang]).await;
        let client = client_with(LayerMiddleware::new(retry().deadline(Duration::from_secs(60))));
        let start = Instant::now();
        let call = tokio::spawn(limit(client.get(upstream.url()), seconds).send());
        upstream.hangs().await;
        tokio::time::pause();
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(RetryError::find(&error).unwrap().kind(), GiveUp::Deadline);
        assert_eq!((start.elapsed().as_secs(), upstream.count()), (seconds, 2));
        upstream.is_left().await;
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_cancelled_call_closes_its_connection_and_is_no_failure() {
    let upstream = Upstream::answers([Act::Hang]).await;
    let breaker = breaker();
    let breakers = breaker.handle();
    let client = client_with(LayerMiddleware::new(ServiceBuilder::new().layer(retry()).layer(breaker)));
    let call = tokio::spawn(client.get(upstream.url()).send());
    upstream.hangs().await;
    call.abort();
    upstream.is_left().await;
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!((breakers.default_partition().snapshot().calls, upstream.count()), (0, 1));
}

#[tokio::test]
async fn a_hedge_runs_beside_the_first_attempt() {
    let upstream = Upstream::answers([Act::Hang]).await;
    let client = client_with(LayerMiddleware::new(retry().hedge(Hedge::after(Duration::from_secs(1)))));
    let call = tokio::spawn(client.get(upstream.url()).send());
    upstream.hangs().await;
    tokio::time::pause();
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    upstream.is_left().await;
    assert_eq!(upstream.count(), 2);
}

/// The deadline of an attempt reaches a breaker that is a middleware of its own.
#[tokio::test]
async fn an_upstream_that_hangs_opens_a_breaker_in_another_middleware() {
    let upstream = Upstream::start(|_, _| Act::Hang).await;
    let breaker = breaker();
    let breakers = breaker.handle();
    let retry = LayerMiddleware::new(retry().max_attempts(2).attempt_timeout(Duration::from_secs(1)));
    let client = reqwest_middleware::ClientBuilder::new(Client::new()).with(retry).with(LayerMiddleware::new(breaker));
    let call = tokio::spawn(client.build().get(upstream.url()).send());
    upstream.hangs().await;
    tokio::time::pause();
    upstream.hangs().await;
    call.await.unwrap().unwrap_err();
    assert_eq!(breakers.default_partition().state(), State::Open);
}

/// Two calls of one client wait for each other, which they would not if each had a stack of its own.
#[tokio::test]
async fn any_layer_of_tower_keeps_its_state() {
    let upstream = Upstream::answers([Act::Hang]).await;
    let client = client_with(LayerMiddleware::new(ConcurrencyLimitLayer::new(1)));
    let first = tokio::spawn(client.get(upstream.url()).send());
    upstream.hangs().await;
    let second = tokio::spawn(client.get(upstream.url()).send());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(upstream.count(), 1);
    first.abort();
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
}

/// The layer runs its calls on a task of its own.
#[tokio::test]
async fn a_buffer_serves_many_calls() {
    let upstream = Upstream::answers([]).await;
    let layers = ServiceBuilder::new().layer(retry()).buffer::<http::Request<_>>(4);
    let client = client_with(LayerMiddleware::new(layers));
    let calls = (0..8).map(|_| tokio::spawn(client.get(upstream.url()).send())).collect::<Vec<_>>();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(upstream.count(), 8);
}

#[tokio::test]
async fn an_error_that_no_layer_wraps_stays_one_of_reqwest() {
    let upstream = Upstream::answers([Act::Reset]).await;
    let client = client_with(LayerMiddleware::new(CircuitBreakerLayer::new_for_http()));
    let error = client.get(upstream.url()).send().await.unwrap_err();
    assert!(matches!(&error, Error::Reqwest(error) if error.is_request()), "{error:?}");
    // What reqwest knows is not lost on the way.
    let invalid = client.get("ftp://127.0.0.1/").send().await.unwrap_err();
    assert_eq!(Verdict::of_error(&invalid).reason(), Reason::USER);
}

#[tokio::test]
async fn a_layer_that_drops_the_extensions_fails_the_call() {
    let forget = tower::util::MapRequestLayer::new(|mut request: http::Request<reqwest::Body>| {
        request.extensions_mut().clear();
        request
    });
    let client = client_with(LayerMiddleware::new(forget));
    let error = client.get("http://billing.test/").send().await.unwrap_err();
    assert!(format!("{error:?}").contains("dropped the extensions"), "{error:?}");
    assert_eq!(Verdict::of_error(&error).class(), Class::Terminal);
}
