//! One test for each row of the table.

use std::time::Duration;

use reqwest::Client;
use tower_rampart::classify::{Class, Health, Processed, Verdict};

use crate::kit::server::{Server, fin, read_head, say, stall, unused_address};
use crate::kit::{Facts, facts_of};

const fn unprocessed(reason: &'static str) -> Facts {
    (Class::Transient, Processed::No, Health::Failure, reason)
}

const fn in_flight(reason: &'static str) -> Facts {
    (Class::Transient, Processed::Maybe, Health::Failure, reason)
}

/// What a call to a server comes to that says this and ends the connection.
async fn answer(says: &'static [u8]) -> reqwest::Result<reqwest::Response> {
    let server = Server::start(move |mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, says).await;
        fin(stream);
    })
    .await;
    Client::new().get(server.uri().to_string()).send().await
}

#[tokio::test]
async fn builder() {
    for url in ["/v1/metrics", "no scheme", "ftp://127.0.0.1/"] {
        let error = Client::new().get(url).send().await.unwrap_err();
        assert_eq!(facts_of(&error), (Class::Terminal, Processed::No, Health::Neutral, "user"), "{url}");
    }
}

#[tokio::test]
async fn refused() {
    let error = Client::new().get(format!("http://{}/", unused_address().await)).send().await.unwrap_err();
    assert_eq!(facts_of(&error), unprocessed("connect"));
}

/// Reqwest resolves with a resolver of the test's, which knows no names.
#[tokio::test]
async fn dns() {
    struct NoAddress;

    impl reqwest::dns::Resolve for NoAddress {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            Box::pin(async { Err("no such host".into()) })
        }
    }

    let client = Client::builder().dns_resolver(std::sync::Arc::new(NoAddress)).build().unwrap();
    let error = client.get("http://a.invalid/").send().await.unwrap_err();
    assert_eq!(facts_of(&error), unprocessed("dns"));
}

/// Its own error for a connection that takes too long has neither a public type nor a source.
#[tokio::test(start_paused = true)]
async fn connect_timeout() {
    struct Asleep;

    impl reqwest::dns::Resolve for Asleep {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            Box::pin(std::future::pending())
        }
    }

    let client = Client::builder()
        .connect_timeout(Duration::from_secs(1))
        .dns_resolver(std::sync::Arc::new(Asleep))
        .build()
        .unwrap();
    let error = client.get("http://a.invalid/").send().await.unwrap_err();
    assert!(error.is_timeout() && error.is_connect());
    assert_eq!(facts_of(&error), unprocessed("connect"));
}

#[tokio::test]
async fn total_timeout() {
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let arrived = arrived.clone();
        async move {
            read_head(&mut stream).await;
            arrived.send(()).unwrap();
            stall(stream).await;
        }
    })
    .await;
    let client = Client::builder().timeout(Duration::from_secs(3600)).build().unwrap();
    let call = tokio::spawn(client.get(server.uri().to_string()).send());
    has_arrived.recv().await.unwrap();
    tokio::time::pause();
    assert_eq!(facts_of(&call.await.unwrap().unwrap_err()), in_flight("timeout"));
}

#[tokio::test]
async fn fin_before_the_status_line() {
    assert_eq!(facts_of(&answer(b"").await.unwrap_err()), in_flight("incomplete"));
}

#[tokio::test]
async fn garbage_instead_of_http() {
    let error = answer(b"\x00\x01SSH-2.0-dropbear\r\n\r\n").await.unwrap_err();
    assert_eq!(facts_of(&error), (Class::Ambiguous, Processed::Maybe, Health::Failure, "protocol"));
}

