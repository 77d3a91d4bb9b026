//! Tiers that call tiers.

use std::time::Duration;

use rampart_sim::{Episode, Latency, Load, Process, Report, Upstream, simulate};
use tower::ServiceBuilder;
use tower_rampart::RetryLayer;
use tower_rampart::retry::Budget;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Clients call A, which calls B, which calls a database that fails for ten seconds. Each hop makes up to three
/// attempts.
fn storm(budget: fn() -> Budget) -> Report {
    let stack = move |process: Process| {
        let retry = RetryLayer::new_for_http().seed(process.seed).max_attempts(3).budget(budget());
        ServiceBuilder::new().layer(retry).service(process.upstream)
    };
    let work = || Latency::Fixed(MS);
    let database = Upstream::new(50, work()).episode(Episode::errors(1.0).between(30 * SECOND, 40 * SECOND));
    let b = Upstream::new(50, work()).calling(10, stack, database);
    let a = Upstream::new(50, work()).calling(10, stack, b);
    simulate(stack, &Load::open(10, 10.0).lasting(60 * SECOND), &a, 3)
}

/// The worst second of each tier in requests per call of a client in it.
fn worst(report: &Report) -> Vec<f64> {
    report
        .tiers()
        .map(|tier| tier.seconds.iter().map(|second| second.attempts).max().unwrap_or(0))
        .map(f64::from)
        .map(|attempts| attempts / 100.0)
        .collect()
}

#[test]
fn three_attempts_in_each_of_three_tiers_make_27_calls_of_the_bottom() {
    let report = storm(Budget::unlimited);
    let failed = |tier: &Report| {
        let seconds = || tier.seconds.iter().enumerate().filter(|(at, _)| (30..=45).contains(at));
        seconds().map(|(_, second)| f64::from(second.attempts) - f64::from(second.good)).sum::<f64>()
    };
    let [a, b, database] = report.tiers().map(failed).collect::<Vec<_>>()[..] else { panic!("three tiers") };
    assert!(report.failed > 700 && report.seconds[50].good == report.seconds[50].calls);
    let worst = worst(&report);
    assert!(worst[0] > 2.5 && worst[1] > 7.0 && worst[2] > 20.0, "{worst:?}");
    // Of the calls that failed, each made three, nine and 27.
    assert!((database / b - 3.0).abs() < 0.1 && (b / a - 3.0).abs() < 0.1, "{a} {b} {database}");
    assert_eq!(report.next.as_ref().map(|b| b.calls), Some(report.attempts), "every request of A makes one call of B");
}

#[test]
fn budgets_in_each_tier_bound_the_storm() {
    let report = storm(|| Budget::ratio(0.1));
    let worst = worst(&report);
    let database = report.tiers().last().unwrap();
    assert!(database.amplification() < 1.2 && worst[2] < 27.0 / 3.0, "{worst:?}");
    assert!(report.recovered_at(0.999).is_some_and(|at| at <= 41 * SECOND), "{:?}", report.recovered_at(0.999));
}

#[test]
fn a_call_stays_one_of_its_tenant_in_every_tier() {
    let bare = |process: Process| process.upstream;
    let work = || Latency::Fixed(10 * MS);
    let database = Upstream::new(10, work()).episode(Episode::errors(1.0).for_tenant(2));
    let load = Load::open(10, 1.0).tenants(4, 0.0).lasting(20 * SECOND);
    let report = simulate(bare, &load, &Upstream::new(10, work()).calling(2, bare, database), 1);
    let answered = |tier: &Report| tier.tenants.iter().map(|tenant| tenant.answered()).collect::<Vec<_>>();
    assert!(report.tiers().all(|tier| answered(tier) == [1.0, 1.0, 0.0, 1.0]), "{:?}", report.tenants);
}

#[test]
fn a_handler_goes_on_when_its_caller_has_left_and_a_dead_tier_answers_503() {
    let impatient = |process: Process| {
        let once = RetryLayer::new_for_http().max_attempts(1).attempt_timeout(50 * MS);
        ServiceBuilder::new().layer(once).service(process.upstream)
    };
    let load = Load::trace([(Duration::ZERO, 0, 0)]);
    let tiers = |database| Upstream::new(1, Latency::Fixed(100 * MS)).calling(1, |process| process.upstream, database);
    let database = Upstream::new(1, Latency::Fixed(500 * MS));
    let report = simulate(impatient, &load, &tiers(database.clone()), 1);
    let next = report.next.as_ref().unwrap();
    assert_eq!((report.failed, next.good, next.latency_ms.p50), (1, 1, 500));
    assert_eq!(report.wasted_work.to_bits(), 0.1_f64.to_bits());

    let patient = |process: Process| process.upstream;
    let report = simulate(patient, &load, &tiers(database.episode(Episode::down())), 1);
    assert_eq!((report.failed, report.next.as_ref().unwrap().failed), (1, 1));
}
