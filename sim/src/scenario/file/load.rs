use std::time::Duration;

use serde::Deserialize;

use super::super::value::{Count, Number, Span};
use super::{Invalid, Time};
use crate::{Arrivals, Load};

/// What a file may ask for at most, so that a run ends within minutes and fits into memory.
const MOST_CALLS: f64 = 20e6;
const MOST_CALLS_PER_SECOND: f64 = 50e3;
/// Each process may have a breaker for each tenant.
const MOST_BREAKERS: u64 = 1_000_000;
/// With fewer, a share of them says nothing, and there may be none.
const FEWEST_CALLS: f64 = 10.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadFields {
    processes: Count<1, 100_000>,
    calls_per_second: Option<Number<100_000, true>>,
    think: Option<Time>,
    arrivals: Option<ArrivalsField>,
    duration: Time,
    tenants: Option<Count<1, 100_000>>,
    zipf: Option<Number<100, false>>,
    #[serde(default)]
    changes: Vec<ChangeFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ArrivalsField {
    Poisson,
    Even,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeFields {
    at: Time,
    factor: Number<1_000, false>,
}

impl LoadFields {
    pub(super) fn load(self) -> Result<Load, Invalid> {
        let invalid = |field: &str, why: &str| Err((format!("load.{field}"), why.to_owned()));
        let Self { processes: Count(processes), duration: Span(lasts), .. } = self;
        if lasts < Duration::from_secs(1) {
            return invalid("duration", "must be at least 1 s");
        }
        let highest = self.changes.iter().map(|change| change.factor.0).fold(1.0, f64::max);
        let (mut load, of_process) = match (self.calls_per_second, self.think) {
            (Some(Number(rate)), None) => (Load::open(processes, rate), rate),
            (None, Some(Span(think))) if think.is_zero() => return invalid("think", "must not be zero"),
            (None, Some(Span(think))) => (Load::closed(processes, think), 1.0 / think.as_secs_f64()),
            (Some(_), Some(_)) => return invalid("think", "cannot be given beside calls_per_second"),
            (None, None) => return invalid("calls_per_second", "missing; give it, or think"),
        };
        let usual = f64::from(processes) * of_process;
        if self.think.is_some() && (self.arrivals.is_some() || !self.changes.is_empty()) {
            return invalid("think", "cannot be given beside arrivals or changes");
        }
        if usual * highest > MOST_CALLS_PER_SECOND {
            let why =
                format!("{:.0} calls a second in all, at most {MOST_CALLS_PER_SECOND} are allowed", usual * highest);
            return invalid(if self.think.is_some() { "think" } else { "processes" }, &why);
        }
        if self.changes.windows(2).any(|pair| pair[1].at.0 < pair[0].at.0) {
            return invalid("changes", "must be in the order of their times");
        }
        if self.zipf.is_some() && self.tenants.is_none() {
            return invalid("zipf", "has no meaning without tenants");
        }
        load = load.lasting(lasts);
        if let Some(ArrivalsField::Even) = self.arrivals {
            load = load.arrivals(Arrivals::Even);
        }
        if let Some(Count(tenants)) = self.tenants {
            load = load.tenants(tenants, self.zipf.map_or(0.0, |zipf| zipf.0));
        }
        load = self.changes.iter().fold(load, |load, change| load.change_rate(change.at.0, change.factor.0));
        let breakers = u64::from(processes) * u64::from(load.tenants);
        if breakers > MOST_BREAKERS {
            let why = format!("{breakers} breakers in all processes, at most {MOST_BREAKERS} are allowed");
            return invalid("tenants", &why);
        }
        match usual * usual_seconds(&load) {
            calls if calls > MOST_CALLS => {
                invalid("duration", &format!("{calls:.0} calls in all, at most {MOST_CALLS} are allowed"))
            }
            calls if calls < FEWEST_CALLS => {
                invalid("duration", &format!("{calls:.1} calls in all, at least {FEWEST_CALLS} are needed"))
            }
            _ => Ok(load),
        }
    }
}

/// The length of the run, counted by how many calls a second has.
fn usual_seconds(load: &Load) -> f64 {
    let starts = std::iter::once((Duration::ZERO, 1.0)).chain(load.changes.iter().copied());
    let ends = load.changes.iter().map(|change| change.0).chain([load.duration]);
    let parts = starts
        .zip(ends)
        .map(|((from, factor), until)| factor * until.min(load.duration).saturating_sub(from).as_secs_f64());
    parts.sum()
}
