//! Durations as people write them.

use std::time::Duration;

use tower_rampart::breaker::State;
use tower_rampart::config::HumanDuration;

use super::from_toml;

#[test]
fn durations_have_units() {
    let deadline =
        |text: &str| from_toml(&format!("retry.deadline = {text}")).map(|config| config.retry.deadline.unwrap().0);
    for (text, millis) in [
        ("'250ms'", 250),
        ("'1m30s'", 90_000),
        ("'1m 30s'", 90_000),
        ("' 1 min 30 sec '", 90_000),
        ("'1.5s'", 1_500),
        ("'2h'", 7_200_000),
        ("'1month'", 2_630_016_000),
    ] {
        assert_eq!(deadline(text).unwrap(), Duration::from_millis(millis), "{text}");
    }
    for text in [
        "5",
        "0",
        "0.5",
        "'5'",
        "'0'",
        "''",
        "' '",
        "'-1s'",
        "'1 parsec'",
        "'nan'",
        "'9999999999999999999999s'",
        "'1M'",
        "'1m1m'",
        "'1s 1sec'",
        "'1ms1s'",
        "'5 5s'",
        "'1s 5'",
        "'5 s 1'",
        "'s'",
        "'s5'",
        "'1e3s'",
        "'+1s'",
        "'1_000s'",
        "'٥s'",
        "'５s'",
    ] {
        let error = deadline(text).unwrap_err();
        assert_eq!(error.path(), "retry.deadline", "{text}: {error}");
        assert!(error.to_string().contains("a duration in quotes, each number with its unit"), "{text}: {error}");
    }
    assert_eq!(HumanDuration(Duration::from_millis(90_250)).to_string(), "1m 30s 250ms");
}

#[test]
fn huge_durations_are_no_panic() {
    let config = from_toml(
        "
        [retry]
        deadline = '500000000y'
        attempt_timeout = '500000000y'
        max_retry_after = '500000000y'
        budget.ratio.ttl = '500000000y'
        backoff.exponential = { first = '1y', max = '500000000y' }
        [breaker]
        window.time.length = '500000000y'
        probe_lease = '500000000y'
        open_for.fixed.wait = '500000000y'
        slow_calls = { limit = '500000000y', rate = 1 }
    ",
    )
    .unwrap();
    let breaker = config.breaker_layer("default").unwrap().breaker();
    assert_eq!(breaker.state(), State::Closed);
}
