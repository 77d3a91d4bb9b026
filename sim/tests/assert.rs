//! What a test of a stack says when the stack does not recover.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rampart_sim::scenario::{self, Scenario};
use rampart_sim::{Episode, Latency, Load, Process, Upstream, assert_recovers};
use tower::Layer;
use tower_rampart::RetryLayer;

/// 100 processes, one call a second each, on an upstream of twice that capacity; `episode` in the seconds 10 to 20.
fn ten_seconds_of(episode: Episode) -> Scenario {
    let (from, until) = (Duration::from_secs(10), Duration::from_secs(20));
    let upstream = Upstream::new(20, Latency::Fixed(Duration::from_millis(100))).queue(400);
    Scenario {
        load: Load::open(100, 1.0).lasting(Duration::from_secs(60)),
        upstream: upstream.episode(episode.between(from, until)),
        well_from: until,
        ..scenario::storm()
    }
}

fn retry() -> RetryLayer {
    RetryLayer::new_for_http().max_attempts(4).attempt_timeout(Duration::from_secs(1)).no_budget()
}

#[allow(clippy::unwrap_used)] // A test that fails.
fn message(run: impl FnOnce()) -> String {
    *catch_unwind(AssertUnwindSafe(run)).unwrap_err().downcast().unwrap()
}

#[test]
fn a_stack_without_retries_recovers_from_an_outage_at_once() {
    let report = assert_recovers(|process: Process| process.upstream, &ten_seconds_of(Episode::down()), Duration::ZERO);
    assert_eq!((report.calls, report.rejected), (report.attempts, 0));
}

#[test]
fn a_stack_that_keeps_the_upstream_down_fails_with_numbers() {
    let slow = ten_seconds_of(Episode::slow(20.0));
    let message =
        message(|| drop(assert_recovers(|process| retry().layer(process.upstream), &slow, Duration::from_secs(2))));
    for part in [
        "storm: An upstream is 20 times slower for ten seconds. The stack must recover within 2s.",
        "was well from 20s on, and the stack had not recovered when the scenario ended",
        "times the usual load",
        "rejected\n     17 ",
        "\n     20 ",
        "\n     24 ",
    ] {
        assert!(message.contains(part), "no {part:?} in:\n{message}");
    }
}

#[test]
fn a_stack_that_recovers_too_late_fails_with_the_time() {
    let slow = ten_seconds_of(Episode::slow(20.0));
    let message = message(|| {
        drop(assert_recovers(|process| retry().max_attempts(1).layer(process.upstream), &slow, Duration::from_secs(1)));
    });
    assert!(message.contains("but the stack had recovered only "), "{message}");
}

#[test]
fn calls_that_stop_after_two_seconds_and_were_all_answered_have_recovered() {
    let scenario = ten_seconds_of(Episode::down());
    let load = scenario.load.clone().change_rate(Duration::from_secs(2), 0.0);
    let scenario = Scenario { load, ..scenario };
    let report = assert_recovers(|process: Process| process.upstream, &scenario, Duration::ZERO);
    assert_eq!(report.good, report.calls);
    let goals = "goodput_in_trouble = 0.5";
    let missed = toml::from_str::<rampart_sim::scenario::Goals>(goals).unwrap().missed(&scenario, &report);
    assert_eq!(missed, ["goodput_in_trouble: no calls, must be at least 0.5"]);
}