#[tokio::test]
async fn fin_inside_the_body() {
    let response = answer(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf ").await.unwrap();
    let error = response.bytes().await.unwrap_err();
    assert_eq!(facts_of(&error), (Class::Ambiguous, Processed::Maybe, Health::Failure, "body"));
}

#[tokio::test]
async fn error_for_status() {
    let response = answer(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let error = response.error_for_status().unwrap_err();
    assert_eq!(facts_of(&error), (Class::Transient, Processed::No, Health::Throttled, "status"));
    assert_eq!(Verdict::of_error(&error).code(), Some(429));
}

#[tokio::test]
async fn redirects_without_end() {
    let error = answer(b"HTTP/1.1 302 Found\r\nlocation: /\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap_err();
    assert_eq!(facts_of(&error), (Class::Terminal, Processed::Maybe, Health::Success, "protocol"));
}

/// Each failure as a stack sees it, over the client, over one with middlewares, and as a middleware.
mod in_a_stack {
    use std::io;

    use bytes::Bytes;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tower::{ServiceBuilder, ServiceExt};
    use tower_rampart::clients::reqwest::{ReqwestService, SendExt};
    use tower_rampart::retry::{GiveUp, RetryError};
    use tower_rampart::{BoxError, ClassifyLayer};

    use super::super::service::retry;
    use super::*;

    /// What a PUT to this URL fails with in each of them.
    async fn failures(builder: impl Fn() -> reqwest::ClientBuilder, url: &str) -> Vec<BoxError> {
        let reqwest = ReqwestService::from_builder(builder()).unwrap();
        let client = reqwest.client().clone();
        let stack = ServiceBuilder::new().layer(retry().max_attempts(1)).layer(ClassifyLayer::new_for_http());
        let mut failures = vec![stack.clone().service(reqwest.clone()).send(client.put(url)).await.unwrap_err()];
        #[cfg(feature = "reqwest-middleware")]
        {
            use tower_rampart::clients::reqwest_middleware::{LayerMiddleware, MiddlewareService};
            let inside = MiddlewareService::new(client.clone().into()).over(&reqwest);
            failures.push(stack.clone().service(inside).send(client.put(url)).await.unwrap_err());
            let layers = LayerMiddleware::new(stack).over(&reqwest);
            let client = reqwest_middleware::ClientBuilder::new(client).with(layers).build();
            failures.push(client.put(url).send().await.unwrap_err().into());
        }
        failures
    }

    fn assert_facts(failures: Vec<BoxError>, expected: Facts) {
        for failure in failures {
            assert_eq!(facts_of(&*failure), expected);
        }
    }

    #[tokio::test]
    async fn refused() {
        let url = format!("http://{}/", unused_address().await);
        assert_facts(failures(Client::builder, &url).await, unprocessed("connect"));
    }

    #[tokio::test]
    async fn reset() {
        let server = Server::start(|mut stream| async move {
            read_head(&mut stream).await;
            crate::kit::server::rst(stream);
        });
        assert_facts(failures(Client::builder, &server.await.uri().to_string()).await, in_flight("reset"));
    }

    #[tokio::test]
    async fn garbage() {
        let server = Server::start(|mut stream| async move {
            read_head(&mut stream).await;
            say(&mut stream, b"\x00\x01SSH-2.0-dropbear\r\n\r\n").await;
            fin(stream);
        });
        let garbage = (Class::Ambiguous, Processed::Maybe, Health::Failure, "protocol");
        assert_facts(failures(Client::builder, &server.await.uri().to_string()).await, garbage);
    }

    /// The timeout of the client, and that between two reads.
    #[tokio::test]
    async fn timeouts() {
        let server = Server::start(|stream| async { stall(stream).await }).await;
        let limit = Duration::ZERO;
        let url = server.uri().to_string();
        assert_facts(failures(|| Client::builder().timeout(limit), &url).await, in_flight("timeout"));
        assert_facts(failures(|| Client::builder().read_timeout(limit), &url).await, in_flight("timeout"));
    }

    #[tokio::test]
    async fn an_invalid_request() {
        let invalid = (Class::Terminal, Processed::No, Health::Neutral, "user");
        assert_facts(failures(Client::builder, "ftp://127.0.0.1/").await, invalid);
    }

    struct Failing(Option<io::Result<Frame<Bytes>>>);

    impl futures_core::Stream for Failing {
        type Item = io::Result<Frame<Bytes>>;

        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            let next = self.0.take();
            if next.as_ref().is_some_and(Result::is_ok) {
                self.0 = Some(Err(io::Error::other("the file is gone")));
            }
            std::task::Poll::Ready(next)
        }
    }

    #[tokio::test]
    async fn our_own_body() {
        let upstream = super::super::upstream::Upstream::answers([]).await;
        let reqwest = ReqwestService::from_builder(Client::builder()).unwrap();
        let stack = ServiceBuilder::new().layer(retry()).service(reqwest);
        let body = StreamBody::new(Failing(Some(Ok(Frame::data(Bytes::from_static(b"half a"))))));
        let error = stack.oneshot(http::Request::put(upstream.url()).body(body).unwrap()).await.unwrap_err();
        assert_eq!(facts_of(&*error), (Class::Terminal, Processed::Maybe, Health::Neutral, "user"));
        let gave_up = RetryError::find(&*error).unwrap();
        assert_eq!((gave_up.attempts(), gave_up.kind()), (1, GiveUp::BodyFailed));
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_decoded() {
    let response = answer(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull").await.unwrap();
    let error = response.json::<Vec<u8>>().await.unwrap_err();
    assert!(error.is_decode());
    assert_eq!(facts_of(&error), (Class::Ambiguous, Processed::Maybe, Health::Failure, "body"));
}
