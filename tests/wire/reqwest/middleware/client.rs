//! A client with middlewares inside a stack.

use reqwest_middleware::ClientBuilder;
use tower::ServiceBuilder;
use tower_rampart::breaker::{CircuitOpen, State};
use tower_rampart::clients::reqwest::SendExt;
use tower_rampart::clients::reqwest_middleware::MiddlewareService;
use tower_rampart::retry::{Attempt, Deadline, RetryReport};

use super::super::service::{breaker, retry};
use super::super::upstream::{Act, Upstream, answer};
use super::{Around, one_request};

#[derive(Clone)]
struct Numbered(u32);

#[tokio::test]
async fn a_503_is_followed_by_a_success_and_extensions_go_both_ways() {
    let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
    let reqwest = one_request(reqwest::Client::builder());
    let number = |_: &_, extensions: &mut http::Extensions| {
        let attempt = extensions.get().map_or(1, |attempt: &Attempt| attempt.number());
        assert!(extensions.get::<Deadline>().is_some());
        extensions.insert(Numbered(attempt));
    };
    let client = ClientBuilder::new(reqwest.client().clone()).with(Around(number, |_: &_, _: &mut _| {})).build();
    let stack = ServiceBuilder::new().layer(retry()).service(MiddlewareService::new(client));
    let request = reqwest.client().get(upstream.url()).timeout(std::time::Duration::from_secs(60));
    let url = upstream.url();
    let response = tokio::spawn(async move { stack.send(request).await }).await.unwrap().unwrap();
    assert_eq!(response.extensions().get::<RetryReport>().unwrap().attempts(), 2);
    assert_eq!(response.extensions().get::<Numbered>().unwrap().0, 2);
    assert_eq!((response.status().as_u16(), response.url().as_str()), (200, &*url));
}

#[tokio::test]
async fn its_failures_open_the_circuit() {
    let upstream = Upstream::start(|_, _| Act::Reset).await;
    let reqwest = one_request(reqwest::Client::builder());
    let breaker = breaker();
    let breakers = breaker.handle();
    let service = MiddlewareService::new(reqwest.client().clone().into());
    let stack = ServiceBuilder::new().layer(breaker).service(service);
    for _ in 0..2 {
        stack.send(reqwest.client().get(upstream.url())).await.unwrap_err();
    }
    assert_eq!(breakers.default_partition().state(), State::Open);
    let error = stack.send(reqwest.client().get(upstream.url())).await.unwrap_err();
    assert!(CircuitOpen::find(&*error).is_some());
    assert_eq!(upstream.count(), 2);
}
