//! What is found in what opens a breaker.

use rampart_sim::lint::{Facts, Row, Settings, SlowCalls, Waits, lint};
use rampart_sim::scenario::{self, Scenario};
use rampart_sim::{Episode, Latency, Load, Report, Upstream};

use super::{FROM, SECOND, facts, fitting, only, run, storm};

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
fn a_rate_of_one_is_reached_by_no_outage_with_a_single_answer() {
    let settings = Settings { failure_rate: 1.0, ..fitting() };
    assert_eq!(lint(&Settings { window: Some(5 * SECOND), ..settings }, &facts()), [], "five calls are a row");
    let facts = Facts { typical_outage: 60 * SECOND, ..Facts::new(4, 125.0, 625.0) };
    let finding = only(&settings, &facts);
    assert_eq!(
        finding.to_string(),
        "failure_rate: one success among the 1000 calls of a window keeps the rate from opening the breaker. Set 0.9 instead."
    );
    let until = FROM + 30 * SECOND;
    let outage = Scenario {
        load: Load::open(4, 125.0).lasting(60 * SECOND),
        upstream: Upstream::new(100, Latency::Fixed(SECOND / 10)).episode(Episode::errors(0.99).between(FROM, until)),
        well_from: until,
        ..scenario::storm()
    };
    let (bad, mended) = (run(&settings, &outage).rejected, run(&finding.mended, &outage).rejected);
    assert!(mended > 4 * bad && mended > 5_000, "{bad}, {mended}");
}

#[test]
fn calls_that_are_slow_by_mistake_open_a_breaker() {
    let slow = |limit| Settings { slow_calls: Some(SlowCalls { limit, rate: 0.5 }), ..fitting() };
    let settings = slow(SECOND / 20);
    let finding = only(&settings, &facts());
    assert_eq!(
        finding.to_string(),
        "slow_calls: a call is slow after 50 ms, but a usual answer takes up to 100 ms: such answers open the breaker. Set \
         a limit of 200 ms instead."
    );
    let usual = storm(Episode::errors(0.0));
    let (bad, mended) = (run(&settings, &usual).rejected, run(&finding.mended, &usual).rejected);
    assert!(bad > 1_000 && mended == 0, "{bad}, {mended}");

    let settings = slow(2 * SECOND);
    let finding = only(&settings, &facts());
    assert_eq!((finding.setting, finding.found, finding.limit), ("slow_calls", 2.0, 1.0));
    assert!(finding.problem.ends_with("an attempt is cut after 1 s: no call is ever slow"), "{finding}");
    // Eight times as long is 0.8 s, which no timeout cuts.
    let sluggish = storm(Episode::slow(8.0));
    let (bad, mended) = (run(&settings, &sluggish).rejected, run(&finding.mended, &sluggish).rejected);
    assert!(mended > bad + 100, "{bad}, {mended}");
}

#[test]
fn more_failures_in_a_row_are_asked_for_however_many_are_usual() {
    let settings = Settings { consecutive_failures: Some(1_000), ..fitting() };
    let facts = Facts { usual_failures: 0.99, ..facts() };
    let found = lint(&settings, &facts).into_iter().find(|finding| finding.setting == "consecutive_failures");
    assert_eq!(found.map(|finding| finding.mended.consecutive_failures), Some(Some(1_375)));
}
