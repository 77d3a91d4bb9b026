//! A client that follows redirects, or sends a request again by itself, hides what happened.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method};
use tower::ServiceBuilder;
use tower_rampart::clients::reqwest::{FollowsRedirects, ReqwestService, SendExt};
use tower_rampart::retry::{Backoff, Budget};
use tower_rampart::{BoxError, RetryLayer};

use super::upstream::{Upstream, answer};
use crate::kit::frames::{self, NO_ERROR};
use crate::kit::server::{Server, unused_address};

/// A server that has processed a POST redirects to one that is down.
async fn redirecting() -> Upstream {
    let head = format!("303 See Other\r\nlocation: http://{}/", unused_address().await);
    Upstream::start(move |_, _| answer(&head)).await
}

async fn post(service: ReqwestService, url: &str) -> Result<reqwest::Response, BoxError> {
    let client = service.client().clone();
    let retry = RetryLayer::new_for_http().backoff(Backoff::none()).budget(Budget::unlimited());
    ServiceBuilder::new().layer(retry).service(service).send(client.post(url).body("4711")).await
}

/// If reqwest followed the redirect, the refused GET would make the POST look unsent.
#[tokio::test]
async fn rule_1_redirected_a_processed_post_is_sent_once() {
    let built_here = ReqwestService::from_builder(Client::builder().redirect(Policy::limited(3))).unwrap();
    let elsewhere = ReqwestService::new(Client::builder().redirect(Policy::none()).build().unwrap()).unwrap();
    for service in [built_here, elsewhere] {
        let upstream = redirecting().await;
        let response = post(service, &upstream.url()).await.unwrap();
        assert_eq!((response.status().as_u16(), upstream.count()), (303, 1));
    }
}

/// Why such a client is rejected: its error says neither that the POST was sent, nor where the second request went.
#[tokio::test]
async fn the_error_of_a_followed_redirect_names_the_first_request() {
    let upstream = redirecting().await;
    let error = Client::new().post(upstream.url()).send().await.unwrap_err();
    assert!(error.is_connect());
    assert_eq!(error.url().unwrap().as_str(), upstream.url());
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_client_that_may_follow_redirects_is_rejected() {
    let check = |builder: ClientBuilder| ReqwestService::new(builder.build().unwrap()).map(|_| ());
    let rejected = |result: Result<(), FollowsRedirects>| result.unwrap_err().to_string();
    for policy in [Policy::default(), Policy::limited(1), Policy::custom(|attempt| attempt.stop())] {
        let rejected = rejected(check(Client::builder().redirect(policy)));
        assert_eq!(rejected, "the client may follow redirects: build it with `ReqwestService::from_builder`");
    }
    assert_eq!(check(Client::builder().redirect(Policy::none())), Ok(()));

    // A text that the client repeats does not count.
    let agent = r#"redirect_policy: "Policy(None)""#;
    assert!(check(Client::builder().user_agent(agent)).is_err());
}

/// A GOAWAY proves nothing. Reqwest takes it for proof where the body is in memory.
#[tokio::test]
async fn rule_1_reqwest_does_not_send_a_post_again_after_a_goaway() {
    let built_here = ReqwestService::from_builder(Client::builder().http2_prior_knowledge()).unwrap();
    let elsewhere = Client::builder().http2_prior_knowledge().redirect(Policy::none()).build().unwrap();
    for service in [built_here, ReqwestService::new(elsewhere).unwrap()] {
        let posts = Arc::new(AtomicU32::new(0));
        let counted = posts.clone();
        let server = Server::start(move |mut stream| {
            let counted = counted.clone();
            async move {
                frames::accept_request(&mut stream).await;
                counted.fetch_add(1, Relaxed);
                frames::go_away(&mut stream, 0, NO_ERROR).await;
                while frames::next_frame(&mut stream).await.is_ok() {}
            }
        });
        post(service, &server.await.uri().to_string()).await.unwrap_err();
        assert_eq!(posts.load(Relaxed), 1);
    }
}

/// Whatever the policy of the client, an attempt is one request.
#[tokio::test]
async fn the_retries_of_reqwest_send_nothing() {
    let builder = || {
        let policy = reqwest::retry::for_host("127.0.0.1").classify_fn(|outcome| outcome.retryable());
        Client::builder().redirect(Policy::none()).retry(policy)
    };
    let built_here = ReqwestService::from_builder(builder()).unwrap();
    for service in [built_here, ReqwestService::new(builder().build().unwrap()).unwrap()] {
        let upstream = Upstream::start(|_, _| answer("503 Service Unavailable")).await;
        for method in [Method::GET, Method::POST] {
            let request = service.client().request(method, upstream.url());
            assert_eq!(service.send(request).await.unwrap().status(), 503);
        }
        assert_eq!(upstream.lines(), ["get / http/1.1", "post / http/1.1"]);
    }
}
