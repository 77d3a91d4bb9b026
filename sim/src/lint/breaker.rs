use super::numbers::{exceeds, number, round_down, round_up, seconds, time};
use super::{Facts, Finding, Row, Settings, SlowCalls};

/// The share of breakers that may open by chance when a window has just calls enough.
const BY_CHANCE: f64 = 1e-4;
/// The share of calls that may end a row of failures that came by chance.
const ROW_BY_CHANCE: f64 = 1e-6;
/// Fewer calls than these say nothing about an upstream.
const FEWEST_CALLS: u32 = 5;
/// More calls make no rate that chance reaches safe.
const MOST_CALLS: u32 = 1_000;
/// The builder takes no more.
const MOST_IN_A_ROW: u32 = 16_383;
/// The chance among more calls than these hardly differs from that among these, and would take long to compute.
const MOST_COMPUTED: u32 = 1_000_000;
/// In most outages this share of the calls still works.
const ONE_WORKS: f64 = 1e-3;
/// The default.
const USUAL_RATE: f64 = 0.9;
/// Random arrivals fill a window with this many times the minimum almost always.
const SPARE: f64 = 1.5;

pub(super) fn unreachable_minimum(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let minimum = f64::from(settings.minimum());
    let found = facts.calls_per_second * settings.window().as_secs_f64();
    // The defaults are made for little traffic, too: there a row of failures opens the breaker.
    let is_default = settings.minimum_calls.is_none() && settings.window.is_none() && settings.outage().is_some();
    if !settings.breaker || is_default || !exceeds(minimum, found) {
        return None;
    }
    let longest = soonest_by_rate(settings, facts) / settings.failure_rate;
    let fitting = (facts.calls_per_second * longest / SPARE).floor();
    let minimum = minimum.min(fitting.max(fewest_calls(settings, facts)));
    let window = settings.window().as_secs_f64().max(round_up(minimum * SPARE / facts.calls_per_second));
    let mended = Settings { minimum_calls: Some(minimum as u32), window: Some(time(window)), ..*settings };
    Some(Finding {
        setting: "minimum_calls",
        found,
        limit: settings.minimum().into(),
        problem: format!(
            "a window of {} holds about {} calls, and below {} calls the failure rate is never judged",
            seconds(settings.window().as_secs_f64()),
            number(found),
            settings.minimum()
        ),
        instead: format!("{minimum} calls in a window of {}", seconds(window)),
        mended,
    })
}

pub(super) fn detection(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let (found, limit) = (opens_after(settings, facts), soonest_opening(settings, facts));
    // What never opens has a finding of its own.
    if !settings.breaker || !exceeds(found, limit) || found.is_infinite() {
        return None;
    }
    let (setting, instead, mended) = sooner(settings, facts, limit);
    Some(Finding {
        setting,
        found,
        limit,
        problem: format!(
            "at {} calls a second, {} pass until a total outage opens the breaker; the limit is {}",
            number(facts.calls_per_second),
            seconds(found),
            seconds(limit)
        ),
        instead,
        mended,
    })
}

/// What opens a breaker within this time.
fn sooner(settings: &Settings, facts: &Facts, limit: f64) -> (&'static str, String, Settings) {
    let calls = facts.calls_per_second * limit;
    let in_a_row = calls.max(enough_in_a_row(facts).into()) as u32;
    if settings.consecutive_failures.is_some() {
        let mended = Settings { consecutive_failures: Some(in_a_row), ..*settings };
        return ("consecutive_failures", in_a_row.to_string(), mended);
    }
    if let Some(Row { failures, lasting }) = settings.outage() {
        let row = Row { failures: failures.min(in_a_row), lasting: lasting.min(time(round_down(limit / 2.0))) };
        let instead = format!("{} failures over {}", row.failures, seconds(row.lasting.as_secs_f64()));
        return ("outage", instead, Settings { outage: Some(row), ..*settings });
    }
    let window = round_down(limit / settings.failure_rate);
    let calls = calls.min(facts.calls_per_second * window / SPARE);
    let minimum = settings.minimum().min(calls.max(fewest_calls(settings, facts)) as u32);
    let instead = format!("a window of {} and a minimum of {minimum} calls", seconds(window));
    ("window", instead, Settings { minimum_calls: Some(minimum), window: Some(time(window)), ..*settings })
}

