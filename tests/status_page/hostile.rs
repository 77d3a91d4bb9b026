//! Labels, requests and readers that mean harm.

use std::convert::Infallible;
use std::fmt;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body::{Body, Frame};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::Service;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Mode, partition};
use tower_rampart::status_page::StatusPage;

use crate::support::*;

/// A key that writes what it likes where keys of strings are escaped.
#[derive(Clone, Hash, PartialEq, Eq)]
struct Raw(&'static str);

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A body that must not be read.
struct Unread;

impl Body for Unread {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the page reads a body");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_4_no_label_ends_a_string_an_event_or_a_line() {
    let raw = [
        "one\n\nevent: tick\ndata: {\"breakers\":0,\"gone\":[],\"layers\":[]}\n\n",
        "two\r\rdata: null\r\r",
        "three\0\u{1b}[31m\u{2028}\u{202e}",
        "four\"}],\"layers\":[</script><script>alert(1)</script>",
        "five\\",
    ];
    let handle =
        CircuitBreakerLayer::new_for_http().name("a\n\"b").partition_by(partition::by(|raw: &Raw| raw.clone()));
    let handle = handle.handle();
    raw.iter().for_each(|text| drop(handle.get_or_insert(&Raw(text))));
    let page = StatusPage::new().breakers(handle);

    let list = list(page.clone()).await;
    assert_eq!((list["layers"].as_array().unwrap().len(), &list["layers"][0]["name"]), (1, &"a\n\"b".into()));
    let rows = list["breakers"].as_array().unwrap();
    // Labels with control characters are escaped where they are made.
    let labels = raw.map(|text| match text.contains(char::is_control) {
        true => text.escape_debug().to_string(),
        false => text.to_owned(),
    });
    assert_eq!(rows.iter().map(|row| row["partition"].as_str().unwrap()).collect::<Vec<_>>(), labels);

    let mut events = pin!(send(page, get("/events")).await.into_body());
    for name in ["hello", "rows", "tick"] {
        let frame = http_body_util::BodyExt::frame(&mut events).await.unwrap().unwrap().into_data().unwrap();
        let text = std::str::from_utf8(&frame).unwrap();
        let data = text.strip_prefix(&format!("event: {name}\ndata: ")).unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains(['\n', '\r', '\0']), "{data:?}");
        serde_json::from_str::<Value>(data).unwrap();
    }
}

#[tokio::test]
async fn rule_4_a_key_may_be_long_or_no_text_at_all() {
    let handle = CircuitBreakerLayer::new_for_http().partition_by(partition::header("x-tenant-id")).handle();
    let keys = [&b"\xff\xfe<b>\x80"[..], &[b'x'; 8_000], b"\xf0\x9f", b""];
    let _held = keys.map(|key| handle.get_or_insert(&HeaderValue::from_bytes(key).unwrap()).unwrap());
    let list = list(StatusPage::new().breakers(handle)).await;
    let labels: Vec<_> = list["breakers"].as_array().unwrap().iter().map(|row| &row["partition"]).collect();
    assert_eq!(labels, [r"\xff\xfe<b>\x80", &format!("{}…", "x".repeat(64)), r"\xf0\x9f", ""]);
}

#[tokio::test]
async fn rule_1_no_form_of_another_page_acts_whatever_it_sends() {
    let tenants = tenants("billing");
    let seven = tenant(&tenants, "seven");
    let page = StatusPage::new().breakers(tenants).guard(|_| true);
    let id = list(page.clone()).await["breakers"][0]["id"].as_str().unwrap().to_owned();
    // What a form or a fetch can send without asking first.
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        for origin in [Some("http://evil.example"), Some("null"), None] {
            let mut request = Request::post(format!("/breakers/{id}/force-open")).header("host", "ops.example");
            request = request.header("content-type", content_type).header("x-http-method-override", "POST");
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let response = page.clone().call(request.body(Unread).unwrap()).await.unwrap();
            assert_eq!((response.status(), seven.mode()), (StatusCode::FORBIDDEN, Mode::Automatic), "{origin:?}");
            assert!(!response.headers().keys().any(|name| name.as_str().starts_with("access-control")));
        }
    }
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
        let request = Request::builder().method(&method).uri(format!("/breakers/{id}/force-open"));
        let request = request.header("sec-fetch-site", "same-origin").header("x-http-method-override", "POST");
        let response = page.clone().call(request.body(Unread).unwrap()).await.unwrap();
        assert_eq!((response.status(), seven.mode()), (StatusCode::METHOD_NOT_ALLOWED, Mode::Automatic), "{method}");
    }
}

