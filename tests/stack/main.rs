//! The three layers together on real sockets: one test for every way the upstream of the main job misbehaves.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
#[path = "../wire/kit/server.rs"]
#[allow(dead_code)]
mod server;
#[path = "../support/steady.rs"]
mod steady;
mod tenants;
mod upstream;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::util::BoxCloneService;
use tower::{ServiceBuilder, ServiceExt};
use tower_rampart::breaker::{CircuitOpen, Handle, State, partition};
use tower_rampart::classify::{Class, Processed, Verdict};
use tower_rampart::retry::{Backoff, Budget, GiveUp, RetryError, RetryReport};
use tower_rampart::{BoxError, CircuitBreakerLayer, ClassifyLayer, RetryLayer};

use self::steady::steady;
use self::upstream::{Answer, Upstream};

type Pulls = BoxCloneService<Request<Full<Bytes>>, Response<Incoming>, BoxError>;

struct Stack {
    service: Pulls,
    breakers: Handle<http::HeaderValue>,
}

impl Stack {
    /// Four attempts without a wait; a breaker a tenant that opens at half of ten calls.
    fn new() -> Self {
        Self::with(|retry| retry)
    }

    fn with(adjust: impl FnOnce(Retrying) -> Retrying) -> Self {
        let breaker = steady(CircuitBreakerLayer::new_for_http())
            .minimum_calls(10)
            .partition_by(partition::header("x-tenant-id"))
            .slow_calls(Duration::from_secs(1), 1.0);
        let breakers = breaker.handle();
        let retry = RetryLayer::new_for_http().max_attempts(4).backoff(Backoff::none()).budget(Budget::unlimited());
        let service = ServiceBuilder::new()
            .layer(adjust(retry))
            .layer(breaker)
            .layer(ClassifyLayer::new_for_http())
            .service(Client::builder(TokioExecutor::new()).build_http());
        Self { service: BoxCloneService::new(service), breakers }
    }

    async fn send(&self, method: Method, upstream: &Upstream, tenant: &str) -> Result<Response<Incoming>, BoxError> {
        let request = Request::builder()
            .method(method)
            .uri(upstream.uri())
            .header("x-tenant-id", tenant)
            .body(Full::from("{\"pull\":1}"))
            .unwrap();
        self.service.clone().oneshot(request).await
    }

    async fn get(&self, upstream: &Upstream, tenant: &str) -> Result<Response<Incoming>, BoxError> {
        self.send(Method::GET, upstream, tenant).await
    }

    fn state(&self, tenant: &'static str) -> State {
        self.breakers.state(&http::HeaderValue::from_static(tenant))
    }

    fn calls_and_failures(&self, tenant: &'static str) -> (u64, u64) {
        let breaker = self.breakers.get(&http::HeaderValue::from_static(tenant)).unwrap();
        (breaker.snapshot().calls, breaker.snapshot().failures)
    }
}

type Retrying = RetryLayer<tower_rampart::classify::HttpClassifier, tower_rampart::retry::ReplayBodies>;

#[tokio::test]
async fn healthy_an_odd_503_is_retried_and_the_circuit_stays_closed() {
    let upstream = Upstream::start(|n| if n % 20 == 0 { Answer::status(503) } else { Answer::json() }).await;
    let stack = Stack::new();
    for pull in 0..40 {
        let response = stack.get(&upstream, "healthy").await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let attempts = RetryReport::of(&response).map_or(1, RetryReport::attempts);
        // Every refusal moves the requests of the later pulls on by one: 0 is the first of pull 0, 20 of 19, 40 of 38.
        assert_eq!(attempts, if [0, 19, 38].contains(&pull) { 2 } else { 1 }, "pull {pull}");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), upstream::JSON);
    }
    assert_eq!((upstream.requests(), stack.calls_and_failures("healthy")), (43, (43, 3)));
    assert_eq!(stack.state("healthy"), State::Closed);
}

#[tokio::test]
async fn down_the_circuit_opens_for_that_tenant_alone() {
    let down = Upstream::start(|_| Answer::status(503)).await;
    let healthy = Upstream::start(|_| Answer::json()).await;
    let stack = Stack::new();

    for _ in 0..2 {
        let response = stack.get(&down, "down").await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let report = RetryReport::of(&response).unwrap();
        assert_eq!((report.attempts(), report.gave_up()), (4, Some(GiveUp::Exhausted)));
    }
    // The tenth failure opens it in the middle of the third pull, which ends there.
    let error = stack.get(&down, "down").await.unwrap_err();
    assert_eq!(CircuitOpen::find(&*error).unwrap().partition(), "down");
    assert_eq!(RetryError::find(&*error).unwrap().attempts(), 3);
    for _ in 0..1_000 {
        let error = stack.get(&down, "down").await.unwrap_err();
        assert!(CircuitOpen::find(&*error).is_some());
        assert_eq!(RetryError::find(&*error).unwrap().attempts(), 1);
    }
    assert_eq!((down.requests(), stack.state("down")), (10, State::Open));

    assert_eq!(stack.get(&healthy, "healthy").await.unwrap().status(), StatusCode::OK);
    assert_eq!((healthy.requests(), stack.state("healthy")), (1, State::Closed));
}

