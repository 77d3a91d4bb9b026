//! What other values of one setting would do.

use std::time::Duration;

use rampart_sim::scenario::Scenario;
use tower_rampart::retry::{Backoff, Budget};
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

use crate::stacks;

/// A setting, and the values that are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// One word, as in `--sweep`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// After the number of a value, with its space.
    pub(crate) unit: &'static str,
    pub(crate) is_log: bool,
    /// The value by default, where it is a number.
    pub(crate) default: Option<f64>,
    pub(crate) values: &'static [f64],
    tune: Tune,
}

#[derive(Clone, Copy, Debug)]
enum Tune {
    Retry(fn(RetryLayer, f64) -> RetryLayer),
    Breaker(fn(CircuitBreakerLayer, f64) -> CircuitBreakerLayer),
}

/// What one value did in one scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) value: f64,
    pub(crate) worst_load: f64,
    /// `None` if it never was.
    pub(crate) well_after: Option<Duration>,
    pub(crate) goodput: f64,
    pub(crate) goodput_in_trouble: f64,
}

/// What all values did in one scenario.
pub(crate) type Curve<'a> = (&'a Scenario, Vec<Point>);

/// The scenarios in which a setting is tried if none is named: in each of them another goal is at stake.
pub(crate) const SCENARIOS: [&str; 4] = ["storm", "total-outage", "brown-out", "rolling-restart"];

/// Every setting that can be swept. If a default of a layer changes, its line here changes with it.
pub(crate) const SETTINGS: [Setting; 10] = [
    Setting {
        name: "budget-ratio",
        title: "Retries that each call adds to the budget",
        unit: "",
        is_log: false,
        default: Some(0.2),
        values: &[0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0],
        tune: Tune::Retry(|retry, ratio| retry.budget(Budget::ratio(ratio))),
    },
    Setting {
        name: "budget-reserve",
        title: "Retries that the budget of a new process holds",
        unit: "",
        is_log: false,
        default: Some(10.0),
        values: &[0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 20.0],
        tune: Tune::Retry(|retry, tokens| retry.budget(Budget::ratio(0.2).reserve(tokens as u32))),
    },
    Setting {
        name: "budget-capacity",
        title: "Retries that a budget holds at most",
        unit: "",
        is_log: true,
        default: Some(100.0),
        values: &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1_000.0],
        tune: Tune::Retry(|retry, tokens| {
            retry.budget(Budget::ratio(0.2).reserve(tokens.min(10.0) as u32).capacity(tokens as u32))
        }),
    },
    Setting {
        name: "budget-ttl",
        title: "Time that the retries in a budget last",
        unit: " s",
        is_log: true,
        default: Some(2.0),
        values: &[0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0],
        tune: Tune::Retry(|retry, seconds| retry.budget(Budget::ratio(0.2).ttl(Duration::from_secs_f64(seconds)))),
    },
    Setting {
        name: "first-wait",
        title: "First wait of the backoff",
        unit: " ms",
        is_log: true,
        default: Some(100.0),
        values: &[1.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0],
        tune: Tune::Retry(|retry, millis| {
            let first = Duration::from_secs_f64(millis / 1e3);
            retry.backoff(Backoff::exponential(first, first.max(Duration::from_secs(5))))
        }),
    },
    Setting {
        name: "outage-failures",
        title: "Failures in a row that open a breaker, if they last 2 s",
        unit: "",
        is_log: false,
        default: Some(10.0),
        values: &[1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0],
        tune: Tune::Breaker(|breaker, failures| breaker.outage(failures as u32, Duration::from_secs(2))),
    },
    Setting {
        name: "outage-time",
        title: "Time that ten failures in a row must last to open a breaker",
        unit: " s",
        is_log: false,
        default: Some(2.0),
        values: &[0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0],
        tune: Tune::Breaker(|breaker, seconds| breaker.outage(10, Duration::from_secs_f64(seconds))),
    },
    Setting {
        name: "failure-rate",
        title: "Failure rate that opens a breaker",
        unit: "%",
        is_log: false,
        default: Some(90.0),
        values: &[10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 75.0, 90.0, 100.0],
        tune: Tune::Breaker(|breaker, percent| breaker.failure_rate(percent / 100.0)),
    },
    Setting {
        name: "first-open-time",
        title: "Time that a breaker is open at first",
        unit: " s",
        is_log: true,
        default: Some(1.0),
        values: &[0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0],
        tune: Tune::Breaker(|breaker, seconds| {
            let first = Duration::from_secs_f64(seconds);
            breaker.open_for(Backoff::exponential(first, first.max(Duration::from_secs(2))))
        }),
    },
    Setting {
        name: "longest-open-time",
        title: "Time that a breaker is open at most, from 1 s on",
        unit: " s",
        is_log: true,
        default: Some(2.0),
        values: &[1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0],
        tune: Tune::Breaker(|breaker, seconds| {
            breaker.open_for(Backoff::exponential(Duration::from_secs(1), Duration::from_secs_f64(seconds)))
        }),
    },
];

pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

impl Setting {
    /// Runs the default layers with one value of this setting.
    pub(crate) fn try_value(&self, value: f64, scenario: &Scenario, seed: u64) -> Point {
        let report = match self.tune {
            Tune::Retry(tune) => stacks::tuned(scenario, seed, |retry| tune(retry, value), |breaker| breaker),
            Tune::Breaker(tune) => stacks::tuned(scenario, seed, |retry| retry, |breaker| tune(breaker, value)),
        };
        Point {
            value,
            worst_load: report.worst_load(),
            well_after: scenario.recovered_after(&report),
            goodput: scenario.goodput(&report),
            goodput_in_trouble: scenario.goodput_in_trouble(&report),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_setting_takes_all_of_its_values() {
        let text =
            "[load]\nprocesses = 5\ncalls_per_second = 1\nduration = '4s'\n[upstream]\nservers = 1\nwork = '10ms'";
        let calm = Scenario::parse("calm", "calm.toml", text).unwrap();
        let names: HashSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
        for setting in &SETTINGS {
            assert!(
                setting.values.is_sorted() && !(setting.is_log && setting.values.contains(&0.0)),
                "{}",
                setting.name
            );
            for value in setting.values {
                let point = setting.try_value(*value, &calm, 1);
                assert_eq!(point.goodput.to_bits(), 1.0_f64.to_bits(), "{}: {value}", setting.name);
            }
        }
    }
}
