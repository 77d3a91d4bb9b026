use std::time::Duration;

use super::numbers::{exceeds, number, round_down, round_up, seconds, time};
use super::{Facts, Finding, Settings, Tokens, Waits};

/// Requests that one call may cause.
const PER_CALL: f64 = 10.0;

pub(super) fn load(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let tiers = f64::from(facts.tiers.max(1));
    let (retries, used) = (settings.retries(facts.calls_per_second), facts.utilisation());
    let found = (1.0 + retries).powf(tiers) * used;
    if !(exceeds(found, 1.0) && retries > 0.0) {
        return None;
    }
    let mut mended = *settings;
    mended.no_budget = false;
    mended.budget.ratio = fitting_ratio(facts);
    mended.budget.min_per_second = 0;
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
        instead: match settings.budget.min_per_second {
            0 => format!("a budget with a ratio of {}", mended.budget.ratio),
            _ => format!("a budget with a ratio of {} and no min_per_second", mended.budget.ratio),
        },
        mended,
    })
}

pub(super) fn burst(settings: &Settings, facts: &Facts) -> Option<Finding> {
    if settings.no_budget || settings.max_attempts <= 1 {
        return None;
    }
    let (rate, processes) = (facts.calls_per_second, f64::from(facts.processes));
    let budget = settings.budget;
    let reserve = budget.lasting_reserve(facts.typical_outage);
    let saved = budget.saved(rate).max(reserve);
    let spare = (facts.capacity - facts.calls()).max(0.0);
    // A budget keeps one token whatever is set.
    let (found, limit) = (saved * processes / spare, facts.soon().max(processes / spare));
    if !exceeds(found, limit) || spare <= 0.0 {
        return None;
    }
    let most = limit * spare / processes;
    let mut instead = Vec::new();
    let mut mended = budget;
    if exceeds(f64::from(budget.min_per_second) * budget.ttl.as_secs_f64().max(1.0), most) {
        mended.min_per_second = 0;
        instead.push("no min_per_second".to_owned());
    }
    if exceeds(mended.saved(rate), most) {
        let ttl = round_down(most / (budget.ratio * rate));
        mended.ttl = time(ttl);
        instead.push(format!("a ttl of {}", seconds(ttl)));
    }
    if exceeds(mended.lasting_reserve(facts.typical_outage), most) {
        mended.reserve = most as u32;
        instead.push(format!("a reserve of {}", mended.reserve));
    }
    Some(Finding {
        setting: "budget",
        found,
        limit,
        problem: format!(
            "{processes} processes that have saved {} retries each can send them all at once, which the upstream works off \
             in {} with the {} requests a second that it has to spare; the limit is {}",
            number(saved),
            seconds(found),
            number(spare),
            seconds(limit)
        ),
        instead: instead.join(" and "),
        mended: Settings { budget: mended, ..*settings },
    })
}

pub(super) fn no_tokens(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let budget = settings.budget;
    let is_empty =
        budget.ratio == 0.0 && budget.min_per_second == 0 && budget.lasting_reserve(facts.typical_outage) == 0.0;
    // What never expires pays for retries that successes give back. Without spare capacity, no retries are best.
    if settings.no_budget || settings.max_attempts <= 1 || !is_empty || budget.ttl == Duration::MAX {
        return None;
    }
    let ratio = fitting_ratio(facts);
    (ratio > 0.0).then(|| Finding {
        setting: "budget",
        found: 0.0,
        limit: ratio,
        problem: format!(
            "with a ratio of 0 no call pays for a retry, and the start gives {} tokens that last {}: of {} attempts, only \
             the first is made",
            budget.reserve,
            seconds(budget.ttl.as_secs_f64()),
            settings.max_attempts
        ),
        instead: format!("a budget with a ratio of {ratio}, or 1 attempt,"),
        mended: Settings { budget: Tokens { ratio, ..budget }, ..*settings },
    })
}

/// The ratio of a budget that leaves half of what is spare, to work off what waits.
fn fitting_ratio(facts: &Facts) -> f64 {
    let per_call = (1.0 / facts.utilisation()).max(1.0).powf(1.0 / f64::from(facts.tiers.max(1)));
    round_down((per_call - 1.0) / 2.0)
}

