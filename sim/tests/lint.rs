//! What is found in settings, and that it is so: what is wrong fails in a simulation, and what is set instead does not.

use std::time::Duration;

use rampart_sim::lint::{Facts, Finding, Row, Settings, Tokens, Waits, lint};
use rampart_sim::scenario::{self, Scenario};
use rampart_sim::{Episode, Latency, Load, Process, Report, Upstream, simulate};
use tower::{Layer, ServiceExt};
use tower_rampart::config::{Config, NameConfig, Preset};
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

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
fn retries_beyond_the_capacity_keep_the_upstream_down() {
    let settings = Settings { no_budget: true, breaker: false, ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!(
        finding.to_string(),
        "budget: while calls fail, every call makes 4.00 requests, and with a utilisation of 0.80 that is 3.20 times the \
         capacity: the upstream cannot recover. Set a budget with a ratio of 0.12 instead."
    );
    let storm = storm(Episode::slow(20.0));
    assert_eq!(recovery(&run(&settings, &storm), &storm), None);
    let mended = recovery(&run(&finding.mended, &storm), &storm).unwrap();
    assert!(mended < 30 * SECOND, "{mended:?}");
}

#[test]
fn what_all_processes_saved_comes_at_once() {
    let budget = Tokens { ratio: 0.1, ttl: 3_600 * SECOND, ..Tokens::default() };
    let settings = Settings { budget, breaker: false, ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!(
        finding.to_string(),
        "budget: 200 processes that have saved 100 retries each can send them all at once, which the upstream works off in \
         400 s with the 50 requests a second that it has to spare; the limit is 4 s. Set a ttl of 10 s instead."
    );
    let storm = storm(Episode::slow(20.0));
    let (bad, mended) = (run(&settings, &storm), run(&finding.mended, &storm));
    assert!(bad.worst_load() > 3.0 && mended.worst_load() < 2.0, "{}, {}", bad.worst_load(), mended.worst_load());
}

#[test]
fn a_reserve_that_outlives_an_outage_is_saved_too() {
    for (budget, instead) in [
        (Tokens { ratio: 0.0, reserve: 1_000_000, ttl: 3_600 * SECOND }, "a reserve of 1"),
        (Tokens { ratio: 0.1, reserve: 1_000_000, ttl: 3_600 * SECOND }, "a ttl of 10 s"),
        (Tokens { ratio: 0.001, reserve: 1_000, ttl: 900 * SECOND }, "a reserve of 1"),
    ] {
        let settings = Settings { budget, breaker: false, ..fitting() };
        let finding = only(&settings, &facts());
        assert_eq!((finding.setting, finding.instead.as_str()), ("budget", instead));
        assert_eq!(lint(&finding.mended, &facts()), []);
    }
    let young = Settings { budget: Tokens { reserve: 1_000_000, ..fitting().budget }, ..fitting() };
    assert_eq!(lint(&young, &facts()), [], "gone after two seconds");
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
fn an_outage_is_over_before_a_long_window_notices_it() {
    let settings = Settings { window: Some(60 * SECOND), minimum_calls: Some(10), ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!((finding.setting, finding.found), ("window", 30.0));
    let outage = storm(Episode::down());
    let (bad, mended) = (run(&settings, &outage), run(&finding.mended, &outage));
    let rejected = |report: &Report| report.seconds[28..30].iter().map(|second| second.rejected).sum::<u32>();
    assert!(rejected(&bad) < 40 && rejected(&mended) > 200, "{}, {}", rejected(&bad), rejected(&mended));
}

#[test]
fn a_long_row_of_failures_is_shortened_to_the_outage() {
    let outage = Some(Row { failures: 40, lasting: 8 * SECOND });
    let settings = Settings { window: Some(60 * SECOND), no_outage: false, outage, ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!((finding.setting, finding.found, finding.limit), ("outage", 30.0, 5.0));
    assert_eq!(finding.mended.outage, Some(Row { failures: 5, lasting: 5 * SECOND / 2 }));
    let outage = storm(Episode::down());
    let (bad, mended) = (run(&settings, &outage).rejected, run(&finding.mended, &outage).rejected);
    assert!(bad < 100 && mended > 400, "{bad}, {mended}");
}

#[test]
fn a_minimum_above_the_calls_in_a_window_never_opens() {
    let settings = Settings { window: Some(4 * SECOND), minimum_calls: Some(20), ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!((finding.setting, finding.found, finding.limit), ("minimum_calls", 4.0, 20.0));
    let outage = storm(Episode::down());
    assert_eq!(run(&settings, &outage).rejected, 0);
    let mended = run(&finding.mended, &outage).rejected;
    assert!(mended > 500, "{mended}");
}

#[test]
fn a_breaker_that_stays_open_long_prolongs_the_outage() {
    let settings = Settings { open_for: Waits::fixed(30 * SECOND), ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!((finding.setting, finding.found, finding.limit), ("open_for", 30.0, 2.5));
    let outage = storm(Episode::down());
    let (bad, mended) = (run(&settings, &outage), run(&finding.mended, &outage));
    let (bad, mended) = (recovery(&bad, &outage).unwrap(), recovery(&mended, &outage).unwrap());
    assert!(bad >= 20 * SECOND && mended <= 4 * SECOND, "{bad:?}, {mended:?}");
}

#[test]
fn a_deadline_of_one_attempt_forbids_retries() {
    let settings = Settings { deadline: Some(SECOND), breaker: false, ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!((finding.setting, finding.found, (finding.limit * 10.0).round()), ("deadline", 1.0, 12.0));
    // Every tenth answer takes longer than anyone waits.
    let latencies: Vec<_> = (0..10).map(|slow| if slow == 0 { 30 * SECOND } else { SECOND / 20 }).collect();
    let load = Load::open(20, 5.0).lasting(60 * SECOND);
    let slow =
        Scenario { load, upstream: Upstream::new(1_000, Latency::Measured(latencies.into())), ..scenario::storm() };
    let good = |settings: &Settings| {
        let report = run(&Settings { no_budget: true, ..*settings }, &slow);
        report.good as f64 / report.calls as f64
    };
    let (bad, mended) = (good(&settings), good(&finding.mended));
    assert!(bad < 0.92 && mended > 0.98, "{bad}, {mended}");
}

#[test]
fn usual_failures_open_breakers_with_a_small_minimum() {
    let usual = Facts { usual_failures: 0.15, typical_outage: 60 * SECOND, ..Facts::new(2_000, 1.0, 2_500.0) };
    let settings = Settings { max_attempts: 1, window: Some(30 * SECOND), minimum_calls: Some(10), ..fitting() };
    let settings = Settings { open_for: Waits::fixed(10 * SECOND), ..settings };
    let finding = only(&settings, &usual);
    assert_eq!((finding.setting, (finding.found * 2_000.0).round()), ("minimum_calls", 20.0));
    let failing = Scenario {
        load: Load::open(2_000, 1.0).lasting(20 * SECOND),
        upstream: Upstream::new(1_000, Latency::Fixed(SECOND / 10)).episode(Episode::errors(0.15)),
        ..scenario::storm()
    };
    let (bad, mended) = (run(&settings, &failing).rejected, run(&finding.mended, &failing).rejected);
    assert!(bad > 100 && mended == 0, "{bad}, {mended}");
}

#[test]
fn a_short_row_of_failures_comes_by_chance() {
    let usual = Facts { usual_failures: 0.05, typical_outage: 60 * SECOND, ..facts() };
    let settings =
        Settings { window: Some(30 * SECOND), minimum_calls: Some(20), consecutive_failures: Some(2), ..fitting() };
    let settings = Settings { open_for: Waits::fixed(10 * SECOND), ..settings };
    let finding = only(&settings, &usual);
    assert_eq!(
        finding.to_string(),
        "consecutive_failures: while 5 % of the calls fail as usual, 2 in a row fail by chance once in 400 calls. Set 5, or \
         an outage that has to last, instead."
    );
    let failing = storm(Episode::errors(0.05));
    let (bad, mended) = (run(&settings, &failing).rejected, run(&finding.mended, &failing).rejected);
    assert!(bad > 10 && mended == 0, "{bad}, {mended}");
}

#[test]
fn an_upstream_that_hangs_is_noticed_by_a_timeout_alone() {
    let finding = only(&Settings { attempt_timeout: None, ..fitting() }, &facts());
    assert_eq!((finding.setting, finding.mended.attempt_timeout), ("attempt_timeout", Some(SECOND)));
}

#[test]
fn attempts_multiply_through_tiers() {
    let tiers = Facts { tiers: 3, ..Facts::new(10, 1.0, 100.0) };
    let finding = only(&Settings { max_attempts: 3, breaker: false, ..fitting() }, &tiers);
    assert_eq!((finding.setting, finding.found, finding.mended.max_attempts), ("max_attempts", 27.0, 2));
    let full = Facts { tiers: 3, ..Facts::new(80, 1.0, 100.0) };
    let load = &lint(&Settings { max_attempts: 3, breaker: false, ..fitting() }, &full)[0];
    assert_eq!((load.setting, (load.found * 1e3).round()), ("budget", (1.1_f64.powi(3) * 0.8 * 1e3).round()));
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
    assert_eq!(judged, 3 * 5 * 3 * 4 * 9);
}

/// Settings that are wrong in every way.
fn settings() -> [Settings; 9] {
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
            budget: Tokens { ratio: 5.0, reserve: u32::MAX, ttl: Duration::MAX },
            consecutive_failures: Some(16_383),
            ..default
        },
    ]
}

#[test]
fn defaults_are_those_of_the_builders() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _clock = runtime.enter();
    let ours = Settings::default();
    assert_eq!(format!("{:?}", ours.retry_layer().unwrap()), format!("{:?}", RetryLayer::new_for_http()));
    let breaker = ours.breaker_layer().unwrap().unwrap();
    assert_eq!(format!("{breaker:?}"), format!("{:?}", CircuitBreakerLayer::new_for_http()));
}

#[test]
fn a_configuration_without_fields_is_the_defaults() {
    assert_eq!(Settings::of(&NameConfig::default(), &facts()), Settings::default());
}

#[test]
fn a_configuration_is_judged_by_what_its_layers_do() {
    let settings = |text: &str| {
        let config = Config::read(toml::Deserializer::parse(text).unwrap()).unwrap();
        // Ten calls a second.
        Settings::of(&config.settings("billing"), &Facts::new(200, 10.0, 2_500.0))
    };
    let default = Settings::default();
    let all = settings(
        "
        [retry]
        max_attempts = 4
        backoff.fixed.wait = '250ms'
        attempt_timeout = '1s'
        deadline = '10s'
        budget.ratio = { ratio = 0.5, reserve = 3, ttl = '1m' }
        [breaker]
        window.time.length = '30s'
        minimum_calls = 7
        failure_rate = 0.5
        consecutive_failures = 5
        outage = { failures = 6, lasting = '1s' }
        no_outage = true
        open_for.linear = { first = '1s', step = '2s', max = '90s' }
        [per_name.billing.retry]
        max_attempts = 5
    ",
    );
    let expected = Settings {
        max_attempts: 5,
        backoff: Waits::fixed(SECOND / 4),
        attempt_timeout: Some(SECOND),
        deadline: Some(10 * SECOND),
        budget: Tokens { ratio: 0.5, reserve: 3, ttl: 60 * SECOND },
        no_budget: false,
        breaker: true,
        window: Some(30 * SECOND),
        minimum_calls: Some(7),
        failure_rate: 0.5,
        consecutive_failures: Some(5),
        outage: Some(Row { failures: 6, lasting: SECOND }),
        no_outage: true,
        open_for: Waits { first: SECOND, max: 90 * SECOND },
    };
    assert_eq!(all, expected);

    // What the rules know in other words.
    let count = settings("breaker.window.count.calls = 15");
    assert_eq!((count.window, count.minimum_calls), (Some(3 * SECOND / 2), Some(15)));
    for mode in ["disabled", "observe_only", "forced_open", "reject_retries_only"] {
        assert!(!settings(&format!("breaker.mode = '{mode}'")).breaker, "{mode}");
    }
    let saved = |reserve| Tokens { ratio: 0.0, reserve, ttl: Duration::MAX };
    for (budget, tokens) in [
        ("grpc = { max_tokens = 10, token_ratio = 0.1 }", saved(5)),
        ("concurrent = { percent = 20, minimum = 3 }", Tokens { ratio: 0.2, reserve: 0, ttl: Duration::ZERO }),
        ("ratio.ratio = 0.1", Tokens { ratio: 0.1, ..Tokens::default() }),
    ] {
        assert_eq!(settings(&format!("retry.budget.{budget}")), Settings { budget: tokens, ..default }, "{budget}");
    }
    assert_eq!(settings("retry.budget = 'aws_standard'").budget, saved(100));
    assert_eq!(settings("retry.budget = 'unlimited'"), Settings { no_budget: true, ..default });
    let preset = settings("preset = 'fast_internal'");
    assert_eq!((preset.max_attempts, preset.deadline), (2, Some(SECOND)));
}

#[test]
fn presets_fit_what_they_are_for_and_batch_costs_what_the_docs_say() {
    let found = |preset: Preset, facts: Facts| {
        let settings = Settings::of(&Config::from(preset).settings("billing"), &facts);
        lint(&settings, &facts).iter().map(|finding| finding.setting).collect::<Vec<_>>()
    };
    assert_eq!(found(Preset::FastInternal, Facts::new(100, 20.0, 2_500.0)), [""; 0]);
    let api = Facts { typical_latency: 2 * SECOND, ..Facts::new(10, 5.0, 1_000.0) };
    assert_eq!(found(Preset::ThirdPartyApi, api), [""; 0]);
    let report = Facts { typical_latency: 10 * SECOND, ..Facts::new(20, 1.0, 25.0) };
    assert_eq!(found(Preset::Batch, report), ["budget", "open_for"]);
}
