//! What the modelled servers do to requests.

use std::time::Duration;

use rampart_sim::{Episode, Latency, Load, Process, Report, Upstream, simulate};
use tower::{Layer, ServiceBuilder};
use tower_rampart::breaker::partition;
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn bare(load: &Load, upstream: &Upstream) -> Report {
    simulate(|process: Process| process.upstream, load, upstream, 5)
}

#[test]
fn latencies_follow_their_law() {
    let load = Load::open(1, 10.0).lasting(3_000 * SECOND);
    for (law, [p50, p99]) in [
        (Latency::Fixed(20 * MS), [20.0, 20.0]),
        // ln 2 and ln 100 times the mean.
        (Latency::Exponential(100 * MS), [69.3, 460.5]),
        (Latency::LogNormal { median: 50 * MS, p99: 400 * MS }, [50.0, 400.0]),
        (Latency::Measured([10 * MS, 30 * MS, 30 * MS].into()), [30.0, 30.0]),
    ] {
        let found = bare(&load, &Upstream::new(1_000, law.clone())).latency_ms;
        // A timer is up to a millisecond late.
        let close = |found: u64, expected: f64| (found as f64 - expected).abs() <= 1.0 + 0.05 * expected;
        assert!(close(found.p50, p50) && close(found.p99, p99), "{law:?}: {found:?}");
    }
}

#[test]
fn a_rolling_restart_refuses_the_share_of_a_replica_and_loses_what_it_works_on() {
    let load = Load::open(10, 40.0).lasting(30 * SECOND);
    let work = Latency::Fixed(100 * MS);
    // 400 calls a second keep 40 of 80 servers busy: 10 of 20 in each replica.
    let rolling = Episode::rolling(4, SECOND).between(10 * SECOND, Duration::MAX);
    let report = bare(&load, &Upstream::new(80, work.clone()).episode(rolling));
    for (second, count) in report.seconds.iter().enumerate().take(30) {
        let bad = f64::from(count.calls - count.good) / f64::from(count.calls);
        match second {
            // Those that a restart loses were mostly sent in the second before.
            9 => assert!((0.01..0.06).contains(&bad), "{bad}"),
            10..=12 => assert!((0.2..0.36).contains(&bad), "{second}: {bad}"),
            13 => assert!((0.2..0.32).contains(&bad), "{bad}"),
            _ => assert_eq!(count.good, count.calls, "{second}"),
        }
    }
    assert!(report.wasted_work > 0.5 && report.wasted_work < 3.0, "{}", report.wasted_work);
    let whole = bare(&load, &Upstream::new(80, work).episode(Episode::down().between(10 * SECOND, 14 * SECOND)));
    assert!(4 * report.failed > whole.failed && 3 * report.failed < whole.failed, "a quarter, and what is lost");
}

#[test]
fn retries_answer_what_a_rolling_restart_refuses_and_loses() {
    let load = Load::open(20, 20.0).lasting(30 * SECOND);
    let rolling = Episode::rolling(4, SECOND).between(10 * SECOND, Duration::MAX);
    let upstream = Upstream::new(80, Latency::Fixed(100 * MS)).episode(rolling);
    let stack = |process: Process| {
        let retry = RetryLayer::new_for_http().seed(process.seed).max_attempts(6).no_budget();
        ServiceBuilder::new().layer(retry).service(process.upstream)
    };
    let report = simulate(stack, &load, &upstream, 5);
    assert!(report.good as f64 >= 0.999 * report.calls as f64, "{} of {}", report.good, report.calls);
}

