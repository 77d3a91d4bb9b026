//! nginx from Debian, with an app behind it: no POST is processed twice, no GET is lost.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use rampart_real::client::Stack;
use rampart_real::load::Load;
use rampart_real::proxy::{Limit, Protocol, Server, Setup};
use rampart_real::request::Kind;
use rampart_real::run::{Plan, Scenario};

use crate::support::{MIXED, assert_all};

fn plan(protocol: Protocol, scenario: Scenario) -> Plan {
    Plan::short(Server::Nginx, protocol, scenario)
}

/// GETs alone, because the budget grants one retry for five calls: with POSTs among them, fewer GETs would need one.
fn gets(at_once: usize) -> Load {
    Load { calls: 2_000, at_once, kinds: &[Kind::Get] }
}

/// Over HTTP/2 all calls share a connection. One that takes twenty requests gives back all the others: with a hundred
/// at once a call is given back again and again, and only the first time it goes out again for free.
const fn at_once(protocol: Protocol) -> [usize; 3] {
    match protocol {
        Protocol::Http1 => [100, 200, 400],
        Protocol::H2c | Protocol::H2Tls => [4, 8, 16],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_end_after_twenty_requests() {
    let setup = Setup { keepalive_requests: Some(20), ..Setup::default() };
    assert_all(Protocol::ALL.into_iter().flat_map(|protocol| {
        let plan = Plan { setup, ..plan(protocol, Scenario::Steady) };
        let posts = Plan { load: Load { calls: 3_000, at_once: 16, kinds: &[Kind::Post] }, ..plan };
        at_once(protocol).map(|at_once| Plan { load: gets(at_once), ..plan }).into_iter().chain([posts])
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_end_after_a_thousand_requests() {
    assert_all(Protocol::ALL.into_iter().flat_map(|protocol| {
        [200, 400].map(|at_once| Plan { load: gets(at_once), ..plan(protocol, Scenario::Steady) })
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_100_kb_are_sent_again() {
    let setup = Setup { keepalive_requests: Some(20), ..Setup::default() };
    assert_all(Protocol::ALL.map(|protocol| Plan {
        setup,
        load: Load { calls: 300, at_once: at_once(protocol)[2], kinds: &[Kind::PutBulk, Kind::PostBulk] },
        stack: Stack::HttpBulk,
        ..plan(protocol, Scenario::Steady)
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload() {
    assert_all(Protocol::ALL.into_iter().flat_map(|protocol| {
        [100, 400].map(|at_once| Plan {
            load: Load { at_once, ..MIXED },
            rounds: 4,
            ..plan(protocol, Scenario::Reload)
        })
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_and_restart() {
    assert_all(Protocol::ALL.map(|protocol| plan(protocol, Scenario::KillProxy))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_backend() {
    assert_all(Protocol::ALL.map(|protocol| plan(protocol, Scenario::KillApp))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limit() {
    assert_all(Protocol::ALL.into_iter().flat_map(|protocol| {
        [Limit::TooManyRequests, Limit::Unavailable].map(|limit| Plan {
            setup: Setup { limit: Some(limit), ..Setup::default() },
            ..plan(protocol, Scenario::Limited)
        })
    }))
    .await;
}
