//! What is found in the settings of retry.

use std::time::Duration;

use rampart_sim::lint::{Facts, Settings, Tokens, Waits, lint};
use rampart_sim::scenario::{self, Scenario};
use rampart_sim::{Episode, Latency, Load, Upstream};

use super::{SECOND, facts, fitting, only, recovery, run, storm};

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
        (Tokens { ratio: 0.0, reserve: 1_000_000, ttl: 3_600 * SECOND, ..Tokens::default() }, "a reserve of 1"),
        (Tokens { ratio: 0.1, reserve: 1_000_000, ttl: 3_600 * SECOND, ..Tokens::default() }, "a ttl of 10 s"),
        (Tokens { ratio: 0.001, reserve: 1_000, ttl: 900 * SECOND, ..Tokens::default() }, "a reserve of 1"),
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
fn an_upstream_that_hangs_is_noticed_by_a_timeout_alone() {
    let finding = only(&Settings { attempt_timeout: None, ..fitting() }, &facts());
    assert_eq!((finding.setting, finding.mended.attempt_timeout), ("attempt_timeout", Some(SECOND)));
    let finding = only(&Settings { attempt_timeout: Some(60 * SECOND), ..fitting() }, &facts());
    assert_eq!(
        finding.to_string(),
        "attempt_timeout: calls to an upstream that hangs fail after 60 s, when the outage is over. Set 1 s instead."
    );
    let deadline = Settings { attempt_timeout: None, deadline: Some(60 * SECOND), ..fitting() };
    assert_eq!(only(&deadline, &facts()).instead, "an attempt_timeout of 1 s");
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
fn a_second_of_retries_beside_the_ratio_is_a_load_too() {
    let budget = Tokens { ratio: 0.0, reserve: 0, min_per_second: 5, ..Tokens::default() };
    let settings = Settings { budget, breaker: false, ..fitting() };
    let finding = &lint(&settings, &facts())[0];
    assert_eq!((finding.setting, finding.found.round()), ("budget", 3.0));
    assert_eq!(finding.instead, "a budget with a ratio of 0.12 and no min_per_second");
    let storm = storm(Episode::slow(20.0));
    assert_eq!(recovery(&run(&settings, &storm), &storm), None);
    let mended = recovery(&run(&finding.mended, &storm), &storm).unwrap();
    assert!(mended < 30 * SECOND, "{mended:?}");
}

#[test]
fn a_budget_of_nothing_makes_one_attempt() {
    let budget = Tokens { ratio: 0.0, ..Tokens::default() };
    let settings = Settings { budget, breaker: false, ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!(
        finding.to_string(),
        "budget: with a ratio of 0 no call pays for a retry, and the start gives 10 tokens that last 2 s: of 4 attempts, only \
         the first is made. Set a budget with a ratio of 0.12, or 1 attempt, instead."
    );
    let upstream = Upstream::new(25, Latency::Fixed(SECOND / 10)).episode(Episode::errors(0.1));
    let brown_out = Scenario { upstream, ..storm(Episode::errors(0.0)) };
    let failed = |settings: &Settings| {
        let report = run(settings, &brown_out);
        report.calls - report.good
    };
    let (bad, mended) = (failed(&settings), failed(&finding.mended));
    assert!(bad > 1_000 && mended < 2 * bad / 3, "{bad}, {mended}");
    // One attempt wants no budget, and tokens of successes or of every second are some.
    assert_eq!(lint(&Settings { max_attempts: 1, ..settings }, &facts()), []);
    let saved = Settings { budget: Tokens { ttl: Duration::MAX, reserve: 0, ..budget }, ..settings };
    assert_eq!(lint(&saved, &facts()), []);
    let full = Facts { capacity: 200.0, ..facts() };
    assert_eq!(lint(&settings, &full), [], "no spare capacity for a retry");
}

#[test]
fn an_attempt_that_is_shorter_than_a_usual_answer_has_none() {
    let settings = Settings { attempt_timeout: Some(SECOND / 20), breaker: false, ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!(
        finding.to_string(),
        "attempt_timeout: an attempt is cut after 50 ms, but a usual answer takes up to 100 ms: it is thrown away, and counts \
         as a failure. Set 200 ms instead."
    );
    let usual = storm(Episode::errors(0.0));
    let (bad, mended) = (run(&settings, &usual), run(&finding.mended, &usual));
    assert_eq!((bad.good, mended.good), (0, mended.calls));
    let deadline = Settings { deadline: Some(SECOND / 20), max_attempts: 1, ..fitting() };
    let finding = only(&deadline, &facts());
    assert_eq!((finding.setting, finding.mended.deadline), ("deadline", Some(SECOND / 5)));
}

#[test]
fn attempts_that_no_deadline_has_time_for_are_never_made() {
    let settings = Settings { max_attempts: 20, deadline: Some(3 * SECOND), breaker: false, ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!(
        finding.to_string(),
        "max_attempts: a deadline of 3 s has time for about 6 of 20 attempts that take 100 ms each, with waits of average \
         length between them. Set 6 instead."
    );
    // Without waits thirty attempts of 100 ms, and of an upstream that answers at once as many as there are.
    let at_once = Settings { backoff: Waits::fixed(Duration::ZERO), ..settings };
    assert_eq!(lint(&at_once, &facts()), []);
    let finding = only(&Settings { max_attempts: u32::MAX, ..at_once }, &facts());
    assert_eq!((finding.setting, finding.limit), ("max_attempts", 30.0));
    let one = Settings { attempt_timeout: None, deadline: Some(SECOND / 8), max_attempts: 2, ..settings };
    let finding = only(&one, &facts());
    assert_eq!((finding.setting, finding.mended.deadline), ("max_attempts", Some(3 * SECOND / 5)));
}
