//! Scenario files: each bad one ends in one line that names file, field and reason.

use std::path::Path;
use std::time::Duration;

use rampart_sim::scenario::{Scenario, ScenarioError};
use rampart_sim::{Process, simulate};

const GOOD: &str = r#"
title = "Everything at once"

[load]
processes = 20
calls_per_second = 1
arrivals = "even"
duration = "20s"
tenants = 4
zipf = 1.0
changes = [{ at = "10s", factor = 0 }, { at = "12s", factor = 2 }]

[upstream]
servers = 10
work = { median = "50ms", p99 = "200ms" }
queue = 100

[[upstream.episodes]]
kind = "slow"
factor = 3
from = "5s"
until = "10s"

[[upstream.episodes]]
kind = "throttled"
share = 1.0
retry_after = "1s"
from = "14s"
until = "15s"
tenant = 3

[expect.defaults]
worst_load = 3
recovered_within = "5s"
"#;

fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse("test", "test.toml", text)
}

/// The good file with one piece replaced.
fn with(piece: &str, other: &str) -> String {
    assert_eq!(GOOD.matches(piece).count(), 1, "{piece}");
    GOOD.replace(piece, other)
}

#[test]
fn a_file_with_every_part_runs() {
    let scenario = parse(GOOD).unwrap();
    assert_eq!(scenario.title, "Everything at once");
    assert_eq!((scenario.trouble_from, scenario.well_from), (Duration::from_secs(5), Duration::from_secs(15)));
    let report = simulate(|process: Process| process.upstream, &scenario.load, &scenario.upstream, 1);
    // 20 a second for ten seconds, none for two, 40 for eight.
    assert!((515..=525).contains(&report.calls), "{}", report.calls);
    assert!(report.failed > 0 && report.good > 400, "{report:?}");
    assert!(scenario.expect.contains_key("defaults"));
}

