//! HAProxy from Debian, with an app behind it: no POST is processed twice, no GET is lost.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use rampart_real::client::Stack;
use rampart_real::load::Load;
use rampart_real::proxy::{Limit, Protocol, Server, Setup};
use rampart_real::request::Kind;
use rampart_real::run::{Plan, Scenario};

use crate::support::{MIXED, assert_all};

fn plan(protocol: Protocol, scenario: Scenario) -> Plan {
    Plan::short(Server::Haproxy, protocol, scenario)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steady() {
    assert_all(Protocol::ALL.into_iter().flat_map(|protocol| {
        let plan = plan(protocol, Scenario::Steady);
        let bulk = Load { calls: 300, at_once: 100, kinds: &[Kind::PutBulk, Kind::PostBulk] };
        let bulk = Plan { load: bulk, stack: Stack::HttpBulk, ..plan };
        [200, 400].map(|at_once| Plan { load: Load { at_once, ..MIXED }, ..plan }).into_iter().chain([bulk])
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

/// Over HTTP/1.1, where there are no streams to refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_backend() {
    assert_all([false, true].map(|backend_h2| Plan {
        setup: Setup { backend_h2, ..Setup::default() },
        ..plan(Protocol::Http1, Scenario::KillApp)
    }))
    .await;
}

/// Over HTTP/2, HAProxy also refuses streams that its server was processing when it died: its word must not be taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_backend_when_refusals_are_distrusted() {
    assert_all([Protocol::H2c, Protocol::H2Tls].into_iter().flat_map(|protocol| {
        [false, true].map(|backend_h2| Plan {
            setup: Setup { backend_h2, ..Setup::default() },
            stack: Stack::HttpDistrusting,
            rounds: 3,
            ..plan(protocol, Scenario::KillApp)
        })
    }))
    .await;
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
