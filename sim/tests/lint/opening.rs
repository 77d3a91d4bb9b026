//! What is found in what an open breaker does.

use std::time::Duration;

use rampart_sim::Episode;
use rampart_sim::lint::{Facts, Settings, Waits, lint};
use tower_rampart::config::Config;

use super::{SECOND, facts, fitting, only, recovery, run, storm};

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
fn a_breaker_that_is_forced_open_rejects_everything() {
    let config = Config::read(toml::Deserializer::parse("breaker.mode = 'forced_open'").unwrap()).unwrap();
    let settings = Settings { attempt_timeout: Some(SECOND), ..Settings::of(&config.settings("billing"), &facts()) };
    let finding = &lint(&settings, &facts())[0];
    assert_eq!(
        finding.to_string(),
        "mode: a breaker that is forced open rejects every call until its mode is changed. Set automatic instead."
    );
    assert!(!finding.mended.forced_open && finding.mended.breaker);
}

#[test]
fn a_breaker_that_closes_after_many_calls_prolongs_the_outage() {
    let settings = Settings { success_threshold: 20, half_open_max_calls: 1, ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!(
        finding.to_string(),
        "success_threshold: after an outage the breaker closes with 20 successes, which take 20 s at 1 calls a second; the \
         limit is 2.5 s. Set 2 instead."
    );
    let outage = storm(Episode::down());
    let recovery = |settings: &Settings| recovery(&run(settings, &outage), &outage).unwrap();
    let (bad, mended) = (recovery(&settings), recovery(&finding.mended));
    assert!(bad >= 10 * SECOND && mended <= 5 * SECOND, "{bad:?}, {mended:?}");
    // One probe at once, of 0.1 s, makes ten a second of a thousand calls.
    let busy = Settings { success_threshold: 1_000, ..settings };
    let finding = lint(&busy, &Facts::new(1, 1_000.0, 2_000.0))
        .into_iter()
        .find(|finding| finding.setting == "success_threshold");
    assert_eq!(finding.map(|finding| (finding.found, finding.mended.success_threshold)), Some((100.0, 150)));
}

#[test]
fn a_breaker_that_is_open_between_two_calls_rejects_none() {
    let settings = Settings { open_for: Waits::fixed(SECOND / 10), ..fitting() };
    let finding = only(&settings, &facts());
    assert_eq!(
        finding.to_string(),
        "open_for: a call comes every 1 s, but the breaker stays open for 100 ms at most: it rejects hardly any. Set a \
         backoff up to 2 s instead."
    );
    let outage = storm(Episode::down());
    let (bad, mended) = (run(&settings, &outage).rejected, run(&finding.mended, &outage).rejected);
    assert!(mended > 3 * bad, "{bad}, {mended}");
    // No open time is long for so few calls, and short for such an outage.
    assert_eq!(lint(&settings, &Facts::new(200, 0.1, 25.0)).iter().find(|finding| finding.setting == "open_for"), None);
}

#[test]
fn an_open_time_that_the_builder_rejects_is_judged_all_the_same() {
    let settings = Settings { open_for: Waits { first: Duration::ZERO, max: SECOND }, ..fitting() };
    assert!(settings.breaker_layer().is_err());
    assert_eq!(lint(&settings, &facts()), []);
}
