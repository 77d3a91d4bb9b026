//! How waits grow, against slow models; what a custom function is given; the waits outside of the layer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tower_rampart::classify::Reason;
use tower_rampart::retry::{Backoff, GiveUp, Jitter};

use crate::support::*;

/// The longest time in nanoseconds.
const LONGEST: u128 = Duration::MAX.as_nanos();

fn nanos(nanos: u128) -> Duration {
    let nanos = nanos.min(LONGEST);
    Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
}

/// From a nanosecond to the longest time, each order of magnitude as often.
fn times() -> impl Strategy<Value = Duration> {
    (0..94u32, any::<u128>()).prop_map(|(bits, low)| nanos(1 << bits | low & ((1 << bits) - 1)))
}

/// Mostly numbers that calls reach, and some that only overflow reaches.
fn retries() -> impl Strategy<Value = u32> {
    prop_oneof![0..200u32, any::<u32>(), Just(u32::MAX)]
}

/// Takes one retry after the other, until the longest wait is reached. `next` sees the wait before and the current one.
fn model(first: Duration, max: Duration, retry: u32, next: impl Fn(u128, u128) -> u128) -> Duration {
    let (mut before, mut wait) = (0, first.as_nanos());
    for _ in 0..retry {
        if wait >= max.as_nanos() {
            break;
        }
        (before, wait) = (wait, next(before, wait));
    }
    nanos(wait).min(max)
}

proptest! {
    #[test]
    fn waits_grow_as_in_a_slow_model(first in times(), max in times(), step in times(), retry in retries()) {
        let (first, max) = (first.min(max), first.max(max));
        let exact = |backoff: Backoff| backoff.jitter(Jitter::None).ceiling(retry);
        let linear = u128::from(retry).checked_mul(step.as_nanos()).map_or(LONGEST, |more| first.as_nanos() + more);
        prop_assert_eq!(exact(Backoff::linear(first, step, max)), nanos(linear).min(max));
        prop_assert_eq!(exact(Backoff::fibonacci(first, max)), model(first, max, retry, |before, wait| before + wait));
        let doubled = model(first, max, retry, |_, wait| wait * 2);
        let wait = exact(Backoff::exponential(first, max));
        // A float has 53 bits.
        let error = wait.abs_diff(doubled).as_nanos();
        prop_assert!(error <= doubled.as_nanos() >> 50, "{wait:?}, but the model has {doubled:?}");
        prop_assert_eq!(exact(Backoff::fixed(first)), first);
    }

    #[test]
    fn no_wait_is_over_the_longest_or_the_ceiling(
        first in times(), max in times(), step in times(), share in 0.0..=1.0f64, seed in any::<u64>(), retry in retries(),
    ) {
        let (first, max) = (first.min(max), first.max(max));
        let formulas = [
            Backoff::linear(first, step, max),
            Backoff::exponential(first, max),
            Backoff::exponential(first, max).factor(f64::MAX),
            Backoff::fibonacci(first, max),
            Backoff::decorrelated(first, max),
        ];
        let jitters = [
            Jitter::Full, Jitter::Equal, Jitter::Proportional(share), Jitter::OnTop(share), Jitter::Decorrelated, Jitter::None,
        ];
        for formula in formulas {
            for jitter in jitters {
                let backoff = formula.clone().jitter(jitter);
                prop_assert!(backoff.ceiling(retry) <= max);
                for (retry, wait) in backoff.waits_with_seed(seed).take(20).enumerate() {
                    let ceiling = backoff.ceiling(retry as u32);
                    prop_assert!(wait <= ceiling, "{backoff:?}: {wait:?} before retry {retry}, over {ceiling:?}");
                }
            }
        }
    }
}

#[test]
fn every_formula_is_as_documented() {
    let millis = |backoff: Backoff, retries: [u32; 7]| {
        let backoff = backoff.jitter(Jitter::None);
        retries.map(|retry| backoff.ceiling(retry).as_millis())
    };
    let (first, max) = (100 * MS, 2_000 * MS);
    let retries = [0, 1, 2, 3, 4, 5, u32::MAX];
    assert_eq!(millis(Backoff::fixed(first), retries), [100; 7]);
    assert_eq!(millis(Backoff::linear(first, 30 * MS, max), retries), [100, 130, 160, 190, 220, 250, 2_000]);
    assert_eq!(millis(Backoff::exponential(first, max), retries), [100, 200, 400, 800, 1_600, 2_000, 2_000]);
    assert_eq!(
        millis(Backoff::exponential(first, max).factor(3.0), retries),
        [100, 300, 900, 2_000, 2_000, 2_000, 2_000]
    );
    assert_eq!(millis(Backoff::fibonacci(first, max), retries), [100, 100, 200, 300, 500, 800, 2_000]);
    let squares = Backoff::custom(|retry, _, _| MS * (retry % 1_000).pow(2));
    assert_eq!(millis(squares, [0, 1, 2, 3, 4, 5, 6]), [0, 1, 4, 9, 16, 25, 36]);
}

