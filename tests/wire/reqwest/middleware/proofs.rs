//! What proves that a request was not processed: nothing, unless the client sends one request a call.

use std::sync::Arc;

use reqwest::{Client, ClientBuilder};
use reqwest_middleware::ClientWithMiddleware;
use tower::ServiceBuilder;
use tower_rampart::classify::{Processed, Verdict};
use tower_rampart::clients::reqwest::SendExt;
use tower_rampart::clients::reqwest_middleware::{LayerMiddleware, MiddlewareService};
use tower_rampart::retry::{GiveUp, RetryError, RetryReport};

use super::super::service::{FirstNoAddress, retry};
use super::super::upstream::{Upstream, answer};
use super::one_request;
use crate::kit::server::unused_address;

/// A client that retries, over one of which nothing is known.
fn unknown(builder: ClientBuilder) -> ClientWithMiddleware {
    let client = builder.build().unwrap();
    reqwest_middleware::ClientBuilder::new(client).with(LayerMiddleware::new(retry())).build()
}

/// A client that retries, over one that sends one request a call.
fn known(builder: ClientBuilder) -> ClientWithMiddleware {
    let reqwest = one_request(builder);
    let retry = LayerMiddleware::new(retry()).over(&reqwest);
    reqwest_middleware::ClientBuilder::new(reqwest.client().clone()).with(retry).build()
}

async fn names(upstream: &Upstream) -> (Arc<FirstNoAddress>, ClientBuilder) {
    let names = FirstNoAddress::then(upstream).await;
    (names.clone(), Client::builder().dns_resolver(names))
}

#[tokio::test]
async fn rule_1_a_post_is_repeated_after_a_refused_connection_of_a_known_client() {
    let upstream = Upstream::answers([]).await;
    let (names, builder) = names(&upstream).await;
    let response = known(builder).post("http://billing.test/").body("4711").send().await.unwrap();
    assert_eq!((response.status().as_u16(), names.asked(), upstream.count()), (200, 2, 1));
    assert_eq!(upstream.seen()[0].body, b"4711");
}

#[tokio::test]
async fn rule_1_a_refused_connection_of_an_unknown_client_proves_nothing() {
    let upstream = Upstream::answers([]).await;
    let (names, builder) = names(&upstream).await;
    let error = unknown(builder).post("http://billing.test/").body("4711").send().await.unwrap_err();
    let gave_up = RetryError::find(&error).unwrap();
    assert_eq!((gave_up.kind(), gave_up.verdict().processed()), (GiveUp::NotIdempotent, Processed::Maybe));
    assert_eq!((names.asked(), upstream.count()), (1, 0));

    // An idempotent request needs no proof.
    let (names, builder) = self::names(&upstream).await;
    unknown(builder).put("http://billing.test/").body("4711").send().await.unwrap();
    assert_eq!((names.asked(), upstream.count()), (2, 1));
}

/// The POST was processed; what failed is the GET that followed.
#[tokio::test]
async fn rule_1_a_post_whose_redirect_is_refused_is_sent_once() {
    let head = format!("303 See Other\r\nlocation: http://{}/", unused_address().await);
    let upstream = Upstream::start(move |_, _| answer(&head)).await;
    let error = unknown(Client::builder()).post(upstream.url()).body("4711").send().await.unwrap_err();
    assert_eq!(RetryError::find(&error).unwrap().kind(), GiveUp::NotIdempotent);
    assert_eq!(upstream.count(), 1);
}

/// The same with an answer that says "not processed", from the same URL.
#[tokio::test]
async fn rule_1_a_post_whose_redirect_is_throttled_is_sent_once() {
    let script = |_, head: &str| {
        answer(if head.starts_with("post") { "303 See Other\r\nlocation: /" } else { "429 Too Many Requests" })
    };
    let upstream = Upstream::start(script).await;
    let response = unknown(Client::builder()).post(upstream.url()).body("4711").send().await.unwrap();
    assert_eq!(response.extensions().get::<RetryReport>().unwrap().processed(), Processed::Maybe);
    assert_eq!(upstream.lines(), ["post / http/1.1", "get / http/1.1"]);

    // One request a call: the POST itself is throttled, and sent again.
    let upstream = Upstream::answers([answer("429 Too Many Requests")]).await;
    let response = known(Client::builder()).post(upstream.url()).body("4711").send().await.unwrap();
    assert_eq!((response.status().as_u16(), upstream.count()), (200, 2));
}

/// For a client inside of a stack the same holds.
#[tokio::test]
async fn rule_1_a_client_inside_a_stack_proves_nothing_unless_it_is_known() {
    for is_known in [false, true] {
        let upstream = Upstream::answers([]).await;
        let (names, builder) = names(&upstream).await;
        let reqwest = one_request(builder);
        let request = reqwest.client().post("http://billing.test/").body("4711");
        let inside = MiddlewareService::new(reqwest.client().clone().into());
        let inside = if is_known { inside.over(&reqwest) } else { inside };
        let outcome = ServiceBuilder::new().layer(retry()).service(inside).send(request).await;
        let sent = outcome.map_err(|error| Verdict::of_error(&*error).processed()).map(|response| response.status());
        let asked = if is_known { (2, Ok(http::StatusCode::OK)) } else { (1, Err(Processed::Maybe)) };
        assert_eq!((names.asked(), sent), asked);
    }
}