#[tokio::test]
async fn throttled_even_a_post_is_sent_again_because_it_was_not_processed() {
    let upstream = Upstream::start(|n| if n < 2 { Answer::throttled("0") } else { Answer::json() }).await;
    let stack = Stack::new();
    let response = stack.send(Method::POST, &upstream, "throttled").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(RetryReport::of(&response).unwrap().attempts(), 3);
    assert_eq!(upstream.bodies(), ["{\"pull\":1}"; 3]);
}

#[tokio::test]
async fn throttled_a_wait_over_the_cap_returns_the_answer_at_once() {
    let upstream = Upstream::start(|_| Answer::throttled("3600")).await;
    let stack = Stack::new();
    let response = stack.get(&upstream, "throttled").await.unwrap();
    assert_eq!((response.status(), upstream.requests()), (StatusCode::TOO_MANY_REQUESTS, 1));
    assert_eq!(Verdict::of(&response).retry_after(), Some(Duration::from_secs(3_600)));
}

// The clock is paused, and moves on its own while everything waits: a server that hangs is waited for in no time.
#[tokio::test(start_paused = true)]
async fn hanging_every_attempt_is_cut_and_the_circuit_opens() {
    let upstream = Upstream::start(|_| Answer::Hang).await;
    let stack = Stack::with(|retry| retry.attempt_timeout(Duration::from_secs(2)));
    let started = tokio::time::Instant::now();
    for pull in 0..2 {
        let error = stack.get(&upstream, "hanging").await.unwrap_err();
        let gave_up = RetryError::find(&*error).unwrap();
        assert_eq!((gave_up.kind(), gave_up.attempts()), (GiveUp::Exhausted, 4), "pull {pull}");
        assert_eq!(Verdict::of_error(&*error).processed(), Processed::Maybe);
    }
    assert_eq!((stack.state("hanging"), stack.calls_and_failures("hanging")), (State::Closed, (8, 8)));

    // The breaker sees each attempt dropped after two seconds, over the limit of the slow calls: the tenth opens it.
    let error = stack.get(&upstream, "hanging").await.unwrap_err();
    assert!(CircuitOpen::find(&*error).is_some());
    assert_eq!((RetryError::find(&*error).unwrap().attempts(), stack.state("hanging")), (3, State::Open));
    assert_eq!(started.elapsed().as_secs(), 10 * 2);
}

/// Both layers with all defaults but the limit: no setting of the breaker says how long a call may take.
#[tokio::test(start_paused = true)]
async fn hanging_opens_a_breaker_with_all_defaults() {
    let upstream = Upstream::start(|_| Answer::Hang).await;
    for deadline in [false, true] {
        let (retry, breaker) = (RetryLayer::new_for_http(), CircuitBreakerLayer::new_for_http());
        let limit = Duration::from_secs(2);
        let retry = if deadline { retry.deadline(limit) } else { retry.max_attempts(1).attempt_timeout(limit) };
        let handle = breaker.breaker();
        let service = ServiceBuilder::new()
            .layer(retry)
            .layer(breaker)
            .service(Client::builder(TokioExecutor::new()).build_http());
        for _ in 0..10 {
            assert_eq!(handle.state(), State::Closed);
            let get = Request::get(upstream.uri()).body(Full::<Bytes>::default()).unwrap();
            let error = service.clone().oneshot(get).await.unwrap_err();
            assert!(CircuitOpen::find(&*error).is_none(), "{error}");
        }
        assert_eq!((handle.state(), handle.snapshot().generation), (State::Open, 1), "deadline: {deadline}");
    }
}

