//! Many partitions: what one poll does, and what a page keeps.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode};
use http_body::Body;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Handle, State, partition};

use tower_rampart::status_page::StatusPage;

use crate::support::*;

const MANY: u64 = 65_536;
/// 128 partitions with a key, the default one and the 16 that keys share.
const MOST_A_POLL: usize = 145;

fn numbered(partitions: u64) -> Handle<u64> {
    let layer = CircuitBreakerLayer::new_for_http().partition_by(partition::extension::<u64>());
    let handle = layer.handle();
    for key in 0..partitions {
        // One that has counted nothing may be evicted.
        handle.get_or_insert(&key).unwrap().try_acquire().unwrap().succeed();
    }
    handle
}

/// Polls a body until it has shown so many breakers and nothing is ready. Returns the rows of each poll, and prints how
/// long the polls took.
fn polls(body: impl Body<Data = bytes::Bytes>, breakers: usize, what: &str) -> Vec<usize> {
    let mut body = pin!(body);
    let mut cx = Context::from_waker(Waker::noop());
    let (mut rows, mut slowest, mut all) = (vec![], Duration::ZERO, Duration::ZERO);
    while rows.iter().sum::<usize>() < breakers {
        let began = Instant::now();
        let poll = body.as_mut().poll_frame(&mut cx);
        let took = began.elapsed();
        (slowest, all) = (slowest.max(took), all + took);
        rows.push(match poll {
            Poll::Pending => 0,
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                data.windows(8).filter(|window| window == b"\"calls\":").count() / 2
            }
            Poll::Ready(_) => panic!("ended after {} rows", rows.iter().sum::<usize>()),
        });
    }
    println!("{what}: {breakers} breakers in {} polls, {all:?}, the slowest {slowest:?}", rows.len());
    rows
}

#[tokio::test]
async fn rule_5_a_poll_reads_a_page_of_breakers_and_then_yields() {
    let handle = numbered(MANY);
    let page = StatusPage::new().breakers(handle);
    for path in ["/breakers.json", "/events"] {
        let body = send(page.clone(), get(path)).await.into_body();
        let rows = polls(body, MANY as usize, path);
        assert!(rows.iter().all(|rows| *rows <= MOST_A_POLL), "{:?}", rows.iter().max());
        // One that shows nothing after each one that does, so that other tasks run.
        assert!(rows.windows(2).all(|two| two.contains(&0)), "{path}");
        assert_eq!(rows.iter().filter(|rows| **rows > 0).count(), 512, "{path}");
    }
}

#[tokio::test]
async fn rule_5_a_list_misses_no_breaker_while_others_are_removed() {
    let handle = numbered(1_000);
    let mut body = pin!(send(StatusPage::new().breakers(handle.clone()), get("/breakers.json")).await.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    let mut text = Vec::new();
    let mut removed = 0;
    loop {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(None) => break,
            Poll::Ready(Some(frame)) => text.extend(frame.unwrap().into_data().unwrap()),
            // The last ones move to the places of the first.
            Poll::Pending => {
                for _ in 0..50 {
                    assert!(handle.remove(&removed));
                    removed += 1;
                }
            }
        }
    }
    let list: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let rows = list["breakers"].as_array().unwrap();
    let listed: HashSet<&str> = rows.iter().map(|row| row["partition"].as_str().unwrap()).collect();
    assert!(removed >= 350 && (removed..1_000).all(|key| listed.contains(&*key.to_string())));
}

#[tokio::test]
async fn rule_5_an_action_looks_for_its_breaker_a_page_a_poll() {
    let page = StatusPage::new().breakers(numbered(MANY)).guard(|_| true);
    let path = format!("/breakers/{}/reset", "0".repeat(16));
    let request = http::Request::post(path).header("sec-fetch-site", "same-origin").body(()).unwrap();
    let mut call = pin!(send(page, request));
    let mut cx = Context::from_waker(Waker::noop());
    let polls = (1..).find(|_| call.as_mut().poll(&mut cx).is_ready());
    assert_eq!(polls, Some(513));
}

