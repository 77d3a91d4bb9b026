use std::time::Duration;

use super::text::{number, seconds};
use super::{Facts, Finding, Settings, Waits};

type Rule = fn(&Settings, &Facts) -> Option<Finding>;

/// From what keeps an upstream down to what only costs calls.
pub(super) const ALL: [Rule; 8] =
    [load, burst, tiers, hanging, deadline, unreachable_minimum, detection, longest_opening];

/// What protects an upstream must work, and end, within this share of a typical outage.
const OF_OUTAGE: f64 = 0.25;
/// Requests that one call may cause.
const PER_CALL: f64 = 10.0;
/// Fewer failures than these say nothing about an upstream.
const FEWEST_CALLS: f64 = 5.0;
/// Random arrivals fill a window with this many times the minimum almost always.
const SPARE: f64 = 1.5;

/// Whether a number is larger by more than the rounding of the arithmetic.
fn exceeds(number: f64, limit: f64) -> bool {
    number > limit * (1.0 + 1e-9)
}

/// A share of the typical outage, in seconds.
fn soon(facts: &Facts) -> f64 {
    facts.typical_outage.as_secs_f64() * OF_OUTAGE
}

fn load(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let tiers = f64::from(facts.tiers.max(1));
    let (retries, used) = (settings.retries(), facts.utilisation());
    let found = (1.0 + retries).powf(tiers) * used;
    if !(exceeds(found, 1.0) && retries > 0.0) {
        return None;
    }
    let mut mended = *settings;
    mended.no_budget = false;
    // Half of what is spare is left to work off what waits.
    mended.budget.ratio = round_down((((1.0 / used).max(1.0)).powf(1.0 / tiers) - 1.0) / 2.0);
    let per_tier = if facts.tiers > 1 { format!(" to the power of {} tiers", facts.tiers) } else { String::new() };
    Some(Finding {
        setting: "budget",
        found,
        limit: 1.0,
        problem: format!(
            "while calls fail, every call makes {:.2} requests{per_tier}, and with a utilisation of {used:.2} that is \
             {found:.2} times the capacity: the upstream cannot recover",
            1.0 + retries
        ),
        instead: format!("Budget::ratio({})", mended.budget.ratio),
        mended,
    })
}

fn burst(settings: &Settings, facts: &Facts) -> Option<Finding> {
    if settings.no_budget || settings.max_attempts <= 1 {
        return None;
    }
    let retries = f64::from(settings.budget.reserve) * f64::from(facts.processes);
    let spare = (facts.capacity - facts.calls()).max(0.0);
    let (found, limit) = (retries / spare, soon(facts));
    if !exceeds(found, limit) || spare <= 0.0 {
        return None;
    }
    let mut mended = *settings;
    // Rounds towards zero and saturates.
    mended.budget.reserve = (limit * spare / f64::from(facts.processes)) as u32;
    Some(Finding {
        setting: "budget",
        found,
        limit,
        problem: format!(
            "{} processes can send {retries:.0} retries from their reserves at once, which the upstream works off in {} with the {} requests \
             a second that it has to spare; the limit is {}",
            facts.processes,
            seconds(found),
            number(spare),
            seconds(limit)
        ),
        instead: format!("Budget::reserve({})", mended.budget.reserve),
        mended,
    })
}

fn tiers(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let tiers = f64::from(facts.tiers.max(1));
    let found = f64::from(settings.max_attempts).powf(tiers);
    if facts.tiers <= 1 || found <= PER_CALL {
        return None;
    }
    let attempts = PER_CALL.powf(1.0 / tiers).floor() as u32;
    Some(Finding {
        setting: "max_attempts",
        found,
        limit: PER_CALL,
        problem: format!(
            "{} attempts in each of {} tiers make up to {found:.0} requests of one call; the limit is {PER_CALL}",
            settings.max_attempts, facts.tiers
        ),
        instead: format!("{attempts}, or retry in one tier alone"),
        mended: Settings { max_attempts: attempts, ..*settings },
    })
}

fn hanging(settings: &Settings, facts: &Facts) -> Option<Finding> {
    if settings.attempt_timeout.is_some() || settings.deadline.is_some() {
        return None;
    }
    let timeout = soon(facts).min(10.0 * facts.typical_latency.as_secs_f64());
    Some(Finding {
        setting: "attempt_timeout",
        found: f64::INFINITY,
        limit: soon(facts),
        problem: "calls to an upstream that hangs never fail, so that none is retried and no breaker opens".to_owned(),
        instead: seconds(timeout),
        mended: Settings { attempt_timeout: Some(time(timeout)), ..*settings },
    })
}

fn deadline(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let (deadline, timeout) = settings.deadline.zip(settings.attempt_timeout)?;
    let (found, timeout) = (deadline.as_secs_f64(), timeout.as_secs_f64());
    let (wait, answer) = (settings.backoff.first.as_secs_f64(), facts.typical_latency.as_secs_f64());
    let limit = timeout + wait + answer;
    if settings.max_attempts <= 1 || !exceeds(limit, found) {
        return None;
    }
    let shorter = round_down((found - wait) / 2.0);
    let (instead, mended) = if shorter >= 2.0 * answer {
        let attempt_timeout = Some(time(shorter));
        (format!("an attempt_timeout of {}", seconds(shorter)), Settings { attempt_timeout, ..*settings })
    } else {
        let longer = round_up(wait + 2.0 * timeout.max(answer));
        (format!("a deadline of {}", seconds(longer)), Settings { deadline: Some(time(longer)), ..*settings })
    };
    Some(Finding {
        setting: "deadline",
        found,
        limit,
        problem: format!(
            "a call has {}, but an attempt that is cut takes {}, the wait after it up to {} and a usual answer {}: such a \
             call is never retried",
            seconds(found),
            seconds(timeout),
            seconds(wait),
            seconds(answer)
        ),
        instead,
        mended,
    })
}

