//! The command: what it prints, what it draws, and how it ends.

#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::path::PathBuf;
use std::process::{Command, Output};

const OUTAGE: &str = r#"
title = "Ten <seconds> & no answer"

[load]
processes = 20
calls_per_second = 2
duration = "30s"

[upstream]
servers = 20
work = "50ms"

[[upstream.episodes]]
kind = "down"
from = "10s"
until = "20s"
"#;

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rampart-sim")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A folder of this test with one scenario file, which ends with these goals.
fn folder(test: &str, goals: &str) -> (PathBuf, String) {
    let folder = std::env::temp_dir().join(format!("rampart-sim-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("outage.toml");
    std::fs::write(&file, format!("{OUTAGE}\n{goals}")).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

#[test]
fn a_goal_that_is_missed_is_one_line_and_exit_code_1() {
    let goals = "[expect.no-retries]\nworst_load = 0.1\nlater_load = 2\ngoodput = 0.9\ngoodput_in_trouble = 0.5\nnever_recovers = true\nno_opening = true";
    let (folder, file) = folder("missed", goals);
    let output = command(&["--scenario", &file, "--stack", "no-retries"]);
    assert_eq!(output.status.code(), Some(1));
    let missed: Vec<&str> = text(&output.stderr).lines().collect();
    let goal =
        |line: &str| line.strip_prefix("missed: outage, no-retries: ").unwrap().split(':').next().unwrap().to_owned();
    let goals: Vec<String> = missed.iter().map(|line| goal(line)).collect();
    assert_eq!(goals, ["worst_load", "goodput", "goodput_in_trouble", "never_recovers"], "{missed:?}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn goals_that_are_reached_end_in_a_table_and_exit_code_0() {
    let goals = "[expect.defaults]\nworst_load = 5\nrecovered_within = '20s'\ngoodput_of_others = 1";
    let (folder, file) = folder("reached", goals);
    let output = command(&["--scenario", &file, "--stack", "defaults"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let table = text(&output.stdout);
    assert!(
        table.contains("outage: Ten <seconds> & no answer") && table.contains("\ndefaults of the layers  "),
        "{table}"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_row_of_the_table_has_the_numbers_of_the_run() {
    let (folder, file) = folder("table", "");
    let output = command(&["--scenario", &file, "--stack", "no-retries"]);
    let table = text(&output.stdout).to_owned();
    let row = table.lines().find(|line| line.starts_with("no retries ")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().skip(2).collect();
    // Ten of thirty seconds fail, each call once, and the next second is well; a refused connection is no work.
    let [worst, backlog, "s", after, "s", answered, "0.0%", "0", "0.0%"] = cells[..] else { panic!("{table}") };
    let number = |cell: &str, unit: char| cell.trim_end_matches(unit).parse::<f64>().unwrap();
    assert!((1.0..1.7).contains(&number(worst, 'x')) && (backlog, after) == ("0", "0"), "{row}");
    assert!((63.0..70.0).contains(&number(answered, '%')), "{row}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_report_is_one_line_of_json_and_a_picture_is_valid_xml() {
    let (folder, file) = folder("drawn", "");
    let pictures = folder.join("new");
    let arguments = ["--scenario", &file, "--stack", "naive", "--stack", "defaults", "--json", "--svg"];
    let output = command(&[&arguments[..], &[pictures.to_str().unwrap()]].concat());
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stacks: Vec<&str> = lines.iter().map(|line| line["stack"].as_str().unwrap()).collect();
    assert_eq!(stacks, ["naive", "defaults"]);
    assert!(lines[0]["report"]["calls"].as_u64().unwrap() > 1_000);
    assert!(lines[0]["amplification"].as_f64().unwrap() > 1.0 && lines[0]["goodput"].as_f64().unwrap() < 1.0);
    assert!(lines[0]["opened_at"].is_null() && lines[1]["opened_at"].as_u64().is_some());
    assert!(lines[1]["recovered_at"].as_u64() > lines[1]["opened_at"].as_u64());
    let svg = std::fs::read_to_string(pictures.join("outage.svg")).unwrap();
    assert!(svg.contains("Ten &lt;seconds&gt; &amp; no answer"), "{}", &svg[..600]);
    assert!(svg.contains("Calls that are answered") && svg.ends_with("</svg>\n"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_sweep_prints_a_row_a_value_and_draws_it() {
    let (folder, file) = folder("sweep", "");
    let svg = folder.to_str().unwrap();
    let output = command(&["--sweep", "outage-failures", "--scenario", &file, "--svg", svg]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert_eq!(text(&output.stdout).lines().filter(|line| line.starts_with("outage ")).count(), 8);
    let svg = std::fs::read_to_string(folder.join("sweep-outage-failures.svg")).unwrap();
    assert!(svg.contains("Failures in a row that open a breaker, if they last 2 s"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_cannot_be_run_ends_in_one_line_and_exit_code_2() {
    let (folder, file) = folder("wrong", "[expect.unknown]\nworst_load = 1");
    let missing = folder.join("missing.toml");
    for (arguments, line) in [
        (vec!["--scenario", "strom"], "strom: no such scenario; --list shows them"),
        (vec!["--stack", "nothing"], "nothing: no such stack; --list shows them"),
        (
            vec!["--scenario", "storm", "--scenario", "storm", "--svg", folder.to_str().unwrap()],
            "storm: two scenarios of this name would be one picture",
        ),
        (vec!["--sweep", "nothing"], "nothing: no such setting; --list shows them"),
        (vec!["--scenario", missing.to_str().unwrap()], "missing.toml: No such file or directory (os error 2)"),
        (vec!["--scenario", "storm", "--scenario", &file], "outage: expect.unknown: there is no such stack"),
        (vec!["--sweep", "all", "--stack", "defaults"], "--sweep changes the default layers and takes no --stack"),
    ] {
        let output = command(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}: nothing has run");
        let error = text(&output.stderr);
        assert!(error.lines().count() == 1 && error.contains(line), "{arguments:?}: {error}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_list_names_scenarios_stacks_and_settings() {
    let output = command(&["--list"]);
    let list = text(&output.stdout);
    for name in ["storm", "metastable", "naive", "defaults", "budget-ratio", "first-open-time"] {
        assert!(list.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))), "{name}: {list}");
    }
}

#[test]
fn lint_prints_what_it_finds_in_each_part_of_a_configuration() {
    let (folder, _) = folder("lint", "");
    let path = folder.join("mine.toml");
    let lint = |config: &str, flags: &str| {
        std::fs::write(&path, config).unwrap();
        let mut arguments = vec!["lint", path.to_str().unwrap()];
        arguments.extend(flags.split_whitespace());
        command(&arguments)
    };
    let facts = "--calls-per-second 1 --processes 2000";
    let config =
        "retry.budget = 'unlimited'\nretry.attempt_timeout = '1s'\n[per_name.billing.retry]\nbudget.ratio = {}";
    let output = lint(config, facts);
    assert_eq!(output.status.code(), Some(1));
    let found = text(&output.stdout);
    assert!(found.starts_with("budget: while calls fail, every call makes 3.00 requests"), "{found}");
    assert_eq!(found.lines().count(), 1, "{found}");
    assert!(found.contains("a utilisation of 0.80"), "{found}");

    // The budget of the name is the default, which fits unless the upstream is full.
    let output = lint(config, &format!("{facts} --name billing"));
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), ""));
    let output = lint(config, &format!("{facts} --name billing --capacity 2100"));
    let found = text(&output.stdout);
    assert!(found.starts_with("per_name.billing: budget: while calls fail, every call makes 1.20 requests"), "{found}");

    for (config, flags, expected) in [
        ("retry.attempts = 3", facts, "mine.toml:1: retry.attempts: unknown field `attempts`"),
        ("[retry]\nmax_attempts = 0", facts, "mine.toml: retry.max_attempts: max_attempts includes the first try"),
        ("[retry", facts, "mine.toml:1: "),
        ("", &format!("{facts} --name billing"), "mine.toml: there is no per_name.billing"),
        ("", "--processes 2000", "--calls-per-second <NUMBER>"),
        ("", &format!("{facts} --typical-latency 5"), "expected a duration"),
    ] {
        let output = lint(config, flags);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{config} {flags}: {error}");
        assert!(error.contains(expected), "{error}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn lint_refuses_absurd_facts_with_the_range() {
    let calls = "must be a number from 0.000001 to 10000000";
    let outage = "must be from 1s to 30days";
    for (flag, values, expected) in [
        ("--calls-per-second", &["0", "-1", "-0.0", "NaN", "inf", "1e300", "1e-300", "", "two", "1e8"][..], calls),
        ("--capacity", &["0", "-1", "nan", "1e13"], "must be a number from 0.000001 to 1000000000000"),
        ("--processes", &["0", "1000000000000000000", "10000001"], "is not in 1..=10000000"),
        ("--tiers", &["0", "11"], "is not in 1..=10"),
        ("--usual-failures", &["-0.1", "1", "1.5", "NaN"], "must be a number from 0 to 0.99"),
        ("--typical-outage", &["0s", "999ms", "31days", "584years"], outage),
        ("--typical-latency", &["0s", "1ns", "61m"], "must be from 1us to 1h"),
    ] {
        for value in values {
            let mut arguments = vec!["lint", "mine.toml", flag, value];
            for (other, usual) in [("--calls-per-second", "1"), ("--processes", "1")] {
                if other != flag {
                    arguments.extend([other, usual]);
                }
            }
            let output = command(&arguments);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{flag} {value}: {error}");
            assert!(error.contains(expected), "{flag} {value}: {error}");
        }
    }
}

#[test]
fn lint_takes_no_arguments_of_a_run() {
    let output = command(&["--json", "lint", "mine.toml", "--calls-per-second", "1", "--processes", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot be used with"), "{}", text(&output.stderr));
}

#[test]
fn replay_prints_what_other_settings_would_have_done() {
    let (folder, _) = folder("replay", "");
    let (recording, config) = (folder.join("trip.flight"), folder.join("other.toml"));
    std::fs::write(
        &recording,
        "tower-rampart flight recording 1\n3 decisions of billing\n\
         1.000000000 ended failure 0.000000000 - call #0123456789abcdef\n\
         1.200000000 ended success 0.000000000 - call #0123456789abcdef\n\
         60.000000000 ended success 0.000000000 - call #0123456789abcdef\n",
    )
    .unwrap();
    let replay = |settings: &str| {
        std::fs::write(&config, settings).unwrap();
        command(&["replay", recording.to_str().unwrap(), config.to_str().unwrap()])
    };
    let output = replay("[breaker]\nflight_recorder = 7\n[per_name.billing.breaker]\nconsecutive_failures = 1\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        "recorded: 0 openings, 0 calls rejected\n\
         replayed: 1 opening, the first after 1s of #0123456789abcdef, 1 call rejected\n\
         Opens after 1s, and did not before.\nRejects 1 call that worked, and 0 that failed.\n"
    );
    let output = replay("[per_name.other.breaker]\nconsecutive_failures = 1\n");
    assert!(text(&output.stdout).ends_with("Opens in neither.\n"), "{}", text(&output.stdout));

    let output = replay("breaker.failure_rate = 2");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("breaker.failure_rate"), "{}", text(&output.stderr));
    std::fs::write(&recording, "something else").unwrap();
    let output = replay("");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("trip.flight: line 1 of the flight recording"), "{}", text(&output.stderr));
    std::fs::remove_dir_all(folder).unwrap();
}