#[test]
fn breakers_open_and_close_for_the_bad_tenant_alone() {
    let load = Load::open(1, 100.0).tenants(10, 0.0).lasting(30 * SECOND);
    let bad = Episode::errors(1.0).between(10 * SECOND, 15 * SECOND).for_tenant(3);
    let upstream = Upstream::new(100, Latency::Fixed(10 * MS)).episode(bad);
    let stack = |process: Process| {
        let breaker = CircuitBreakerLayer::new_for_http()
            .seed(process.seed)
            .consecutive_failures(5)
            .open_for(SECOND)
            .partition_by(partition::header("x-tenant-id"));
        process.watch(&breaker.handle());
        ServiceBuilder::new().layer(breaker).service(process.upstream)
    };
    let report = simulate(stack, &load, &upstream, 5);
    assert_eq!(report.opened_at(), Some(10 * SECOND));
    let changes = |of: fn(&rampart_sim::Second) -> u32| report.seconds.iter().map(of).sum::<u32>();
    let (opened, closed) = (changes(|second| second.opened), changes(|second| second.closed));
    assert!((2..=6).contains(&opened) && closed == 1, "{opened} {closed}");
    assert_eq!(report.seconds.iter().rposition(|second| second.closed > 0).map(|at| at >= 15), Some(true));
    for (tenant, calls) in report.tenants.iter().enumerate() {
        assert_eq!(calls.answered() < 1.0, tenant == 3, "{tenant}: {calls:?}");
    }
}

#[test]
fn requests_that_are_never_answered_run_into_the_timeouts_of_their_attempts() {
    let load = Load::open(2, 1.0).lasting(10 * SECOND);
    let stack = |process: Process| {
        let retry = RetryLayer::new_for_http().seed(process.seed).attempt_timeout(SECOND);
        ServiceBuilder::new().layer(retry).service(process.upstream)
    };
    let stuck = Upstream::new(4, Latency::Fixed(100 * MS)).queue(100).episode(Episode::capacity(0.0));
    let slow = (0..4)
        .fold(Upstream::new(100, Latency::Fixed(100 * MS)), |upstream, _| upstream.episode(Episode::slow(1_000_000.0)));
    for upstream in [stuck, slow] {
        let report = simulate(stack, &load, &upstream, 5);
        // A task that panics makes one attempt.
        assert!(report.failed == report.calls && report.attempts > report.calls, "{report:?}");
    }
}

#[test]
fn an_answer_is_an_error_if_the_trouble_covers_its_end() {
    let errors = Episode::errors(1.0).between(10 * SECOND, 20 * SECOND);
    let upstream = Upstream::new(1_000, Latency::Fixed(2 * SECOND)).episode(errors);
    let report = bare(&Load::open(10, 5.0).lasting(30 * SECOND), &upstream);
    for (second, count) in report.seconds.iter().enumerate().take(30) {
        let good = if (8..18).contains(&second) { 0 } else { count.calls };
        assert_eq!(count.good, good, "{second}");
    }
}

#[test]
fn calls_without_a_timeout_end_though_they_are_never_answered() {
    let stuck = Upstream::new(4, Latency::Fixed(100 * MS)).queue(100);
    let stuck = stuck.episode(Episode::capacity(0.0)).episode(Episode::errors(1.0));
    let stack = |process: Process| RetryLayer::new_for_http().seed(process.seed).layer(process.upstream);
    let report = simulate(stack, &Load::open(2, 1.0).lasting(10 * SECOND), &stuck, 5);
    assert_eq!((report.good, report.failed), (0, report.calls));
    assert!(report.attempts > report.calls && report.seconds.len() <= (1 << 20) + 1, "{}", report.seconds.len());
}

#[test]
#[should_panic(expected = "the stack is at fault")]
fn a_panic_of_a_stack_is_one_of_the_run() {
    let stack = |process: Process| {
        ServiceBuilder::new()
            .map_request(|request: http::Request<http_body_util::Empty<bytes::Bytes>>| {
                assert!(request.uri().path().is_empty(), "the stack is at fault");
                request
            })
            .service(process.upstream)
    };
    simulate(stack, &Load::open(2, 1.0).lasting(10 * SECOND), &Upstream::new(4, Latency::Fixed(MS)), 5);
}
