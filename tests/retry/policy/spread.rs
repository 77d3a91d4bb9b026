//! The wait after an attempt timeout is spread over the length of the timeout.

use std::time::Duration;

use tower_rampart::RetryLayer;
use tower_rampart::retry::{Backoff, Jitter};

use crate::support::*;

const LIMIT: Duration = Duration::from_millis(2_000);
const RUNS: usize = 400;

/// The waits before the first retry of many calls, in milliseconds, if an attempt ends after `ends`.
async fn waits(layer: RetryLayer, step: Step, ends: Duration) -> Vec<u128> {
    let mut waits = Vec::new();
    for _ in 0..RUNS {
        let upstream = Upstream::new([step.clone(), answer(200)]);
        let log = upstream.log();
        send(layer.clone(), upstream, get()).await.unwrap();
        waits.push(log.gaps()[0] - ends.as_millis());
    }
    waits
}

fn layer(backoff: Backoff) -> RetryLayer {
    crate::support::layer().backoff(backoff).attempt_timeout(LIMIT)
}

fn count(waits: &[u128], range: std::ops::RangeInclusive<u128>) -> usize {
    waits.iter().filter(|wait| range.contains(wait)).count()
}

#[tokio::test(start_paused = true)]
async fn rule_2_the_wait_after_a_timeout_is_spread_over_the_timeout() {
    let waits = waits(layer(Backoff::exponential(50 * MS, 5 * SECOND)), hang(), LIMIT).await;
    // A timer fires up to a millisecond late.
    assert_eq!(count(&waits, 0..=2_001), RUNS, "{waits:?}");
    for quarter in 0..4 {
        // About a hundred. Fewer than fifty would have a chance of one in a billion.
        assert!(count(&waits, quarter * 500..=quarter * 500 + 499) >= 50, "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_2_equal_jitter_keeps_half_of_the_spread() {
    let backoff = Backoff::exponential(50 * MS, 5 * SECOND).jitter(Jitter::Equal);
    let waits = waits(layer(backoff), hang(), LIMIT).await;
    assert_eq!(count(&waits, 1_000..=2_001), RUNS, "{waits:?}");
    assert!(count(&waits, 1_500..=2_001) >= 100);
}

#[tokio::test(start_paused = true)]
async fn rule_2_no_spread_is_longer_than_the_longest_wait() {
    let waits = waits(layer(Backoff::exponential(50 * MS, 300 * MS)), hang(), LIMIT).await;
    assert_eq!(count(&waits, 0..=301), RUNS, "{waits:?}");
    assert!(count(&waits, 52..=301) >= RUNS / 2, "{waits:?}");
    // Nor do they pile up there: about a tenth.
    assert!(count(&waits, 270..=301) <= RUNS / 4, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_wait_without_jitter_is_not_spread() {
    let exact = Backoff::exponential(50 * MS, 5 * SECOND).jitter(Jitter::None);
    for (backoff, wait) in [(exact, 50), (Backoff::fixed(100 * MS), 100), (Backoff::none(), 0)] {
        let waits = waits(layer(backoff), hang(), LIMIT).await;
        assert_eq!(count(&waits, wait..=wait + 1), RUNS, "{wait}: {waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_2_what_is_no_timeout_waits_as_ever() {
    let layer = layer(Backoff::exponential(50 * MS, 5 * SECOND));
    for ends in [Duration::ZERO, LIMIT - 5 * MS] {
        for step in [answer(503), refused()] {
            let waits = waits(layer.clone(), step.taking(ends), ends).await;
            assert_eq!(count(&waits, 0..=52), RUNS, "{ends:?}: {waits:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_no_attempt_is_lost_to_the_deadline_for_the_spread() {
    let layer = layer(Backoff::exponential(MS, 5 * SECOND)).max_attempts(4);
    // How long the calls waited at most, of the spare time for three waits.
    for (spare, longest) in [(20 * MS, 0), (SECOND, 300), (3 * SECOND, 1_000), (60 * SECOND, 3_000)] {
        let mut waited = Vec::new();
        for _ in 0..100 {
            let upstream = Upstream::new([hang()]);
            let log = upstream.log();
            send(layer.clone().deadline(4 * LIMIT + spare), upstream, get()).await.unwrap_err();
            assert_eq!(log.calls(), 4, "{spare:?}: {:?}", log.gaps());
            waited.push((log.elapsed() - 4 * LIMIT).as_millis());
        }
        assert!(waited.iter().all(|waited| *waited <= spare.as_millis()));
        assert!(waited.iter().any(|waited| *waited >= longest), "{spare:?}: {waited:?}");
    }
}
