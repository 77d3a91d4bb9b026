//! A stack over `ReqwestService`, called with `send`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, Version};
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::{CircuitOpen, Handle, State, partition};
use tower_rampart::classify::Reason;
use tower_rampart::clients::reqwest::{ReqwestService, SendExt};
use tower_rampart::retry::{Backoff, Budget, Deadline, GiveUp, RetryError, RetryReport};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

use super::upstream::{Act, Upstream, answer};
use crate::kit::find;
use crate::kit::server::unused_address;

pub(super) type Stack = BoxCloneSyncService<http::Request<reqwest::Body>, http::Response<reqwest::Body>, BoxError>;

pub(super) fn retry() -> RetryLayer {
    RetryLayer::new_for_http().backoff(Backoff::none()).budget(Budget::unlimited())
}

/// Opens at the second failure in a row.
pub(super) fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new_for_http().name("billing").consecutive_failures(2)
}

/// The names of a client: the first time an address on which no server listens, then that of the server.
pub(super) struct FirstNoAddress {
    unused: SocketAddr,
    upstream: SocketAddr,
    asked: AtomicUsize,
}

impl FirstNoAddress {
    pub(super) async fn then(upstream: &Upstream) -> Arc<Self> {
        Arc::new(Self { unused: unused_address().await, upstream: upstream.address(), asked: AtomicUsize::new(0) })
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }
}

impl Resolve for FirstNoAddress {
    fn resolve(&self, _: Name) -> Resolving {
        let address = if self.asked.fetch_add(1, Relaxed) == 0 { self.unused } else { self.upstream };
        Box::pin(async move { Ok(Box::new([address].into_iter()) as Box<_>) })
    }
}

/// Retry and breaker over a client, and that client.
fn stack_of(builder: ClientBuilder) -> (Stack, Client, Handle<http::HeaderValue>) {
    let reqwest = ReqwestService::from_builder(builder).unwrap();
    let client = reqwest.client().clone();
    let breaker = breaker().partition_by(partition::header("x-tenant-id"));
    let breakers = breaker.handle();
    let stack = ServiceBuilder::new().layer(retry()).layer(breaker).service(reqwest);
    (BoxCloneSyncService::new(stack), client, breakers)
}

fn stack() -> (Stack, Client, Handle<http::HeaderValue>) {
    stack_of(Client::builder())
}

