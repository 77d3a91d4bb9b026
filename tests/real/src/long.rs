//! The long form: every server, protocol, scenario and load, as a table.

use std::process::ExitCode;
use std::time::Duration;

use rampart_real::audit::Audit;
use rampart_real::client::Stack;
use rampart_real::grpc;
use rampart_real::load::Load;
use rampart_real::proxy::{Limit, Protocol, Server, Setup};
use rampart_real::request::Kind;
use rampart_real::run::{Plan, Scenario, run};
use rampart_real::table::{HEAD, Row};

const AT_ONCE: [usize; 3] = [100, 200, 400];
const GETS: &[Kind] = &[Kind::Get];
const POSTS: &[Kind] = &[Kind::Post];
const MIXED: &[Kind] = &[Kind::Get, Kind::Post, Kind::Get, Kind::PostSmall];
const BULK: &[Kind] = &[Kind::PutBulk, Kind::PostBulk];
const GRPC: &[Kind] = &[Kind::GrpcGet, Kind::GrpcCharge];
const CHARGES: &[Kind] = &[Kind::GrpcCharge];

/// Runs what has all the words in its row, and fails if anything was doubled, lost or unsound.
pub(crate) async fn run_all(arguments: &[&str]) -> ExitCode {
    let (calls, words) = match arguments {
        ["--calls", calls, words @ ..] => (calls.parse().expect("a number of calls"), words),
        words => (20_000, words),
    };
    let app = std::env::current_exe().expect("the path of this program");
    let mut good = true;
    println!("{HEAD}");
    for server in [Server::Nginx, Server::Haproxy] {
        if !server.is_installed() {
            eprintln!("skipped: {} is not installed", server.program());
            continue;
        }
        for plan in plans(server, calls) {
            let mut row = row(&plan);
            if matches(&row, words) {
                row.audit = run(&plan, &app).await.unwrap_or_else(|error| panic!("{}: {error}", plan.name()));
                // A stack that believes HAProxy shows why there is a setting; it is no fault of the stack.
                let expected =
                    plan.stack != Stack::HttpDistrusting && !is_believed(server, plan.protocol, plan.scenario);
                good &= show(&row) || expected;
            }
        }
    }
    for (server, name) in [(grpc::Server::Tonic, "tonic"), (grpc::Server::Grpcio, "grpcio")] {
        if server == grpc::Server::Grpcio && grpc::python().is_none() {
            eprintln!("skipped: grpcio is not installed");
            continue;
        }
        for transport in [grpc::Transport::Hyper, grpc::Transport::Channel] {
            for (at_once, kinds) in [(16, CHARGES), (100, GRPC), (200, GRPC), (400, GRPC)] {
                let load = Load { calls, at_once, kinds };
                let mut row = Row {
                    server: name.to_owned(),
                    protocol: "h2c",
                    scenario: format!("connection age 300 ms, over {transport:?}"),
                    load: load_of(load),
                    audit: Audit::default(),
                };
                if matches(&row, words) {
                    row.audit = grpc::run(server, transport, load, 10).await.expect("a run");
                    good &= show(&row);
                }
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plans(server: Server, calls: usize) -> Vec<Plan> {
    let mut plans = Vec::new();
    for protocol in Protocol::ALL {
        let plan = Plan { rounds: 0, ..Plan::short(server, protocol, Scenario::Steady) };
        let keepalives: &[_] = if server == Server::Nginx { &[Some(20), None] } else { &[None] };
        for &keepalive_requests in keepalives {
            let stack = if keepalive_requests.is_some() { Stack::HttpTimed } else { Stack::Http };
            let plan = Plan { setup: Setup { keepalive_requests, ..Setup::default() }, stack, ..plan };
            for at_once in AT_ONCE {
                plans.push(Plan { load: Load { calls, at_once, kinds: GETS }, ..plan });
            }
            for at_once in [16, 200] {
                plans.push(Plan { load: Load { calls, at_once, kinds: POSTS }, ..plan });
            }
            for at_once in AT_ONCE {
                let load = Load { calls: calls / 10, at_once, kinds: BULK };
                plans.push(Plan { load, stack: Stack::HttpBulk, ..plan });
            }
        }
        for scenario in [Scenario::Reload, Scenario::KillProxy, Scenario::KillApp] {
            let distrust = !is_believed(server, protocol, scenario);
            let stack = if distrust { Stack::HttpDistrusting } else { Stack::HttpTimed };
            for at_once in AT_ONCE {
                let load = Load { calls, at_once, kinds: MIXED };
                plans.push(Plan { scenario, load, stack, rounds: 10, ..plan });
            }
        }
        if server == Server::Haproxy {
            let setup = Setup { backend_h2: true, ..Setup::default() };
            let load = Load { calls, at_once: 100, kinds: POSTS };
            let plan = Plan { scenario: Scenario::KillApp, setup, load, rounds: 10, ..plan };
            plans.push(plan);
            if !is_believed(server, protocol, Scenario::KillApp) {
                plans.push(Plan { stack: Stack::HttpDistrusting, ..plan });
            }
        }
        for limit in [Limit::TooManyRequests, Limit::Unavailable] {
            let setup = Setup { limit: Some(limit), ..Setup::default() };
            let load = Load { calls, at_once: 200, kinds: MIXED };
            plans.push(Plan { scenario: Scenario::Limited, setup, load, rounds: 10, ..plan });
        }
    }
    for plan in &mut plans {
        plan.every = Duration::from_millis(300);
    }
    plans
}

/// Whether a refused stream was really not processed. HAProxy also refuses those on which its server died.
fn is_believed(server: Server, protocol: Protocol, scenario: Scenario) -> bool {
    server == Server::Nginx || protocol == Protocol::Http1 || scenario != Scenario::KillApp
}

fn row(plan: &Plan) -> Row {
    let Plan { server, setup, protocol, scenario, stack, load, .. } = plan;
    let mut words = match scenario {
        Scenario::Steady => "steady".to_owned(),
        Scenario::Reload => "reload every 300 ms".to_owned(),
        Scenario::KillProxy => "kill -9 of the proxy".to_owned(),
        Scenario::KillApp => "kill -9 of the app".to_owned(),
        Scenario::Limited => "rate limit".to_owned(),
    };
    let mut add = |more: &str| {
        words.push_str(", ");
        words.push_str(more);
    };
    if let Some(requests) = setup.keepalive_requests {
        add(&format!("keepalive_requests {requests}"));
    }
    match setup.limit {
        None => {}
        Some(Limit::TooManyRequests) => add("429 with Retry-After"),
        Some(Limit::Unavailable) => add("503"),
    }
    if setup.backend_h2 {
        add("h2 to the app");
    }
    match stack {
        Stack::HttpDistrusting => add("attempt_timeout 5 s, refusals distrusted"),
        Stack::HttpTimed | Stack::HttpBulk => add("attempt_timeout 5 s"),
        _ => {}
    }
    Row {
        server: server.program().to_owned(),
        protocol: protocol.as_str(),
        scenario: words,
        load: load_of(*load),
        audit: Audit::default(),
    }
}

fn load_of(load: Load) -> String {
    let kinds = match load.kinds {
        [Kind::Get] => "GET",
        [Kind::Post] => "POST, empty",
        [Kind::PutBulk, ..] => "PUT and POST, 100 KB",
        [Kind::GrpcCharge] => "not idempotent",
        [Kind::GrpcGet, ..] => "idempotent and not",
        _ => "GET and POST",
    };
    format!("{kinds}, {} at once", load.at_once)
}

fn matches(row: &Row, words: &[&str]) -> bool {
    let row = row.to_string().to_lowercase();
    words.iter().all(|word| row.contains(&word.to_lowercase()))
}

fn show(row: &Row) -> bool {
    println!("{row}");
    let Audit { doubled, doubled_below, lost, hung, corrupt, unrecorded, losses, failures, untrue, .. } = &row.audit;
    for (text, count) in losses {
        eprintln!("    lost {count}: {text}");
    }
    for (text, count) in failures {
        eprintln!("    POST failed {count}: {text}");
    }
    if [*hung, *corrupt, *unrecorded, *doubled_below] != [0; 4] {
        eprintln!("    hung {hung}, corrupt {corrupt}, unrecorded {unrecorded}, doubled below {doubled_below}");
    }
    [*doubled, *lost, *hung, *corrupt, *unrecorded, *untrue] == [0; 6]
}