#[test]
fn both_spellings_of_decorrelated_are_one() {
    let spelled = Backoff::decorrelated(100 * MS, 5_000 * MS);
    assert_eq!(spelled, Backoff::exponential(100 * MS, 5_000 * MS).jitter(Jitter::Decorrelated));
    let linear = Backoff::linear(100 * MS, 7 * MS, 5_000 * MS).jitter(Jitter::Decorrelated);
    assert!(spelled.waits_with_seed(7).take(100).eq(linear.waits_with_seed(7).take(100)), "the formula plays no part");
    for own in [Backoff::fixed(100 * MS), Backoff::custom(|_, _, _| 100 * MS)] {
        assert!(own.jitter(Jitter::Decorrelated).waits().take(100).all(|wait| wait == 100 * MS));
    }
}

#[test]
fn a_custom_function_is_equal_to_its_clones_only() {
    let custom = || Backoff::custom(|_, _, last| last.unwrap_or(MS) * 2);
    let one = custom();
    assert_eq!(one, one.clone());
    assert_ne!(one, custom());
    assert_eq!(one.waits().take(4).collect::<Vec<_>>(), [2, 4, 8, 16].map(|wait| wait * MS), "each follows the last");
}

#[test]
fn waits_are_random_unless_seeded() {
    let backoff = Backoff::default();
    let waits = |waits: tower_rampart::retry::Waits| waits.take(20).collect::<Vec<_>>();
    assert_ne!(waits(backoff.waits()), waits(backoff.waits()));
    assert_eq!(waits(backoff.waits_with_seed(7)), waits(backoff.waits_with_seed(7)));
    assert_ne!(waits(backoff.waits_with_seed(7)), waits(backoff.waits_with_seed(8)));
    assert_eq!((&backoff).into_iter().chain(backoff).take(9).count(), 9, "without end");
}

#[tokio::test(start_paused = true)]
async fn the_layer_waits_as_the_iterator_does() {
    let jitters = [Jitter::Full, Jitter::Equal, Jitter::Proportional(0.3), Jitter::OnTop(0.5), Jitter::Decorrelated];
    for jitter in jitters {
        let backoff = Backoff::exponential(1_000 * MS, 60_000 * MS).jitter(jitter);
        let upstream = Upstream::new([answer(503)]);
        let log = upstream.log();
        send(layer().max_attempts(21).backoff(backoff.clone()).seed(7), upstream, get()).await.unwrap();
        // The timer counts whole milliseconds.
        let expected = backoff.waits_with_seed(7).take(20).map(|wait| wait.as_nanos().div_ceil(1_000_000));
        assert_eq!(log.gaps(), expected.collect::<Vec<_>>(), "{jitter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_custom_function_sees_retry_verdict_and_last_wait() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let backoff = Backoff::custom({
        let seen = seen.clone();
        move |retry, verdict, last| {
            seen.lock().unwrap().push((retry, verdict.map(|verdict| (verdict.reason(), verdict.code())), last));
            (retry + 1) * 100 * MS
        }
    });
    let upstream = Upstream::new([answer(503), answer(502), reset(), answer(200)]);
    let log = upstream.log();
    send(layer().max_attempts(9).backoff(backoff), upstream, get()).await.unwrap();
    assert_eq!(log.gaps(), [100, 200, 300]);
    let expected = [
        (0, Some((Reason::STATUS, Some(503))), None),
        (1, Some((Reason::STATUS, Some(502))), Some(100 * MS)),
        (2, Some((Reason::RESET, None)), Some(200 * MS)),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_hint_beats_a_custom_function() {
    let upstream = Upstream::new([answer(503).header("retry-after", 3), answer(200)]);
    let log = upstream.log();
    send(layer().backoff(Backoff::custom(|_, _, _| 1_000 * MS)), upstream, get()).await.unwrap();
    assert!((3_000..=3_101).contains(&log.gaps()[0]), "a tenth of its wait is the jitter: {:?}", log.gaps());
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_hint_over_the_cap_is_clamped_if_asked_for() {
    let clamped = || layer().max_retry_after(5 * SECOND).backoff(Backoff::fixed(1_000 * MS)).clamp_retry_after(true);
    for (hint, least) in [(4, 4_000), (5, 5_000), (6, 5_000), (3_600, 5_000), (u64::MAX, 5_000)] {
        let upstream = Upstream::new([answer(503).header("retry-after", hint), answer(200)]);
        let log = upstream.log();
        assert_eq!(send(clamped(), upstream, get()).await.unwrap().status(), 200);
        assert!((least..=least + 101).contains(&log.gaps()[0]), "{hint}: {:?}", log.gaps());
    }
    for (layer, gave_up) in [
        (clamped().clamp_retry_after(false), GiveUp::RetryAfterTooLong),
        (clamped().deadline(5 * SECOND), GiveUp::Deadline),
    ] {
        let upstream = Upstream::new([answer(503).header("retry-after", 6), answer(200)]);
        let response = send(layer, upstream, get()).await.unwrap();
        assert_eq!(report(&response), (1, Some(gave_up)));
    }
}