pub(super) fn chance(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let (rate, failures) = (settings.failure_rate, facts.usual_failures);
    let found = by_chance(settings.minimum(), rate, failures);
    if !settings.breaker || !exceeds(found, BY_CHANCE) {
        return None;
    }
    let (instead, mended) = match enough_calls(rate, failures) {
        Some(calls) => (format!("{calls} calls"), Settings { minimum_calls: Some(calls), ..*settings }),
        None => {
            let failure_rate = round_up((1.0 + failures.max(rate)) / 2.0);
            (format!("a failure_rate of {failure_rate}"), Settings { failure_rate, ..*settings })
        }
    };
    Some(Finding {
        setting: "minimum_calls",
        found,
        limit: BY_CHANCE,
        problem: format!(
            "while {} % of the calls fail as usual, {} % of all breakers open by chance at the first {} calls",
            number(failures * 100.0),
            number(found * 100.0),
            settings.minimum()
        ),
        instead,
        mended,
    })
}

pub(super) fn all_or_nothing(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let calls = facts.calls_per_second * settings.window().as_secs_f64();
    // A window of few calls is a row of failures.
    let is_unlikely = settings.failure_rate >= 1.0 && calls >= 1.0 / ONE_WORKS;
    if !settings.breaker || !is_unlikely || enough_calls(USUAL_RATE, facts.usual_failures).is_none() {
        return None;
    }
    Some(Finding {
        setting: "failure_rate",
        found: settings.failure_rate,
        limit: 1.0 - ONE_WORKS,
        problem: format!(
            "one success among the {} calls of a window keeps the rate from opening the breaker",
            number(calls)
        ),
        instead: USUAL_RATE.to_string(),
        mended: Settings { failure_rate: USUAL_RATE, ..*settings },
    })
}

pub(super) fn chance_in_a_row(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let failures = settings.consecutive_failures?;
    let found = facts.usual_failures.powf(failures.into());
    if !settings.breaker || !exceeds(found, ROW_BY_CHANCE) {
        return None;
    }
    let enough = enough_in_a_row(facts);
    Some(Finding {
        setting: "consecutive_failures",
        found,
        limit: ROW_BY_CHANCE,
        problem: format!(
            "while {} % of the calls fail as usual, {failures} in a row fail by chance once in {:.0} calls",
            number(facts.usual_failures * 100.0),
            1.0 / found
        ),
        instead: format!("{enough}, or an outage that has to last,"),
        mended: Settings { consecutive_failures: Some(enough), ..*settings },
    })
}

pub(super) fn slow_calls(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let slow = settings.slow_calls?;
    let (found, latency) = (slow.limit.as_secs_f64(), facts.typical_latency.as_secs_f64());
    let (cut, fitting) = (settings.cut().map_or(f64::INFINITY, |(_, cut)| cut.as_secs_f64()), 2.0 * latency);
    // A time that cuts usual answers has a finding of its own.
    let is_never = found >= cut && cut > fitting;
    if !settings.breaker || !(is_never || exceeds(latency, found)) {
        return None;
    }
    let (limit, but) = if is_never {
        (cut, format!("but an attempt is cut after {}: no call is ever slow", seconds(cut)))
    } else {
        (latency, format!("but a usual answer takes up to {}: such answers open the breaker", seconds(latency)))
    };
    Some(Finding {
        setting: "slow_calls",
        found,
        limit,
        problem: format!("a call is slow after {}, {but}", seconds(found)),
        instead: format!("a limit of {}", seconds(fitting)),
        mended: Settings { slow_calls: Some(SlowCalls { limit: time(fitting), ..slow }), ..*settings },
    })
}

