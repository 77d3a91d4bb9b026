//! What an open breaker does, and until when.

use super::numbers::{exceeds, number, round_down, round_up, seconds, time};
use super::{Facts, Finding, Settings, Waits};

pub(super) fn forced_open(settings: &Settings, _: &Facts) -> Option<Finding> {
    settings.forced_open.then(|| Finding {
        setting: "mode",
        found: 1.0,
        limit: 0.0,
        problem: "a breaker that is forced open rejects every call until its mode is changed".to_owned(),
        instead: "automatic".to_owned(),
        mended: Settings { forced_open: false, breaker: true, ..*settings },
    })
}

pub(super) fn longest_opening(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let (outage, limit) = (facts.typical_outage.as_secs_f64(), facts.soon());
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

pub(super) fn rejects_nothing(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let (rate, open) = (facts.calls_per_second, settings.open_for.max.as_secs_f64());
    let (found, longer) = (rate * open, round_up(2.0 / rate));
    // The defaults are made for little traffic, too, and a rare call finds no time that is long and ends soon.
    let is_default = settings.open_for == Settings::default().open_for;
    if !settings.breaker || is_default || !exceeds(1.0, found) || exceeds(longer, facts.soon()) {
        return None;
    }
    let open_for = Waits { max: time(longer), ..settings.open_for };
    Some(Finding {
        setting: "open_for",
        found,
        limit: 1.0,
        problem: format!(
            "a call comes every {}, but the breaker stays open for {} at most: it rejects hardly any",
            seconds(1.0 / rate),
            seconds(open)
        ),
        instead: format!("a backoff up to {}", seconds(longer)),
        mended: Settings { open_for, ..*settings },
    })
}

pub(super) fn closing(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let probes = f64::from(settings.half_open_max_calls) / facts.typical_latency.as_secs_f64();
    let rate = facts.calls_per_second.min(probes);
    let (found, limit) = (f64::from(settings.success_threshold) / rate, facts.soon().max(1.0 / rate));
    if !settings.breaker || !exceeds(found, limit) {
        return None;
    }
    let success_threshold = (limit * rate) as u32;
    Some(Finding {
        setting: "success_threshold",
        found,
        limit,
        problem: format!(
            "after an outage the breaker closes with {} successes, which take {} at {} calls a second; the limit is {}",
            settings.success_threshold,
            seconds(found),
            number(rate),
            seconds(limit)
        ),
        instead: success_threshold.max(1).to_string(),
        mended: Settings { success_threshold: success_threshold.max(1), ..*settings },
    })
}

/// The opening during which an outage ends at the latest, if all probes before fail.
fn last_opening(open_for: Waits, outage: f64) -> f64 {
    let (mut wait, max) = (open_for.first.as_secs_f64(), open_for.max.as_secs_f64());
    let mut open = wait;
    // A wait of zero, which the builder rejects, never grows.
    while open < outage && wait > 0.0 && wait < max {
        wait = (2.0 * wait).min(max);
        open += wait;
    }
    wait
}
