//! What is found in settings, and that it is so: what is wrong fails in a simulation, and what is set instead does not.

mod breaker;
mod config;
mod opening;
mod retry;

use std::time::Duration;

use rampart_sim::lint::{Facts, Finding, Row, Settings, SlowCalls, Tokens, Waits, lint};
use rampart_sim::scenario::{self, Scenario};
use rampart_sim::{Episode, Latency, Load, Process, Report, Upstream, simulate};
use tower::{Layer, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);
const FROM: Duration = Duration::from_secs(20);

/// 200 processes, one call a second each, on an upstream of 1.25 times that capacity; ten bad seconds.
fn storm(episode: Episode) -> Scenario {
    let until = FROM + 10 * SECOND;
    let upstream = Upstream::new(25, Latency::Fixed(SECOND / 10)).queue(750);
    Scenario {
        load: Load::open(200, 1.0).lasting(70 * SECOND),
        upstream: upstream.episode(episode.between(FROM, until)),
        well_from: until,
        ..scenario::storm()
    }
}

fn facts() -> Facts {
    Facts { typical_outage: 10 * SECOND, ..Facts::new(200, 1.0, 250.0) }
}

/// A breaker and a budget that fit the storm, so that a test sees one wrong setting alone.
fn fitting() -> Settings {
    let settings = Settings {
        max_attempts: 4,
        attempt_timeout: Some(SECOND),
        budget: Tokens { ratio: 0.1, ..Tokens::default() },
        window: Some(8 * SECOND),
        minimum_calls: Some(5),
        failure_rate: 0.5,
        no_outage: true,
        open_for: Waits { first: SECOND / 2, max: 2 * SECOND },
        ..Settings::default()
    };
    assert_eq!(lint(&settings, &facts()), [], "the rest of the test says nothing else");
    settings
}

#[allow(clippy::unwrap_used)] // A test that fails.
fn run(settings: &Settings, scenario: &Scenario) -> Report {
    let stack = |process: Process| {
        let retry = settings.retry_layer().unwrap().seed(process.seed);
        match settings.breaker_layer().unwrap() {
            Some(breaker) => retry.layer(breaker.seed(process.seed).layer(process.upstream)).boxed_clone(),
            None => retry.layer(process.upstream).boxed_clone(),
        }
    };
    simulate(stack, &scenario.load, &scenario.upstream, 3)
}

fn only(settings: &Settings, facts: &Facts) -> Finding {
    let mut found = lint(settings, facts);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

/// How long after the trouble 95 in 100 calls were answered well in every second.
fn recovery(report: &Report, scenario: &Scenario) -> Option<Duration> {
    report.recovered_at(0.95).map(|at| at.saturating_sub(scenario.well_from))
}

#[test]
fn the_defaults_fit_the_fleet_that_decided_them() {
    let settings = Settings { max_attempts: 4, attempt_timeout: Some(SECOND), ..Settings::default() };
    let facts = Facts::new(2_000, 1.0, 2_500.0);
    assert_eq!(lint(&settings, &facts), []);
    let unreachable = Settings { no_outage: true, ..settings };
    assert!(lint(&unreachable, &facts).iter().any(|finding| finding.setting == "minimum_calls"));
}

#[test]
fn what_is_set_instead_is_found_no_more() {
    let mut judged = 0;
    for processes in [1, 30, 2_000] {
        for per_second in [0.01, 0.3, 1.0, 7.0, 900.0] {
            for used in [0.05, 0.6, 0.95] {
                for (outage, tiers, failures) in [(10, 1, 0.01), (60, 3, 0.2), (1_800, 2, 0.0), (60, 1, 0.7)] {
                    let mut facts = Facts::new(processes, per_second, f64::from(processes) * per_second / used);
                    (facts.tiers, facts.typical_outage, facts.usual_failures) = (tiers, outage * SECOND, failures);
                    for settings in settings() {
                        judged += 1;
                        let mut mended = settings;
                        let rounds = (0..20).take_while(|_| {
                            lint(&mended, &facts).first().map(|finding| mended = finding.mended).is_some()
                        });
                        assert!(rounds.count() < 12, "{facts:?} {settings:?}: still {:#?}", lint(&mended, &facts));
                        mended.retry_layer().unwrap();
                        mended.breaker_layer().unwrap();
                    }
                }
            }
        }
    }
    assert_eq!(judged, 3 * 5 * 3 * 4 * 15);
}

/// Settings that are wrong in every way.
fn settings() -> [Settings; 15] {
    let default = Settings::default();
    let long = Waits { first: 10 * SECOND, max: 600 * SECOND };
    [
        default,
        Settings { no_budget: true, max_attempts: 10, ..default },
        Settings { window: Some(SECOND), minimum_calls: Some(1_000), failure_rate: 0.1, ..default },
        Settings { window: Some(3_600 * SECOND), failure_rate: 1.0, open_for: long, ..default },
        Settings { no_outage: true, minimum_calls: Some(500), ..default },
        Settings { consecutive_failures: Some(1), ..default },
        Settings { outage: Some(Row { failures: 300, lasting: 100 * SECOND }), ..default },
        Settings { attempt_timeout: Some(30 * SECOND), deadline: Some(SECOND / 20), ..default },
        Settings {
            budget: Tokens { ratio: 0.0, reserve: 0, ..default.budget },
            attempt_timeout: Some(SECOND / 100),
            ..default
        },
        Settings { max_attempts: u32::MAX, deadline: Some(SECOND), ..default },
        Settings { forced_open: true, breaker: false, open_for: Waits::fixed(SECOND / 1_000), ..default },
        Settings { slow_calls: Some(SlowCalls { limit: SECOND / 1_000, rate: 0.01 }), failure_rate: 1.0, ..default },
        Settings {
            slow_calls: Some(SlowCalls { limit: 90 * SECOND, rate: 1.0 }),
            attempt_timeout: Some(SECOND),
            ..default
        },
        Settings { success_threshold: u32::MAX, half_open_max_calls: 1, ..default },
        Settings {
            budget: Tokens { ratio: 5.0, reserve: u32::MAX, ttl: Duration::MAX, min_per_second: u32::MAX },
            consecutive_failures: Some(16_383),
            ..default
        },
    ]
}
