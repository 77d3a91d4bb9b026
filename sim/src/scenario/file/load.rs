use std::time::Duration;

use serde::Deserialize;

use super::super::value::{Count, Number, Span};
use super::{Invalid, Time};
use crate::load::Kind;
use crate::{Arrivals, Load};

/// What a file may ask for at most, so that a run ends within minutes and fits into memory.
const MOST_CALLS: f64 = 20e6;
const MOST_CALLS_PER_SECOND: f64 = 200e3;

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
        let (mut load, per_second) = match (self.calls_per_second, self.think) {
            (Some(Number(rate)), None) => {
                let load = Load::open(processes, rate);
                (load, f64::from(processes) * rate * highest)
            }
            (None, Some(Span(think))) if think.is_zero() => return invalid("think", "must not be zero"),
            (None, Some(Span(think))) => (Load::closed(processes, think), f64::from(processes) / think.as_secs_f64()),
            (Some(_), Some(_)) => return invalid("think", "cannot be given beside calls_per_second"),
            (None, None) => return invalid("calls_per_second", "missing; give it, or think"),
        };
        if matches!(load.kind, Kind::Closed { .. }) && (self.arrivals.is_some() || !self.changes.is_empty()) {
            return invalid("think", "cannot be given beside arrivals or changes");
        }
        if per_second > MOST_CALLS_PER_SECOND {
            let why = format!("{per_second:.0} calls a second in all, at most {MOST_CALLS_PER_SECOND} are allowed");
            return invalid("processes", &why);
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
        let calls = expected_calls(&load);
        if calls > MOST_CALLS {
            return invalid("duration", &format!("{calls:.0} calls in all, at most {MOST_CALLS} are allowed"));
        }
        Ok(load)
    }
}

/// The calls of the whole run on average.
fn expected_calls(load: &Load) -> f64 {
    let per_second = match &load.kind {
        Kind::Open { per_second, .. } => *per_second,
        Kind::Closed { think } => 1.0 / think.as_secs_f64(),
        Kind::Trace(calls) => return calls.len() as f64,
    };
    let starts = std::iter::once((Duration::ZERO, 1.0)).chain(load.changes.iter().copied());
    let ends = load.changes.iter().map(|change| change.0).chain([load.duration]);
    let usual_seconds = starts
        .zip(ends)
        .map(|((from, factor), until)| factor * until.min(load.duration).saturating_sub(from).as_secs_f64());
    f64::from(load.processes) * per_second * usual_seconds.sum::<f64>()
}
