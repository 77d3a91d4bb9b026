use super::numbers::{exceeds, round_down, round_up, time};
use super::text::{number, seconds};
use super::{Facts, Finding, Settings};

/// Requests that one call may cause.
const PER_CALL: f64 = 10.0;

pub(super) fn load(settings: &Settings, facts: &Facts) -> Option<Finding> {
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
        instead: format!("a budget with a ratio of {}", mended.budget.ratio),
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
    if exceeds(budget.saved(rate), most) {
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
    if settings.attempt_timeout.is_some() || settings.deadline.is_some() {
        return None;
    }
    let timeout = facts.soon().min(10.0 * facts.typical_latency.as_secs_f64());
    Some(Finding {
        setting: "attempt_timeout",
        found: f64::INFINITY,
        limit: facts.soon(),
        problem: "calls to an upstream that hangs never fail, so that none is retried and no breaker opens".to_owned(),
        instead: seconds(timeout),
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
