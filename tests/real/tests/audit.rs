//! The audit itself: what it counts, and that it catches clients that do harm.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use rampart_real::audit::{Audit, Outage};
use rampart_real::client::Stack;
use rampart_real::ledger::Ledger;
use rampart_real::load::{Call, Ending, Load, Why};
use rampart_real::proxy::{Protocol, Server, Setup};
use rampart_real::request::{Kind, body, is_intact};
use rampart_real::run::{Plan, Scenario};

fn call(id: u64, kind: Kind, ending: Ending) -> Call {
    let begun = Instant::now();
    Call { id, kind, begun, ended: begun + Duration::from_millis(5), ending }
}

fn failed(why: Why, unprocessed: bool) -> Ending {
    Ending::Failed { why, unprocessed, text: "gone".to_owned() }
}

#[test]
fn doubled_is_a_post_with_two_lines() {
    let ledger = Ledger::parse("1 10 1\n1 11 1\n2 12 1\n3 13 1\n3 13 1\n4 14 1\n4 15 1\n");
    let calls = [
        call(1, Kind::Post, Ending::Good),
        call(2, Kind::PostSmall, Ending::Good),
        // One attempt that something below sent twice.
        call(3, Kind::PostBulk, failed(Why::Other, false)),
        // A GET may be processed twice.
        call(4, Kind::Get, Ending::Good),
    ];
    let audit = Audit::new(&calls, &ledger, &[]);
    assert_eq!((audit.doubled, audit.doubled_below, audit.lost), (2, 1, 0));
    assert_eq!((audit.calls, audit.good, audit.processed), (4, 3, 4));
}

#[test]
fn lost_is_a_get_without_a_good_answer_that_no_outage_explains() {
    let unavailable = Ending::Declined { status: 503, unprocessed: false };
    let not_found = Ending::Declined { status: 404, unprocessed: false };
    let mut calls = [Why::Unreachable, Why::Budget, Why::CircuitOpen, Why::Body]
        .into_iter()
        .map(|why| failed(why, false))
        .chain([unavailable, not_found, failed(Why::Other, false), Ending::Hung])
        .zip(1..)
        .map(|(ending, id)| call(id, Kind::Get, ending))
        .collect::<Vec<_>>();
    assert_eq!(Audit::new(&calls, &Ledger::default(), &[]).lost, 8);

    let outage = Outage { begun: calls[0].begun, ended: calls[7].ended };
    let audit = Audit::new(&calls, &Ledger::default(), &[outage]);
    assert_eq!((audit.unreachable, audit.shed, audit.declined, audit.cut, audit.lost, audit.hung), (1, 2, 1, 1, 3, 1));

    // An outage explains nothing that was over before, or begins after it.
    let later = outage.ended + Duration::from_secs(1);
    for call in &mut calls {
        (call.begun, call.ended) = (later, later + Duration::from_millis(1));
    }
    let outages = [outage, Outage { begun: later + Duration::from_secs(1), ended: later + Duration::from_secs(2) }];
    assert_eq!(Audit::new(&calls, &Ledger::default(), &outages).lost, 8);
}

#[test]
fn untrue_is_an_error_that_denies_what_the_ledger_holds() {
    let ledger = Ledger::parse("1 1 1\n2 2 1\n");
    let calls = [call(1, Kind::Post, failed(Why::Other, true)), call(2, Kind::Post, failed(Why::Other, false))];
    let audit = Audit::new(&calls, &ledger, &[]);
    assert_eq!((audit.untrue, audit.failed_posts), (1, 2));
}

#[test]
fn good_answers_without_a_line_and_wrong_bodies_are_noticed() {
    let calls = [call(1, Kind::Get, Ending::Good), call(2, Kind::Get, Ending::Good)];
    let audit = Audit::new(&calls, &Ledger::parse("2 2 0\n"), &[]);
    assert_eq!((audit.unrecorded, audit.corrupt), (1, 1));

    let sent = body(7, 100, false);
    assert!(is_intact(7, 100, false, &sent));
    assert!(!is_intact(7, 100, false, &sent[..99]) && !is_intact(8, 100, false, &sent));
    assert!(!is_intact(7, 100, false, &[&sent[..], &sent].concat()) && !is_intact(7, 100, false, b""));
}

#[test]
fn every_fault_is_reported() {
    let sound = Audit { calls: 1, good: 1, ..Audit::default() };
    assert_eq!(sound.faults(), [""; 0]);
    let lost = Audit { lost: 3, ..sound.clone() };
    assert!(lost.only_lost() && !sound.only_lost());
    assert!(!Audit { doubled: 1, ..lost.clone() }.only_lost() && !Audit { hung: 1, ..lost }.only_lost());
    let faulty = Audit { doubled: 1, untrue: 2, lost: 3, ..sound.clone() };
    assert_eq!((faulty.faults().len(), faulty.flaws().len()), (3, 0));
    let flawed = Audit { unrecorded: 1, corrupt: 2, hung: 3, good: 0, ..sound };
    assert_eq!((flawed.faults().len(), flawed.flaws().len()), (4, 4));
}

/// The run as a whole sees a doubled POST: an app that is killed at work, and a client that sends everything again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_repeats_every_post_is_caught() {
    for server in [Server::Nginx, Server::Haproxy] {
        let load = Load { calls: 500, at_once: 100, kinds: &[Kind::Post, Kind::PostSmall] };
        let plan = Plan { stack: Stack::Naive, load, ..Plan::short(server, Protocol::H2c, Scenario::KillApp) };
        if let Some(audit) = support::audit(&plan).await {
            assert_eq!(audit.flaws(), [""; 0], "{}", plan.name());
            assert!(audit.doubled > 0, "{}: {audit:#?}", plan.name());
        }
    }
}

/// The run as a whole sees a lost GET: connections that end after 20 requests, and a client that never retries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_retries_is_caught() {
    let load = Load { calls: 2_000, at_once: 200, kinds: &[Kind::Get] };
    let plan = Plan {
        stack: Stack::Bare,
        load,
        setup: Setup { keepalive_requests: Some(20), ..Setup::default() },
        ..Plan::short(Server::Nginx, Protocol::H2c, Scenario::Steady)
    };
    if let Some(audit) = support::audit(&plan).await {
        assert_eq!(audit.flaws(), [""; 0], "{}", plan.name());
        assert!(audit.lost > 0, "{}: {audit:#?}", plan.name());
    }
}