fn unreachable_minimum(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let minimum = f64::from(settings.minimum());
    let found = facts.calls_per_second * settings.window.as_secs_f64();
    if !settings.breaker || !exceeds(minimum, found) {
        return None;
    }
    let longest = soonest_opening(settings, facts) / settings.failure_rate;
    let fitting = (facts.calls_per_second * longest / SPARE).floor();
    let minimum = minimum.min(fitting.max(FEWEST_CALLS));
    let window = settings.window.as_secs_f64().max(round_up(minimum * SPARE / facts.calls_per_second));
    let mended = Settings { minimum_calls: Some(minimum as u32), window: time(window), ..*settings };
    Some(Finding {
        setting: "minimum_calls",
        found,
        limit: settings.minimum().into(),
        problem: format!(
            "a window of {} holds about {} calls, and below {} calls the failure rate is never judged",
            seconds(settings.window.as_secs_f64()),
            number(found),
            settings.minimum()
        ),
        instead: format!("{minimum} calls in a window of {}", seconds(window)),
        mended,
    })
}

fn detection(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let (found, limit) = (opens_after(settings, facts), soonest_opening(settings, facts));
    // What never opens has a finding of its own.
    if !settings.breaker || !exceeds(found, limit) || found.is_infinite() {
        return None;
    }
    let window = round_down(limit / settings.failure_rate);
    let calls = facts.calls_per_second * limit.min(window / SPARE);
    let minimum = settings.minimum().min(calls.max(FEWEST_CALLS) as u32);
    let mended = Settings { minimum_calls: Some(minimum), window: time(window), ..*settings };
    Some(Finding {
        setting: "window",
        found,
        limit,
        problem: format!(
            "at {} calls a second, {} pass until a total outage opens the breaker; the limit is {}",
            number(facts.calls_per_second),
            seconds(found),
            seconds(limit)
        ),
        instead: format!("a window of {} and a minimum of {minimum} calls", seconds(window)),
        mended,
    })
}

fn longest_opening(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let (outage, limit) = (facts.typical_outage.as_secs_f64(), soon(facts));
    let found = last_opening(settings.open_for, outage);
    if !settings.breaker || !exceeds(found, limit) {
        return None;
    }
    let open_for =
        Waits { first: settings.open_for.first.min(time(round_down((limit / 4.0).min(1.0)))), max: time(limit) };
    Some(Finding {
        setting: "open_for",
        found,
        limit,
        problem: format!(
            "after an outage of {} the breaker can stay open for another {}; the limit is {}",
            seconds(outage),
            seconds(found),
            seconds(limit)
        ),
        instead: format!(
            "a backoff from {} up to {}",
            seconds(open_for.first.as_secs_f64()),
            seconds(open_for.max.as_secs_f64())
        ),
        mended: Settings { open_for, ..*settings },
    })
}

/// The time after which a total outage opens the breaker, in seconds.
fn opens_after(settings: &Settings, facts: &Facts) -> f64 {
    let (rate, window) = (facts.calls_per_second, settings.window.as_secs_f64());
    let minimum = f64::from(settings.minimum());
    let by_rate =
        if rate * window < minimum { f64::INFINITY } else { (settings.failure_rate * window).max(minimum / rate) };
    let in_a_row = settings.consecutive_failures.map_or(f64::INFINITY, |failures| f64::from(failures) / rate);
    by_rate.min(in_a_row)
}

/// The time after which it should: no sooner than the fewest calls that a window can judge.
fn soonest_opening(settings: &Settings, facts: &Facts) -> f64 {
    soon(facts).max(FEWEST_CALLS * (settings.failure_rate * SPARE).max(1.0) / facts.calls_per_second)
}

/// The opening during which an outage ends at the latest, if all probes before fail.
fn last_opening(open_for: Waits, outage: f64) -> f64 {
    let (mut wait, max) = (open_for.first.as_secs_f64(), open_for.max.as_secs_f64());
    let mut open = wait;
    while open < outage && wait < max {
        wait = (2.0 * wait).min(max);
        open += wait;
    }
    wait
}

/// To two digits that count, so that it can be written down.
fn round_down(number: f64) -> f64 {
    rounded(number, f64::floor)
}

fn round_up(number: f64) -> f64 {
    rounded(number, f64::ceil)
}

fn rounded(number: f64, round: fn(f64) -> f64) -> f64 {
    if number <= 0.0 || !number.is_finite() {
        return number;
    }
    let digits = 1 - number.log10().floor() as i32;
    // Divides by powers of ten, which are exact, so that 0.12 is written as that.
    let scale = 10_f64.powi(digits.abs());
    if digits >= 0 { round(number * scale) / scale } else { round(number / scale) * scale }
}

fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