pub(super) fn tiers(settings: &Settings, facts: &Facts) -> Option<Finding> {
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

pub(super) fn hanging(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let (setting, cut) = settings.cut().map_or(("attempt_timeout", None), |(setting, cut)| (setting, Some(cut)));
    let (found, limit) = (cut.map_or(f64::INFINITY, |cut| cut.as_secs_f64()), facts.typical_outage.as_secs_f64());
    let latency = facts.typical_latency.as_secs_f64();
    if !exceeds(found, limit.max(2.0 * latency)) {
        return None;
    }
    let timeout = facts.soon().clamp(2.0 * latency, 10.0 * latency);
    let problem = match cut {
        None => "calls to an upstream that hangs never fail, so that none is retried and no breaker opens".to_owned(),
        Some(_) => format!("calls to an upstream that hangs fail after {}, when the outage is over", seconds(found)),
    };
    Some(Finding {
        setting,
        found,
        limit,
        problem,
        instead: match setting {
            "deadline" => format!("an attempt_timeout of {}", seconds(timeout)),
            _ => seconds(timeout),
        },
        mended: Settings { attempt_timeout: Some(time(timeout)), ..*settings },
    })
}

pub(super) fn deadline(settings: &Settings, facts: &Facts) -> Option<Finding> {
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

pub(super) fn cut_answers(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let (setting, cut) = settings.cut()?;
    let (found, limit) = (cut.as_secs_f64(), facts.typical_latency.as_secs_f64());
    if !exceeds(limit, found) {
        return None;
    }
    let longer = round_up(2.0 * limit);
    let mut mended = *settings;
    *(if setting == "deadline" { &mut mended.deadline } else { &mut mended.attempt_timeout }) = Some(time(longer));
    Some(Finding {
        setting,
        found,
        limit,
        problem: format!(
            "an attempt is cut after {}, but a usual answer takes up to {}: it is thrown away, and counts as a failure",
            seconds(found),
            seconds(limit)
        ),
        instead: seconds(longer),
        mended,
    })
}

pub(super) fn unused_attempts(settings: &Settings, facts: &Facts) -> Option<Finding> {
    let deadline = settings.deadline?.as_secs_f64();
    let latency = facts.typical_latency.as_secs_f64();
    let fitting = attempts_within(deadline, settings.backoff, latency);
    if !exceeds(settings.max_attempts.into(), fitting) {
        return None;
    }
    let (instead, mended) = if fitting >= 2.0 {
        (fitting.to_string(), Settings { max_attempts: fitting as u32, ..*settings })
    } else {
        let longer = round_up(2.0 * (2.0 * latency + settings.backoff.first.as_secs_f64()));
        (format!("a deadline of {}", seconds(longer)), Settings { deadline: Some(time(longer)), ..*settings })
    };
    Some(Finding {
        setting: "max_attempts",
        found: settings.max_attempts.into(),
        limit: fitting,
        problem: format!(
            "a deadline of {} has time for about {fitting} of {} attempts that take {} each, with waits of average length \
             between them",
            seconds(deadline),
            settings.max_attempts,
            seconds(latency)
        ),
        instead,
        mended,
    })
}

/// The attempts that end within a time, each after this latency, with the waits that full jitter makes on average.
fn attempts_within(time: f64, waits: Waits, latency: f64) -> f64 {
    let (mut wait, max) = (waits.first.as_secs_f64(), waits.max.as_secs_f64());
    let (mut attempts, mut at) = (1.0, latency);
    let jitter = if waits.first == waits.max { 1.0 } else { 0.5 };
    // Until the waits no longer grow. Those that begin with zero never do.
    while at < time && wait > 0.0 && wait < max {
        at += jitter * wait + latency;
        wait = (2.0 * wait).min(max);
        attempts += if at <= time { 1.0 } else { 0.0 };
    }
    attempts + ((time - at).max(0.0) / (jitter * wait + latency) + 1e-9).floor()
}