#[tokio::test]
async fn a_request_keeps_its_parts_and_a_response_its_url() {
    let upstream = Upstream::answers([answer("200 OK\r\nx-served-by: seven")]).await;
    let (stack, client, _) = stack();
    let request = client.post(upstream.url()).query(&[("page", "2")]).header("x-kind", "usage").json(&["a", "b"]);
    let response = stack.send(request).await.unwrap();

    assert_eq!((response.status().as_u16(), &response.headers()["x-served-by"]), (200, &"seven".parse().unwrap()));
    assert_eq!(response.url().as_str(), format!("{}?page=2", upstream.url()));
    let seen = upstream.seen().remove(0);
    assert_eq!(upstream.lines(), ["post /?page=2 http/1.1"]);
    assert_eq!((seen.header("x-kind"), seen.header("content-type")), (Some("usage"), Some("application/json")));
    assert_eq!((seen.header("content-length"), &*seen.body), (Some("9"), &br#"["a","b"]"#[..]));
}

#[tokio::test]
async fn a_503_is_followed_by_a_success_also_in_a_spawned_task() {
    let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
    let (stack, client, _) = stack();
    let url = upstream.url();
    let call = tokio::spawn(async move { stack.send(client.get(url)).await });
    let response = call.await.unwrap().unwrap();
    assert_eq!(response.extensions().get::<RetryReport>().unwrap().attempts(), 2);
    assert_eq!((response.status().as_u16(), upstream.count()), (200, 2));
    assert_eq!(response.bytes().await.unwrap(), "");
}

#[tokio::test]
async fn rule_1_a_post_is_not_repeated_after_it_was_processed() {
    let upstream = Upstream::answers([Act::Reset]).await;
    let (stack, client, _) = stack();
    let error = stack.send(client.post(upstream.url()).body("4711")).await.unwrap_err();
    assert_eq!(RetryError::find(&*error).unwrap().kind(), GiveUp::NotIdempotent);
    assert_eq!(upstream.count(), 1);

    stack.send(client.put(upstream.url()).body("4711")).await.unwrap();
    let reset = Upstream::answers([Act::Reset]).await;
    stack.send(client.put(reset.url()).body("4711")).await.unwrap();
    assert_eq!(reset.count(), 2);
}

#[tokio::test]
async fn rule_1_a_post_is_repeated_after_a_refused_connection() {
    let upstream = Upstream::answers([]).await;
    let names = FirstNoAddress::then(&upstream).await;
    let (stack, client, _) = stack_of(Client::builder().dns_resolver(names.clone()));
    let response = stack.send(client.post("http://billing.test/").body("4711")).await.unwrap();
    assert_eq!((response.status().as_u16(), names.asked(), upstream.count()), (200, 2, 1));
    assert_eq!(upstream.seen()[0].body, b"4711");
}

#[tokio::test]
async fn a_failing_tenant_opens_its_own_circuit_alone() {
    let script = |_, head: &str| answer(if head.contains("x-tenant-id: bad") { "500 Oops" } else { "200 OK" });
    let upstream = Upstream::start(script).await;
    let (stack, client, breakers) = stack();
    let call = |tenant| stack.send(client.get(upstream.url()).header("x-tenant-id", tenant));
    let error = call("bad").await.unwrap_err();
    assert_eq!(RetryError::find(&*error).unwrap().kind(), GiveUp::CircuitOpen);
    let open = call("bad").await.unwrap_err();
    assert_eq!(CircuitOpen::find(&*open).unwrap().name(), "billing");
    assert_eq!(upstream.count(), 2);

    assert_eq!(call("good").await.unwrap().status(), 200);
    let state = |tenant| breakers.get(&http::HeaderValue::from_static(tenant)).unwrap().state();
    assert_eq!((state("bad"), state("good")), (State::Open, State::Closed));
}

#[tokio::test]
async fn the_timeout_of_a_request_is_the_deadline_of_its_call() {
    let upstream = Upstream::answers([answer("503 Service Unavailable"), Act::Hang, Act::Hang]).await;
    let (stack, client, _) = stack();
    let call = tokio::spawn(stack.send(client.get(upstream.url()).timeout(Duration::from_secs(60))));
    upstream.hangs().await;
    tokio::time::pause();
    let error = call.await.unwrap().unwrap_err();
    let gave_up = RetryError::find(&*error).unwrap();
    assert_eq!((gave_up.kind(), gave_up.attempts()), (GiveUp::Deadline, 2));
    assert_eq!(gave_up.verdict().reason(), Reason::TIMEOUT);
    assert_eq!(upstream.count(), 2);
}

/// Reqwest applies it where no layer does.
#[tokio::test]
async fn the_timeout_of_a_request_holds_without_a_retry_layer() {
    let upstream = Upstream::answers([Act::Hang]).await;
    let reqwest = ReqwestService::from_builder(Client::builder()).unwrap();
    let request = reqwest.client().get(upstream.url()).timeout(Duration::from_secs(60));
    let call = tokio::spawn(reqwest.send(request));
    upstream.hangs().await;
    tokio::time::pause();
    let error = call.await.unwrap().unwrap_err();
    assert!(find::<reqwest::Error>(&*error).unwrap().is_timeout());
}

/// As in reqwest: the deadline begins with the call of `send`, not with the first poll of its future.
#[tokio::test(start_paused = true)]
async fn the_time_before_the_first_poll_counts() {
    let upstream = Upstream::answers([]).await;
    let (stack, client, _) = stack();
    let request = || client.get(upstream.url()).timeout(Duration::from_secs(9));
    let (call, of_reqwest) = (stack.send(request()), request().send());
    tokio::time::advance(Duration::from_secs(10)).await;
    let error = call.await.unwrap_err();
    assert_eq!(RetryError::find(&*error).unwrap().kind(), GiveUp::Deadline);
    assert!(of_reqwest.await.unwrap_err().is_timeout());
    assert_eq!(upstream.count(), 0);
}

/// What a layer finds in the request that `send` makes.
#[tokio::test(start_paused = true)]
async fn send_hands_on_version_and_deadline() {
    let service = service_fn(async |request: http::Request<reqwest::Body>| {
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.instant());
        let response = http::Response::builder().version(request.version()).extension(deadline);
        Ok::<_, http::Error>(response.body(reqwest::Body::default()).unwrap())
    });
    let client = Client::new();
    let request = client.get("http://billing.test/").version(Version::HTTP_2).timeout(Duration::from_secs(9));
    let response = service.send(request).await.unwrap();
    let deadline = response.extensions().get::<Option<Instant>>().unwrap();
    assert_eq!((response.version(), *deadline), (Version::HTTP_2, Some(Instant::now() + Duration::from_secs(9))));

    let response = service.send(client.get("http://billing.test/")).await.unwrap();
    assert_eq!(response.extensions().get::<Option<Instant>>(), Some(&None));
}

#[tokio::test]
async fn a_cancelled_call_closes_its_connection_and_is_no_failure() {
    let upstream = Upstream::answers([Act::Hang]).await;
    let (stack, client, breakers) = stack();
    let call = tokio::spawn(stack.send(client.get(upstream.url()).header("x-tenant-id", "7")));
    upstream.hangs().await;
    call.abort();
    upstream.is_left().await;
    assert!(call.await.unwrap_err().is_cancelled());
    let tenant = breakers.iter().next().unwrap();
    assert_eq!((tenant.snapshot().calls, tenant.state()), (0, State::Closed));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn an_invalid_request_is_an_error_of_the_builder() {
    let (mut stack, client, breakers) = stack();
    for url in ["/v1/metrics", "no scheme"] {
        let error = stack.send(client.get(url)).await.unwrap_err();
        assert!(error.downcast::<reqwest::Error>().unwrap().is_builder(), "{url}");
    }
    assert_eq!(breakers.iter().count(), 0);

    // A request of http, which the layers see.
    let relative = http::Request::get("/v1/metrics").body(reqwest::Body::default()).unwrap();
    let error = stack.ready().await.unwrap().call(relative).await.unwrap_err();
    let gave_up = RetryError::find(&*error).unwrap();
    assert_eq!((gave_up.attempts(), gave_up.verdict().reason()), (1, Reason::USER));
}