/// The time after which a total outage opens the breaker, in seconds.
fn opens_after(settings: &Settings, facts: &Facts) -> f64 {
    let (rate, window) = (facts.calls_per_second, settings.window().as_secs_f64());
    let minimum = f64::from(settings.minimum());
    let by_rate =
        if rate * window < minimum { f64::INFINITY } else { (settings.failure_rate * window).max(minimum / rate) };
    let in_a_row = settings.consecutive_failures.map_or(f64::INFINITY, |failures| f64::from(failures) / rate);
    let outage = settings
        .outage()
        .map_or(f64::INFINITY, |Row { failures, lasting }| (f64::from(failures) / rate).max(lasting.as_secs_f64()));
    by_rate.min(in_a_row).min(outage)
}

/// The time after which it should: no sooner than there are calls enough.
fn soonest_opening(settings: &Settings, facts: &Facts) -> f64 {
    if settings.consecutive_failures.is_none() && settings.outage().is_none() {
        return soonest_by_rate(settings, facts);
    }
    facts.soon().max(f64::from(enough_in_a_row(facts)) / facts.calls_per_second)
}

fn soonest_by_rate(settings: &Settings, facts: &Facts) -> f64 {
    facts.soon().max(fewest_calls(settings, facts) * (settings.failure_rate * SPARE).max(1.0) / facts.calls_per_second)
}

/// Failures in a row that come by chance once in a million calls at most.
fn enough_in_a_row(facts: &Facts) -> u32 {
    let calls = ROW_BY_CHANCE.ln() / facts.usual_failures.ln();
    // Of 0 and 1 the logarithms lead to 0 and to infinity.
    (calls.ceil() as u32).clamp(FEWEST_CALLS, MOST_IN_A_ROW)
}

/// The minimum of calls at and above which no breaker opens by chance.
fn fewest_calls(settings: &Settings, facts: &Facts) -> f64 {
    enough_calls(settings.failure_rate, facts.usual_failures).unwrap_or(MOST_CALLS).into()
}

fn enough_calls(rate: f64, failures: f64) -> Option<u32> {
    // Because failures are whole, the chance falls in steps, and rises a little between them: of ten calls at most.
    let is_rare = |calls| !exceeds(by_chance(calls, rate, failures), BY_CHANCE);
    // At or above the rate more calls only make it surer.
    if failures >= rate {
        return None;
    }
    (FEWEST_CALLS..=MOST_CALLS).find(|calls| (*calls..calls + 10).all(is_rare))
}

/// The chance that of so many calls at least this share fails, if each fails with this chance on its own.
fn by_chance(calls: u32, rate: f64, failures: f64) -> f64 {
    let calls = calls.min(MOST_COMPUTED);
    let limit = (rate * f64::from(calls) - 1e-9).ceil().max(0.0) as u32;
    if limit > calls || failures <= 0.0 || failures >= 1.0 {
        return if failures >= 1.0 { 1.0 } else { 0.0 };
    }
    let odds = failures / (1.0 - failures);
    let ratio = |failed: u32| f64::from(calls - failed) / f64::from(failed + 1) * odds;
    let first = (0..limit).map(|failed| ratio(failed).ln()).sum::<f64>() + f64::from(calls) * (1.0 - failures).ln();
    (limit..calls).scan(first.exp(), |term, failed| Some(std::mem::replace(term, *term * ratio(failed)))).sum::<f64>()
        + (f64::from(calls) * failures.ln()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_agrees_with_counting() {
        // Of five calls three, four or five: 10 + 5 + 1 of 32.
        assert!((by_chance(5, 0.5, 0.5) - 16.0 / 32.0).abs() < 1e-12);
        assert!((by_chance(2, 1.0, 0.1) - 0.01).abs() < 1e-12);
        // Five of the first ten at 15 %: 20 of 2,000 breakers.
        assert!((by_chance(10, 0.5, 0.15) * 2_000.0 - 19.7).abs() < 0.1);
        assert_eq!([by_chance(10, 0.5, 0.0), by_chance(10, 0.5, 1.0)], [0.0, 1.0]);
        assert_eq!(enough_calls(0.5, 0.01), Some(5));
        assert_eq!(enough_calls(0.5, 0.6), None);
    }

    #[test]
    fn the_chance_among_billions_of_calls_is_computed_at_once() {
        assert_eq!([by_chance(u32::MAX, 0.5, 0.4), by_chance(u32::MAX, 0.5, 1.0)], [0.0, 1.0]);
    }
}
