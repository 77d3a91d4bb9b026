//! How waits are distributed: draws of the real backoff, counted in buckets and judged by a chi-square test.

use std::time::Duration;

use tower_rampart::retry::{Backoff, Jitter};

use crate::support::*;

const DRAWS: usize = 100_000;
const BUCKETS: usize = 50;

/// With 49 degrees of freedom, a uniform draw exceeds this once in a thousand seeds.
const CHI_SQUARE: f64 = 85.35;

/// Draws of a wait that does not depend on earlier ones.
fn draws(backoff: &Backoff) -> Vec<f64> {
    backoff.waits_with_seed(7).take(DRAWS).map(|wait| wait.as_secs_f64()).collect()
}

/// Panics unless the draws fill all of `from..=to`, uniformly.
fn assert_uniform(draws: &[f64], from: Duration, to: Duration, what: &str) {
    let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
    let mut buckets = [0u32; BUCKETS];
    for draw in draws {
        // Half a nanosecond of rounding at each end.
        assert!((from - 1e-9..=to + 1e-9).contains(draw), "{what}: {draw} is outside of {from}..={to}");
        buckets[(((draw - from) / (to - from) * BUCKETS as f64).max(0.0) as usize).min(BUCKETS - 1)] += 1;
    }
    let expected = draws.len() as f64 / BUCKETS as f64;
    let chi_square: f64 = buckets.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    assert!(chi_square < CHI_SQUARE, "{what}: chi-square is {chi_square:.1} in {buckets:?}");
}

#[test]
fn every_jitter_is_uniform_over_its_range() {
    for (jitter, from, to) in [
        (Jitter::Full, 0, 1_000),
        (Jitter::Equal, 500, 1_000),
        (Jitter::Proportional(0.2), 800, 1_200),
        (Jitter::Proportional(1.0), 0, 2_000),
        (Jitter::OnTop(0.25), 1_000, 1_250),
        (Jitter::OnTop(1.0), 1_000, 2_000),
    ] {
        let backoff = Backoff::fixed(1_000 * MS).jitter(jitter);
        assert_uniform(&draws(&backoff), from * MS, to * MS, &format!("{jitter:?}"));
        assert_eq!(backoff.ceiling(9), to * MS, "{jitter:?}");
    }
    for jitter in [Jitter::None, Jitter::Proportional(0.0), Jitter::OnTop(0.0)] {
        assert!(Backoff::fixed(1_000 * MS).jitter(jitter).waits().take(100).all(|wait| wait == 1_000 * MS));
    }
}

/// The cap leaves room for the jitter, so that draws neither exceed it nor pile up at it.
#[test]
fn at_the_cap_waits_stay_spread_out_below_it() {
    for (jitter, from) in [
        (Jitter::Full, 0),
        (Jitter::Equal, 600),
        (Jitter::Proportional(0.2), 800),
        (Jitter::Proportional(0.5), 400),
        (Jitter::OnTop(0.2), 1_000),
        (Jitter::OnTop(1.0), 600),
    ] {
        let backoff = Backoff::exponential(1_200 * MS, 1_200 * MS).jitter(jitter);
        let draws = draws(&backoff);
        assert_uniform(&draws, from * MS, 1_200 * MS, &format!("{jitter:?}"));
        let longest = draws.iter().filter(|draw| **draw >= 1.2).count();
        assert!(longest <= 1, "{jitter:?}: {longest} of {DRAWS} draws are the longest wait");
        assert_eq!(backoff.ceiling(0), 1_200 * MS, "{jitter:?}");
    }
}

#[test]
fn below_the_cap_the_cap_plays_no_part() {
    for (jitter, from, to) in [
        (Jitter::Proportional(0.2), 800, 1_200),
        (Jitter::OnTop(0.2), 1_000, 1_200),
        (Jitter::OnTop(1.0), 1_000, 2_000),
    ] {
        // Without growth all retries draw alike.
        let backoff = Backoff::exponential(1_000 * MS, 2_000 * MS).factor(1.0).jitter(jitter);
        assert_uniform(&draws(&backoff), from * MS, to * MS, &format!("{jitter:?}"));
    }
}

#[test]
fn a_decorrelated_wait_is_uniform_up_to_three_times_the_last_one() {
    let (first, max) = (10 * MS, Duration::MAX);
    let mut shares = Vec::new();
    // A few waits of many calls: those of a single one soon reach the longest time.
    for seed in 0..10_000 {
        let mut last = first;
        for wait in Backoff::decorrelated(first, max).waits_with_seed(seed).take(10) {
            assert!((first..=last * 3).contains(&wait), "{wait:?} after {last:?}");
            shares.push((wait - first).as_secs_f64() / (last * 3 - first).as_secs_f64());
            last = wait;
        }
    }
    assert_uniform(&shares, Duration::ZERO, Duration::from_secs(1), "the share of the range");
}

/// As published: what is drawn above the cap waits as long as the cap.
#[test]
fn two_thirds_of_the_decorrelated_waits_after_one_at_the_cap_are_at_the_cap() {
    let (first, max) = (10 * MS, 100 * MS);
    let waits: Vec<_> = Backoff::decorrelated(first, max).waits_with_seed(7).take(DRAWS).collect();
    let after: Vec<_> = waits.windows(2).filter(|pair| pair[0] == max).map(|pair| pair[1]).collect();
    let share = after.iter().filter(|wait| **wait == max).count() as f64 / after.len() as f64;
    // 200 of the 290 ms that a draw after the cap has. The standard error is below 0.003.
    assert!((share - 200.0 / 290.0).abs() < 0.01, "{share}");
}