/// A client whose pool is never ready keeps every request, so that even a POST was never sent.
#[tokio::test(start_paused = true)]
async fn hanging_in_readiness_opens_the_breaker_and_a_post_is_unsent() {
    #[derive(Clone)]
    struct NeverReady;

    impl tower::Service<Request<tower_rampart::retry::ReplayBody<Full<Bytes>>>> for NeverReady {
        type Response = Response<Full<Bytes>>;
        type Error = BoxError;
        type Future = std::future::Pending<Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Pending
        }

        fn call(&mut self, _: Request<tower_rampart::retry::ReplayBody<Full<Bytes>>>) -> Self::Future {
            unreachable!("is never ready")
        }
    }

    let breaker = CircuitBreakerLayer::new_for_http();
    let handle = breaker.breaker();
    let retry = RetryLayer::new_for_http().max_attempts(1).attempt_timeout(Duration::from_secs(2));
    let service = ServiceBuilder::new().layer(retry).layer(breaker).service(NeverReady);
    for _ in 0..10 {
        assert_eq!(handle.state(), State::Closed);
        let post = Request::post("http://upstream.example/").body(Full::<Bytes>::default()).unwrap();
        let error = service.clone().oneshot(post).await.unwrap_err();
        assert_eq!(Verdict::of_error(&*error).processed(), Processed::No, "{error}");
    }
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test]
async fn resetting_a_get_is_retried_on_a_new_connection_and_a_post_is_not() {
    let upstream = Upstream::start(|n| if n % 2 == 1 { Answer::Reset } else { Answer::json() }).await;
    let stack = Stack::new();
    let attempts = async || {
        let response = stack.get(&upstream, "resetting").await.unwrap();
        let attempts = RetryReport::of(&response).map_or(1, RetryReport::attempts);
        response.into_body().collect().await.unwrap();
        attempts
    };
    assert_eq!([attempts().await, attempts().await, attempts().await], [1, 2, 2]);
    assert_eq!(upstream.requests(), 5);

    // Request 5 is reset again: it had been read, so what was done with it is unknown.
    let error = stack.send(Method::POST, &upstream, "resetting").await.unwrap_err();
    let gave_up = RetryError::find(&*error).unwrap();
    assert_eq!((gave_up.kind(), gave_up.attempts(), upstream.requests()), (GiveUp::NotIdempotent, 1, 6));
}

#[tokio::test]
async fn unauthorized_is_answered_once_and_says_nothing_against_the_upstream() {
    let upstream = Upstream::start(|_| Answer::status(401)).await;
    let stack = Stack::new();
    for _ in 0..50 {
        let response = stack.get(&upstream, "unauthorized").await.unwrap();
        assert_eq!(Verdict::of(&response).class(), Class::Terminal);
        assert!(RetryReport::of(&response).is_none());
    }
    assert_eq!((upstream.requests(), stack.calls_and_failures("unauthorized")), (50, (50, 0)));
}

#[tokio::test]
async fn truncated_the_body_fails_and_is_not_asked_for_again() {
    let upstream = Upstream::start(|_| Answer::Truncated).await;
    let stack = Stack::new();
    let response = stack.get(&upstream, "truncated").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let error = response.into_body().collect().await.unwrap_err();
    let ended = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<std::io::Error>()).unwrap();
    assert_eq!(ended.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn refused_even_a_post_is_tried_again_because_it_was_never_sent() {
    let unused = Upstream::gone().await;
    let stack = Stack::new();
    let error = stack.send(Method::POST, &unused, "refused").await.unwrap_err();
    let gave_up = RetryError::find(&*error).unwrap();
    assert_eq!((gave_up.kind(), gave_up.attempts()), (GiveUp::Exhausted, 4));
    assert_eq!(Verdict::of_error(&*error).processed(), Processed::No);
}

/// 101: the connection behind the answer belongs to the caller, and no layer holds on to it.
#[tokio::test]
async fn upgraded_a_connection_comes_through_whole() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let upstream = server::Server::start(|mut stream| async move {
        server::read_head(&mut stream).await;
        server::say(&mut stream, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
            .await;
        let mut ping = [0; 4];
        stream.read_exact(&mut ping).await.unwrap();
        server::say(&mut stream, &ping).await;
        server::fin(stream);
    })
    .await;
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = told.clone();
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new_for_http())
        .layer(CircuitBreakerLayer::new_for_http())
        .layer(ClassifyLayer::new_for_http().judge_body().on_verdict(move |v: &Verdict| heard.lock().unwrap().push(*v)))
        .service(Client::builder(TokioExecutor::new()).build_http());
    let request = Request::get(upstream.uri()).header("connection", "upgrade").header("upgrade", "echo");
    let response = client.oneshot(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut connection = hyper_util::rt::TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    connection.write_all(b"ping").await.unwrap();
    let mut echo = Vec::new();
    connection.read_to_end(&mut echo).await.unwrap();
    assert_eq!(echo, b"ping");
    assert_eq!(*told.lock().unwrap(), [Verdict::success()]);
}

/// An answer to HEAD tells the length of a body that it does not have.
#[tokio::test]
async fn head_an_announced_body_is_not_missed() {
    let upstream = server::Server::start(|mut stream| async move {
        server::read_head(&mut stream).await;
        server::say(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n").await;
        server::fin(stream);
    })
    .await;
    let counters = tower_rampart::classify::Counters::default();
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new_for_http())
        .layer(CircuitBreakerLayer::new_for_http())
        .layer(ClassifyLayer::new_for_http().judge_body().counters(&counters))
        .service(Client::builder(TokioExecutor::new()).build_http());
    let request = Request::head(upstream.uri()).body(Full::<Bytes>::default()).unwrap();
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(Verdict::of(&response), Verdict::success());
    response.into_body().collect().await.unwrap();
    assert_eq!((counters.class(Class::Success), counters.class(Class::Ambiguous)), (1, 0));
}