#[tokio::test]
async fn rule_6_a_page_keeps_no_breaker_from_being_evicted() {
    let layer = CircuitBreakerLayer::new_for_http().partition_by(partition::extension::<u64>()).max_partitions(4);
    let handle = layer.handle();
    let page = StatusPage::new().breakers(handle.clone());
    let mut body = pin!(send(page.clone(), get("/events")).await.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    for key in 0..40_u64 {
        // Forgotten when it is reset, also while the page shows its history.
        let breaker = handle.get_or_insert(&key);
        assert!(breaker.is_some(), "{key}");
        let breaker = breaker.unwrap();
        breaker.force_open();
        breaker.reset();
        drop(breaker);
        let _ = body.as_mut().poll_frame(&mut cx);
    }
    assert_eq!(handle.len(), 4);
}

#[tokio::test]
async fn rule_6_the_history_is_bounded() {
    let handle = numbered(4_100);
    let page = StatusPage::new().breakers(handle.clone());
    handle.set_mode_all(tower_rampart::breaker::Mode::ForcedOpen);
    let list = list(page).await;
    let rows = list["breakers"].as_array().unwrap();
    assert_eq!((rows.len(), handle.state(&0)), (4_100, State::Open));
    assert_eq!(rows.iter().filter(|row| row["history"].as_array().unwrap().len() == 1).count(), 4_096);
}

#[tokio::test]
async fn rule_7_a_page_serves_sixteen_streams_at_once() {
    let page = StatusPage::new().breakers(numbered(1));
    let mut streams = Vec::new();
    for _ in 0..16 {
        let response = send(page.clone(), get("/events")).await;
        assert_eq!(response.status(), StatusCode::OK);
        streams.push(response);
    }
    for request in [get("/events"), Request::head("/events").body(()).unwrap()] {
        let is_head = request.method() == Method::HEAD;
        // Clones count together, also those with another guard.
        let response = send(page.clone().guard(|_| true), request).await;
        assert_eq!(
            (response.status(), &response.headers()["retry-after"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
        );
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
        let text = if is_head { "" } else { "too many streams are open\n" };
        assert_eq!(bytes(response).await, text);
    }
    // Lists have no such limit.
    assert_eq!(list(page.clone()).await["breakers"].as_array().unwrap().len(), 1);
    streams.pop();
    for status in [200, 503] {
        let response = send(page.clone(), get("/events")).await;
        assert_eq!(response.status(), status);
        streams.push(response);
    }
    drop(streams);
    // A response to HEAD is no stream.
    for _ in 0..20 {
        assert_eq!(send(page.clone(), Request::head("/events").body(()).unwrap()).await.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_round_costs_what_has_changed_while_breakers_come_and_go() {
    let handle = numbered(MANY);
    let mut body = pin!(send(StatusPage::new().breakers(handle.clone()), get("/events")).await.into_body());
    let mut most = (0, Duration::ZERO);
    for (number, changed) in [MANY, 1_000, 1_000, 0].into_iter().enumerate() {
        let (mut rows, mut sent, mut largest, began) = (0, 0, 0, Instant::now());
        let (breakers, gone) = loop {
            let polled = Instant::now();
            let frame = poll_fn(|cx| match body.as_mut().poll_frame(cx) {
                Poll::Pending => Poll::Ready(None),
                ready => ready,
            });
            let frame = frame.await;
            most.1 = most.1.max(polled.elapsed());
            // Nothing is ready between two pages, and between two rounds, when only time goes on.
            let Some(frame) = frame else {
                tokio::time::advance(Duration::from_millis(1)).await;
                continue;
            };
            let data = frame.unwrap().into_data().unwrap();
            let text = std::str::from_utf8(&data).unwrap();
            (sent, largest) = (sent + data.len(), largest.max(data.len()));
            rows += text.matches("\"remaining_probes\":").count();
            if let Some(tick) = text.strip_prefix("event: tick\ndata: ") {
                let tick: serde_json::Value = serde_json::from_str(tick).unwrap();
                break (tick["breakers"].as_u64().unwrap(), tick["gone"].as_array().unwrap().len());
            }
        };
        println!("round {number}: {rows} rows, {sent} bytes, the largest event {largest}, {:?}", began.elapsed());
        let is_first = number == 0;
        assert_eq!((rows as u64, breakers, gone as u64), (changed, MANY, if is_first { 0 } else { changed }));
        assert!(sent as u64 <= 1_000 + 500 * changed && largest <= 75_000, "{sent} bytes, {largest} at once");
        most.0 = most.0.max(largest);
        // A thousand go, and a thousand others come.
        if number < 2 {
            let first = number as u64 * 1_000;
            (first..first + 1_000).for_each(|key| assert!(handle.remove(&key)));
            (first..first + 1_000).for_each(|key| drop(handle.get_or_insert(&(MANY + key))));
        }
    }
    println!("the slowest poll {:?}", most.1);
}
