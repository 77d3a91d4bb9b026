//! Recorded calls.

use std::time::Duration;

use rampart_sim::{Episode, Latency, Load, Process, TenantCalls, Upstream, simulate};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_trace_is_replayed_at_its_times_by_its_processes_for_its_tenants() {
    let calls = [(2_500, 1, 0), (0, 0, 0), (10, 2, 2), (3_999, 1, 2)];
    let load = Load::trace(calls.map(|(millis, process, tenant)| (millis * MS, process, tenant)));
    let bad = Episode::down().for_tenant(2);
    let upstream = Upstream::new(1, Latency::Fixed(100 * MS)).episode(bad);
    let stack = |process: Process| {
        assert!(process.number < 3);
        process.upstream
    };
    let report = simulate(stack, &load, &upstream, 1);
    let calls = |calls, good| TenantCalls { calls, good };
    assert_eq!(report.tenants, [calls(2, 2), calls(0, 0), calls(2, 0)]);
    assert_eq!(report.seconds.iter().map(|second| second.calls).collect::<Vec<_>>(), [2, 0, 1, 1]);
    assert_eq!(report.seconds.iter().map(|second| second.good).collect::<Vec<_>>(), [1, 0, 1, 0]);
    assert_eq!(report.tenants[1].answered().to_bits(), 1.0_f64.to_bits());

    let half = simulate(stack, &load.lasting(2_500 * MS), &upstream, 1);
    assert_eq!(half.calls, 2);
}

#[test]
#[should_panic(expected = "there must be at least one process")]
fn an_empty_trace_panics() {
    let _ = Load::trace([]);
}
