//! Replaying a flight recording: what other settings would have done with the same calls.

#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::time::Duration;

use rampart_sim::replay::replay;
use rampart_sim::{Episode, Latency, Load, Process, Upstream, simulate};
use tower::Layer;
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Recording, Window};

const SECOND: Duration = Duration::from_secs(1);

fn layer() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new_for_http().window(Window::count(20)).failure_rate(0.5).open_for(3 * SECOND)
}

/// A recording of one partition, a line each.
fn recording(lines: &[&str]) -> Recording {
    let lines: String = lines.iter().map(|line| format!("{line} tenant\n")).collect();
    format!("tower-rampart flight recording 1\n{} decisions of billing\n{lines}", lines.len()).parse().unwrap()
}

#[test]
fn the_same_settings_do_the_same() {
    let load = Load::open(1, 10.0).lasting(60 * SECOND);
    let down = Episode::down().between(10 * SECOND, 30 * SECOND);
    let upstream = Upstream::new(10, Latency::Fixed(SECOND / 20)).episode(down);
    let layer_of_process = layer().flight_recorder(4_096);
    let breakers = std::sync::OnceLock::new();
    let stack = |process: Process| {
        breakers.get_or_init(|| layer_of_process.handle());
        layer_of_process.layer(process.upstream)
    };
    let report = simulate(stack, &load, &upstream, 7);
    let recording = breakers.get().unwrap().recording();
    let again = replay(&recording, || layer().breaker());
    assert!(report.rejected > 100 && again.recorded.openings.len() > 3, "{again}");
    assert_eq!(again.recorded.rejected, report.rejected);
    assert_eq!(again.replayed.openings, again.recorded.openings);
    assert_eq!((again.replayed.rejected, again.replayed.unknown), (report.rejected, 0));
}

#[test]
fn what_opens_earlier_rejects_calls_that_worked() {
    let recording = recording(&[
        "10.000000000 ended success 1.000000000 - call",
        "11.000000000 ended failure 1.000000000 - call",
        "12.000000000 ended failure 0.500000000 - call",
        // Began before the second failure, and ends after it.
        "12.500000000 ended success 1.000000000 - call",
        "13.000000000 ended success 0.500000000 - call",
        "13.500000000 ended failure 0.500000000 - call",
        "14.000000000 ended throttled 0.500000000 - call",
        "14.500000000 ended neutral 0.500000000 - call",
        // A probe, after three seconds.
        "15.500000000 ended success 0.500000000 - call",
        "16.000000000 ended success 0.500000000 - call",
    ]);
    let outcome = replay(&recording, || layer().no_outage().consecutive_failures(2).breaker());
    let other = &outcome.replayed;
    assert_eq!(other.openings, [(12 * SECOND, "tenant".into())]);
    assert_eq!((other.rejected, other.rejected_good, other.rejected_failed, other.unknown), (4, 1, 2, 0));
    assert_eq!((outcome.recorded.openings.len(), outcome.recorded.rejected), (0, 0));
    let text = outcome.to_string();
    assert!(
        text.contains("Opens after 12s, and did not before.\nRejects 1 call that worked, and 2 that failed."),
        "{text}"
    );
}

#[test]
fn what_opens_later_or_not_admits_calls_of_which_nothing_is_known() {
    let recording = recording(&[
        "10.000000000 ended failure 0.000000000 - call",
        "10.000000000 changed closed open automatic consecutive-failures",
        "11.000000000 rejected open own - -",
        "12.000000000 rejected open own - -",
        "13.000000000 changed open half-open automatic open-time-over",
        "13.000000000 ended failure 0.000000000 - probe",
        "13.000000000 changed half-open open automatic probe-failed",
        "14.000000000 rejected open own - -",
    ]);
    let never = replay(&recording, || layer().breaker());
    assert_eq!((never.recorded.rejected, never.recorded.openings.len()), (3, 2));
    assert_eq!((never.replayed.openings.len(), never.replayed.rejected, never.replayed.unknown), (0, 0, 3));
    assert!(never.to_string().contains("Does not open.\nAdmits 3 rejected calls"), "{never}");
    let later = replay(&recording, || layer().no_outage().consecutive_failures(2).breaker());
    assert_eq!(later.replayed.openings, [(13 * SECOND, "tenant".into())]);
    assert!(later.to_string().contains("Opens 3s later.\n"), "{later}");
}

#[test]
fn partitions_are_replayed_apart_and_an_empty_recording_does_nothing() {
    let text = "tower-rampart flight recording 1\n4 decisions of billing\n\
        1.000000000 ended failure 0.000000000 - call a\n1.000000000 ended failure 0.000000000 - call b\n\
        2.000000000 ended failure 0.000000000 - call b\n2.500000000 ended success 0.000000000 - call a\n";
    let outcome = replay(&text.parse().unwrap(), || layer().no_outage().consecutive_failures(2).breaker());
    assert_eq!(outcome.replayed.openings, [(2 * SECOND, "b".into())]);
    assert_eq!(outcome.replayed.rejected, 0);
    let empty = replay(&recording(&[]), || layer().breaker());
    assert_eq!(empty.recorded, empty.replayed);
}