#[test]
fn the_laws_of_work_and_the_kinds_of_load_can_be_chosen() {
    for work in [r#""80ms""#, r#"{ mean = "80ms" }"#, r#"{ one_of = ["10ms", "100ms"] }"#] {
        parse(&with(r#"{ median = "50ms", p99 = "200ms" }"#, work)).unwrap();
    }
    let closed = "[load]\nprocesses = 3\nthink = '1s'\nduration = '5s'\n[upstream]\nservers = 1\nwork = '10ms'";
    let scenario = parse(closed).unwrap();
    assert_eq!(scenario.title, "test", "the name where there is no title");
    let report = simulate(|process: Process| process.upstream, &scenario.load, &scenario.upstream, 1);
    assert_eq!(report.calls, 15);
}

#[test]
fn a_bad_file_ends_in_one_line_that_names_the_field_and_why() {
    let cases = [
        ("an empty file", String::new(), "", "missing field `load`"),
        ("no load", with("[load]", "[lode]"), "lode", "unknown field `lode`"),
        ("a wrong type", with("processes = 20", "processes = 'many'"), "load.processes", "a whole number from 1"),
        ("no whole number", with("processes = 20", "processes = 1.5"), "load.processes", "a whole number from 1"),
        ("a huge number", with("processes = 20", "processes = 9223372036854775807"), "load.processes", "to 100000"),
        (
            "more than a number",
            with("processes = 20", "processes = 99999999999999999999"),
            "load.processes",
            "to 100000",
        ),
        ("a negative rate", with("calls_per_second = 1", "calls_per_second = -1"), "load.calls_per_second", "above 0"),
        ("not a number", with("calls_per_second = 1", "calls_per_second = nan"), "load.calls_per_second", "NaN"),
        ("endless", with("calls_per_second = 1", "calls_per_second = inf"), "load.calls_per_second", "above 0"),
        ("an unknown field", with("servers = 10", "servers = 10\nserver = 1"), "upstream.server", "unknown field"),
        ("no server", with("servers = 10", "servers = 0"), "upstream.servers", "a whole number from 1"),
        ("no work", with("work =", "# work ="), "upstream", "missing field `work`"),
        ("an odd law", with(r#", p99 = "200ms""#, ""), "upstream.work", "{ median, p99 }"),
        ("a duration without unit", with(r#""20s""#, "20"), "load.duration", "a duration in quotes"),
        ("a bad duration", with(r#""20s""#, r#""20 parsecs""#), "load.duration", "a duration in quotes"),
        ("a year", with(r#""20s""#, r#""365d""#), "load.duration", "up to 604800 s"),
        ("too short", with(r#""20s""#, r#""0s""#), "load.duration", "at least 1 s"),
        (
            "a turned episode",
            with(
                r#""5s"
until = "10s""#,
                r#""10s"
until = "5s""#,
            ),
            "upstream.episodes[0].until",
            "not after the beginning",
        ),
        (
            "a late episode",
            with(r#""14s""#, r#""14m""#).replace(r#""15s""#, r#""15m""#),
            "upstream.episodes[1].from",
            "before the end",
        ),
        (
            "an unknown kind",
            with(r#""slow""#, r#""slwo""#),
            "upstream.episodes[0].kind",
            "expected one of `down`, `slow`",
        ),
        ("a missing factor", with("factor = 3\n", ""), "upstream.episodes[0].factor", "missing"),
        ("an idle factor", with(r#""slow""#, r#""down""#), "upstream.episodes[0].factor", "no meaning"),
        ("an unknown tenant", with("tenant = 3", "tenant = 4"), "upstream.episodes[1].tenant", "no tenant 4"),
        ("a share of two", with("share = 1.0", "share = 2.0"), "upstream.episodes[1].share", "from 0 to 1"),
        ("changes out of order", with(r#""12s""#, r#""2s""#), "load.changes", "order"),
        ("two kinds of load", with("processes = 20", "processes = 20\nthink = '1s'"), "load.think", "beside"),
        (
            "hardly a pause",
            "load = { processes = 20, think = '1us', duration = '20s' }\nupstream = { servers = 1, work = '1ms' }"
                .into(),
            "load.think",
            "20000000 calls a second",
        ),
        (
            "a tenant of none",
            with("tenants = 4\nzipf = 1.0\n", ""),
            "upstream.episodes[1].tenant",
            "the load has no tenants",
        ),
        ("no kind of load", with("calls_per_second = 1\n", ""), "load.calls_per_second", "missing"),
        ("tenants in the void", with("tenants = 4\n", ""), "load.zipf", "without tenants"),
        (
            "too many calls a second",
            with("processes = 20", "processes = 100000").replace("second = 1", "second = 9"),
            "load.processes",
            "1800000 calls a second",
        ),
        (
            "too many calls",
            with("processes = 20", "processes = 20000").replace("20s", "1h"),
            "load.duration",
            "calls in all",
        ),
        ("an unknown goal", with("worst_load", "worst_lode"), "expect.defaults.worst_lode", "unknown field"),
        ("a title with controls", with("Everything at once", "\\u001b[2J"), "title", "one line"),
        (
            "a night without end",
            with(r#""10s", factor = 0"#, r#""0s", factor = 0"#).replace("= 2 }", "= 0 }"),
            "load.duration",
            "0.0 calls",
        ),
        (
            "too many breakers",
            with("processes = 20", "processes = 20000").replace("tenants = 4", "tenants = 400"),
            "load.tenants",
            "8000000 breakers",
        ),
        ("a late trouble", with("\n\n[load]", "\ntrouble.from = '1h'\n\n[load]"), "trouble.from", "before the end"),
        (
            "a turned trouble",
            with("\n\n[load]", "\ntrouble.from = '9s'\ntrouble.until = '8s'\n\n[load]"),
            "trouble.until",
            "not after",
        ),
        ("no TOML", "[load\nprocesses = 1".to_owned(), "", "unclosed"),
        ("a text with controls", "\u{1b}[31m = \"\n\n".to_owned(), "", ""),
    ];
    for (what, text, field, why) in cases {
        let error = parse(&text).expect_err(what);
        let line = error.to_string();
        assert!(line.starts_with("test.toml"), "{what}: {line}");
        assert!(!line.contains(|c: char| c.is_control()) && line.len() < 500, "{what}: {line:?}");
        assert_eq!(error.field(), field, "{what}: {line}");
        assert!(line.contains(why), "{what}: {line}");
    }
}

#[test]
fn a_file_that_cannot_be_read_ends_in_one_line() {
    let folder = std::env::temp_dir().join(format!("rampart-sim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let binary = folder.join("binary.toml");
    std::fs::write(&binary, [0, 159, 146, 150, 255]).unwrap();
    let long = folder.join("long.toml");
    std::fs::write(&long, "#".repeat(2 << 20)).unwrap();
    let missing = folder.join("missing.toml");
    for (path, why) in
        [(&binary, "UTF-8"), (&long, "longer than"), (&missing, "o such file"), (&folder, "not a regular file")]
    {
        let line = Scenario::read(Path::new(path)).unwrap_err().to_string();
        assert!(line.starts_with(&path.display().to_string()) && line.contains(why), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
