//! The example is the main job of the crate, so it is tested like a part of it: its own unit tests run here, and below
//! the whole of it runs on real sockets.

// The helpers below are tests too; the example itself is linted where it is built.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../main.rs"]
mod metric_pull;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// A place for a file that no other test writes to.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

async fn run_into(args: &[&str], out: &mut impl Write) -> Result<(), String> {
    let args = ["metric_pull"].iter().chain(args).map(OsString::from);
    metric_pull::pull(args, out).await.map_err(|failure| failure.to_string())
}

async fn run(args: &[&str]) -> Result<String, String> {
    let mut out = Vec::new();
    run_into(args, &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}

async fn run_json(dead_letters: &Path, args: &[&str]) -> Value {
    let common = ["--json", "--dead-letters", dead_letters.to_str().unwrap()];
    let printed = run(&[&common, args].concat()).await.unwrap();
    assert_eq!(printed.lines().count(), 1);
    serde_json::from_str(&printed).unwrap()
}

fn number(run: &Value, group: &str, figure: &str) -> u64 {
    let value = &run["groups"][group][figure];
    value.as_u64().unwrap_or_else(|| panic!("{group}.{figure} is {value}"))
}

const GROUPS: [&str; 8] =
    ["healthy", "down", "throttled", "hanging", "resetting", "recovering", "unauthorized", "truncated"];

/// What holds however slow and busy the machine is. What depends on the clock is tested in `job.rs`, where it is
/// paused.
#[tokio::test(flavor = "multi_thread")]
async fn the_run_shows_what_the_layers_are_for() {
    const PULLS: u64 = 30;
    let (dead_letters, svg) = (scratch("main-job.jsonl"), scratch("main-job.svg"));
    let report = run_json(&dead_letters, &["--pulls", "30", "--svg", svg.to_str().unwrap()]).await;
    let (rampart, naive) = (&report["rampart"], &report["naive"]);

    for (run, name) in [(rampart, "rampart"), (naive, "naive")] {
        for group in GROUPS {
            let figure = |figure| number(run, group, figure);
            let endings = ["ok", "exhausted", "circuit_open", "terminal", "ambiguous"].map(figure);
            assert_eq!(figure("pulls"), figure("tenants") * PULLS, "{name} {group}");
            assert_eq!(endings.iter().sum::<u64>(), figure("pulls"), "{name} {group}");
            assert_eq!(figure("attempts"), figure("pulls") + figure("retries"), "{name} {group}");
            assert_eq!(figure("answered"), figure("ok") + figure("cached"), "{name} {group}");
            assert!(figure("upstream_requests") <= figure("attempts"), "{name} {group}");
            assert!(figure("cached") <= figure("exhausted") + figure("circuit_open"), "{name} {group}");

            let bins = run["load"]["requests"][group].as_array().unwrap();
            let in_bins = bins.iter().map(|bin| bin.as_u64().unwrap()).sum::<u64>();
            assert_eq!(in_bins, figure("upstream_requests"), "{name} {group}");
        }
        let requests = GROUPS.map(|group| number(run, group, "upstream_requests"));
        assert_eq!(requests.iter().sum::<u64>(), run["upstream_requests"].as_u64().unwrap());
    }

    assert_eq!(number(rampart, "down", "answered"), 0);

    // An ambiguous payload is kept.
    let letters: Vec<Value> = std::fs::read_to_string(dead_letters)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(letters.len() as u64, number(rampart, "truncated", "ambiguous"));
    for letter in &letters {
        assert!(letter["tenant"].as_str().unwrap().starts_with("truncated-"), "{letter}");
        assert_eq!(letter["reason"], "truncated");
        assert!(letter["bytes"].as_u64().unwrap() > 0 && letter["time_ms"].as_u64().unwrap() > 0, "{letter}");
        assert_eq!(letter.as_object().unwrap().len(), 4);
    }

    let texts = texts_of_svg(&std::fs::read_to_string(svg).unwrap());
    for text in ["Requests per second at the upstream, by group of tenants", "seconds since the start", "naively: "] {
        assert!(texts.iter().any(|found| found.starts_with(text)), "{text}: {texts:?}");
    }
    for group in GROUPS {
        let requests = [rampart, naive].map(|run| number(run, group, "upstream_requests"));
        let requests = format!("{} requests, {} naively: ", requests[0], requests[1]);
        assert!(texts.iter().any(|text| text.starts_with(&requests)), "{requests}: {texts:?}");
    }
}

/// The texts of a well-formed picture: each element is closed by its own end tag, and nothing is outside the root.
fn texts_of_svg(svg: &str) -> Vec<String> {
    let (mut open, mut texts) = (Vec::new(), Vec::new());
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" "), "{svg}");
    for piece in svg.trim_end().split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap();
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "<{piece}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        assert!(tag.matches('"').count() % 2 == 0 && !text.contains('&') && !tag.contains("NaN"), "<{piece}");
        if !text.trim().is_empty() {
            texts.push(text.trim().to_owned());
        }
    }
    assert!(open.is_empty(), "{open:?}");
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_the_shape_that_scripts_rely_on() {
    let report = run_json(&scratch("shape.jsonl"), &["--pulls", "2", "--every", "10"]).await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let sorted = |names: &[&str]| {
        let mut names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
        names.sort();
        names
    };
    let figures = "tenants pulls answered ok cached cached_age_p50_ms cached_age_max_ms attempts retries exhausted \
                   circuit_open terminal ambiguous upstream_requests p50_ms p99_ms";
    let figures: Vec<_> = figures.split(' ').collect();
    assert_eq!(keys(&report), ["naive", "rampart", "recovering"]);
    for run in [&report["naive"], &report["rampart"]] {
        assert_eq!(keys(run), ["elapsed_ms", "groups", "load", "upstream_requests"]);
        assert_eq!(keys(&run["groups"]), sorted(&GROUPS));
        for group in GROUPS {
            assert_eq!(keys(&run["groups"][group]), sorted(&figures));
            assert!(run["groups"][group].as_object().unwrap().values().all(Value::is_number));
        }
        assert_eq!(keys(&run["load"]["requests"]), sorted(&GROUPS));
        assert_eq!(run["load"]["bin_ms"], 20);
    }
    assert_eq!(keys(&report["recovering"]), ["breaker", "outage", "tenant"]);
    assert_eq!(report["recovering"]["tenant"], "recovering-01");
    assert_eq!(report["recovering"]["outage"], serde_json::json!({ "from_ms": 4, "to_ms": 10 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_tells_what_the_json_tells() {
    let dead_letters = scratch("table.jsonl");
    let args = ["--tenants", "2", "--pulls", "3", "--dead-letters", dead_letters.to_str().unwrap()];
    let table = run(&args).await.unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let healthy: Vec<_> = rows.iter().filter(|row| row.first() == Some(&"healthy")).collect();
    assert_eq!(healthy.len(), 1, "{table}");
    // Pulls; fresh, cached, age, p50 and p99 of each run; requests and their share.
    assert_eq!((healthy[0].len(), &healthy[0][1..5]), (16, &["6", "6", "0", "-"][..]), "{table}");
    assert!(table.contains("Answered, of 6 pulls: 6 (6 fresh, 0 cached) through the layers, 6 (6 "), "{table}");
    assert!(table.contains("0 dead letters in "), "{table}");
    assert!(!table.contains("hanging "), "a group without tenants has no row: {table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_one_line() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (nobody, directory) = (format!("http://{unused}"), scratch("no-such-directory/x"));
    let letters = scratch("unused.jsonl");
    let letters = letters.to_str().unwrap();
    for (args, says) in [
        (vec!["--tenants", "0"], "--tenants"),
        (vec!["--what"], "--what"),
        (vec!["--upstream", "https://localhost"], "--upstream must start with http://"),
        (vec!["--upstream", "junk"], "--upstream"),
        (vec!["--upstream", nobody.as_str()], "cannot reach the upstream"),
        (vec!["--dead-letters", directory.to_str().unwrap()], "cannot write dead letters"),
        (vec!["--dead-letters", env!("CARGO_TARGET_TMPDIR")], "cannot write dead letters"),
        (vec!["--dead-letters", letters, "--svg", directory.to_str().unwrap()], "cannot write the picture"),
        (vec!["--dead-letters", letters, "--svg", env!("CARGO_TARGET_TMPDIR")], "cannot write the picture"),
    ] {
        let failure = run(&args).await.unwrap_err();
        assert!(failure.contains(says) && failure.lines().count() == 1, "{args:?}: {failure}");
    }
}

/// The program itself, which a plain `cargo test` has built; `cargo test --test metric_pull` may not have.
fn program() -> PathBuf {
    let mut profile = std::env::current_exe().unwrap();
    profile.pop();
    profile.pop();
    let program = profile.join("examples").join(format!("metric_pull{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--example", "metric_pull"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success());
    }
    program
}

#[test]
fn a_failure_is_one_line_on_stderr_and_exit_code_2() {
    for args in [
        ["--pulls", "0"],
        ["--every", "0"],
        ["--upstream", "https://localhost"],
        ["--dead-letters", env!("CARGO_TARGET_TMPDIR")],
    ] {
        let Output { status, stdout, stderr } = Command::new(program()).args(args).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), stdout.len()), (Some(2), 0), "{args:?}");
        assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "{args:?}: {stderr}");
    }
}

/// A disk that is full does not lose dead letters in silence.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_cannot_be_written_ends_the_run() {
    let failure = run(&["--pulls", "1", "--dead-letters", "/dev/full"]).await.unwrap_err();
    assert!(failure.starts_with("cannot write dead letters to /dev/full"), "{failure}");
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_nobody_reads_is_no_failure() {
    let dead_letters = scratch("closed.jsonl");
    let args = ["--tenants", "1", "--pulls", "1", "--dead-letters", dead_letters.to_str().unwrap()];
    run_into(&args, &mut Closed).await.unwrap();
    run_into(&["--help"], &mut Closed).await.unwrap();
}

/// A server of somebody else: it answers the second tenant with the metrics of the first, and counts by path.
async fn somebody_elses() -> (SocketAddr, Arc<Mutex<HashMap<String, u64>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let paths = Arc::new(Mutex::new(HashMap::new()));
    let counted = Arc::clone(&paths);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            let service = service_fn(move |request: Request<Incoming>| {
                *counted.lock().unwrap().entry(request.uri().path().to_owned()).or_default() += 1;
                let body = r#"{"tenant":"healthy-01","period":"2026-10","metrics":[{"name":"n","quantity":1}]}"#;
                async move { Ok::<_, io::Error>(Response::new(Full::new(Bytes::from(body)))) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, paths)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_upstream_is_pulled_below_its_path() {
    let (address, paths) = somebody_elses().await;
    let (url, dead_letters) = (format!("http://{address}/billing/"), scratch("real.jsonl"));
    let report = run_json(&dead_letters, &["--tenants", "2", "--pulls", "5", "--upstream", &url]).await;

    let rampart = &report["rampart"];
    let healthy = |figure| number(rampart, "healthy", figure);
    // The wrong tenant's metrics are malformed ones: kept.
    assert_eq!((healthy("ok"), healthy("ambiguous")), (5, 5));
    let letters = std::fs::read_to_string(dead_letters).unwrap();
    assert_eq!(letters.lines().filter(|line| line.contains("another tenant")).count(), 5);

    // What leaves is what arrives.
    let left = |run: &str| report[run]["upstream_requests"].as_u64().unwrap();
    let arrived = paths.lock().unwrap().clone();
    assert_eq!(left("rampart") + left("naive"), arrived.values().sum::<u64>());
    // Five pulls through the layers, and five times four attempts naively.
    assert!(arrived["/billing/v1/tenants/healthy-02/metrics"] >= 25, "{arrived:?}");
    assert!(arrived["/billing/v1/tenants/healthy-01/metrics"] >= 10, "{arrived:?}");
}
