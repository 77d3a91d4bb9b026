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
    struct Nobody;

    impl reqwest::dns::Resolve for Nobody {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            Box::pin(async { Err("no such host".into()) })
        }
    }

    let client = Client::builder().dns_resolver(std::sync::Arc::new(Nobody)).build().unwrap();
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