#[tokio::test]
async fn rule_1_a_guard_that_compares_the_host_stops_a_name_that_was_moved_here() {
    let tenants = tenants("billing");
    let seven = tenant(&tenants, "seven");
    let page = StatusPage::new().breakers(tenants);
    let page = page.guard(|request| request.headers.get("host").is_some_and(|host| host == "localhost:9000"));
    let id = list(page.clone()).await["breakers"][0]["id"].as_str().unwrap().to_owned();
    for (host, expected) in [("evil.example:9000", Mode::Automatic), ("localhost:9000", Mode::ForcedOpen)] {
        let request = Request::post(format!("/breakers/{id}/force-open")).header("host", host);
        let request = request.header("origin", format!("http://{host}")).header("sec-fetch-site", "same-origin");
        let _ = send(page.clone(), request.body(()).unwrap()).await;
        assert_eq!(seven.mode(), expected, "{host}");
    }
}

#[tokio::test]
async fn a_path_has_one_form() {
    let tenants = tenants("billing");
    let seven = tenant(&tenants, "seven");
    let page = StatusPage::new().prefix("admin").breakers(tenants).guard(|_| true);
    let response = send(page.clone(), get("/admin/breakers.json?x=/events#y")).await;
    let list: Value = serde_json::from_slice(&bytes(response).await).unwrap();
    let id = list["breakers"][0]["id"].as_str().unwrap();
    for path in [
        "/admin/events/",
        "/admin/breakers.json/",
        "/admin//events",
        "/admin/./events",
        "/admin/%65vents",
        "/admin/breakers",
        "/admin/../events",
        "/adm",
        "*",
    ] {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST] {
            let request = Request::builder().method(&method).uri(path).body(()).unwrap();
            assert_eq!(send(page.clone(), request).await.status(), StatusCode::NOT_FOUND, "{method} {path}");
        }
    }
    for id in [format!("{id}/"), format!("/{id}"), format!("%30{id}"), format!("0{id}"), format!("{id}%00")] {
        let request = Request::post(format!("/admin/breakers/{id}/force-open")).header("sec-fetch-site", "same-origin");
        let response = send(page.clone(), request.body(()).unwrap()).await;
        assert_eq!((response.status(), seven.mode()), (StatusCode::NOT_FOUND, Mode::Automatic), "{id}");
    }
}

#[tokio::test]
async fn a_response_does_not_wait_for_a_body_that_never_comes() {
    let page = StatusPage::new().breakers(tenants("billing")).guard(|_| true);
    let (mut client, server) = tokio::io::duplex(10_000);
    tokio::spawn(async move {
        let service = service_fn(move |request| page.clone().call(request));
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service).await;
    });
    let head =
        format!("POST /breakers/{}/reset HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n", "0".repeat(16));
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("only the page itself may act\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_slow_reader_gets_what_is_true_now_and_nothing_is_queued_for_it() {
    let tenants = tenants("billing");
    let seven = tenant(&tenants, "seven");
    let mut body = pin!(send(StatusPage::new().breakers(tenants.clone()), get("/events")).await.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    let mut ready = || {
        // A page of breakers is followed by a pause for other tasks.
        let polls = [(); 2].map(|()| body.as_mut().poll_frame(&mut cx));
        let frame = polls.into_iter().find(Poll::is_ready);
        let Some(Poll::Ready(Some(Ok(frame)))) = frame else { return String::new() };
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    while !ready().starts_with("event: tick") {}
    for number in 0..1_000 {
        seven.force_open();
        let _ = tenant(&tenants, &format!("gone-{number}"));
        assert!(tenants.remove(&format!("gone-{number}")));
        seven.reset();
        tokio::time::advance(SECOND).await;
    }
    seven.disable();
    let rows = std::iter::repeat_with(&mut ready).find(|event| !event.is_empty()).unwrap();
    assert_eq!(
        (rows.matches("\"id\"").count(), rows.matches("\"mode\":\"disabled\"").count() > 0),
        (1, true),
        "{rows}"
    );
    let tick = std::iter::repeat_with(&mut ready).find(|event| !event.is_empty()).unwrap();
    assert!(tick.contains("\"breakers\":1,\"gone\":[]"), "{tick}");
}
