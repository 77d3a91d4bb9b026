use std::time::Duration;

use serde::Deserialize;

use super::Scenario;
use super::value::{Number, Share, Span};
use crate::Report;

/// What a run through one stack must show. Every field is optional.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goals {
    /// The load of the worst second is at most so many times the usual one.
    worst_load: Option<Load>,
    /// Once the load has been back at the usual for the first time after the trouble began, it never exceeds this.
    later_load: Option<Load>,
    /// Almost every call is answered again at most this long after the upstream is well.
    recovered_within: Option<Span<DAY>>,
    /// With `true`, the calls must not recover although the upstream is well.
    never_recovers: Option<bool>,
    /// At least this share of all calls is answered well.
    goodput: Option<Share>,
    /// At least this share of the calls that begin during the trouble is answered well.
    goodput_in_trouble: Option<Share>,
    /// At least so many times the calls are answered well that are without retries and breaker.
    goodput_vs_no_retries: Option<Load>,
    /// With `true`, no breaker may open.
    no_opening: Option<bool>,
}

/// What a run has shown.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The run.
    pub report: &'a Report,
    /// How often a breaker opened, if the stack has one that can be counted.
    pub openings: Option<u64>,
    /// The same load without retries and breaker.
    pub no_retries: Option<&'a Report>,
}

type Load = Number<1_000, false>;
const DAY: u64 = 86_400;

/// Load up to which a second counts as usual in [`Goals::later_load`].
const USUAL: f64 = 1.15;

impl Goals {
    /// Whether they compare with a run without retries and breaker.
    #[must_use]
    pub fn need_no_retries(&self) -> bool {
        self.goodput_vs_no_retries.is_some()
    }

    /// Returns one line for each goal that was missed.
    #[must_use]
    pub fn missed(&self, scenario: &Scenario, outcome: Outcome<'_>) -> Vec<String> {
        let Outcome { report, openings, no_retries } = outcome;
        let mut missed = Vec::new();
        let mut at_most = |goal: &str, limit: Option<Load>, value: f64| {
            if let Some(limit) = limit.filter(|limit| !(value <= limit.0)) {
                missed.push(format!("{goal}: {value:.2}, must be at most {}", limit.0));
            }
        };
        at_most("worst_load", self.worst_load, report.worst_load());
        at_most("later_load", self.later_load, scenario.later_load(report));
        let mut at_least = |goal: &str, limit: Option<f64>, value: f64| {
            if let Some(limit) = limit.filter(|limit| !(value >= *limit)) {
                missed.push(format!("{goal}: {value:.4}, must be at least {limit}"));
            }
        };
        at_least("goodput", self.goodput.map(|limit| limit.0), scenario.goodput(report));
        let in_trouble = scenario.goodput_in_trouble(report);
        at_least("goodput_in_trouble", self.goodput_in_trouble.map(|limit| limit.0), in_trouble);
        let compared = no_retries.map_or(f64::NAN, |bare| report.good as f64 / bare.good as f64);
        at_least("goodput_vs_no_retries", self.goodput_vs_no_retries.map(|limit| limit.0), compared);
        let after = scenario.recovered_after(report);
        match (self.recovered_within, after) {
            (Some(Span(within)), Some(after)) if after > within => {
                missed.push(format!("recovered_within: {after:?}, must be at most {within:?}"));
            }
            (Some(Span(within)), None) => {
                missed.push(format!("recovered_within: never, must be at most {within:?}"));
            }
            _ => {}
        }
        if let (Some(true), Some(after)) = (self.never_recovers, after) {
            missed.push(format!("never_recovers: recovered after {after:?}"));
        }
        if self.no_opening == Some(true) && openings != Some(0) {
            let opened =
                openings.map_or("not counted in this stack".to_owned(), |openings| format!("{openings} openings"));
            missed.push(format!("no_opening: {opened}"));
        }
        missed
    }
}

impl Scenario {
    /// The share of all calls that were answered well.
    #[must_use]
    pub fn goodput(&self, report: &Report) -> f64 {
        report.good as f64 / report.calls as f64
    }

    /// The share of the calls that began while the upstream was in trouble and were answered well.
    #[must_use]
    pub fn goodput_in_trouble(&self, report: &Report) -> f64 {
        let troubled = self.troubled_seconds(report);
        let sum = |of: fn(&crate::Second) -> u32| troubled.iter().map(|second| f64::from(of(second))).sum::<f64>();
        sum(|second| second.good) / sum(|second| second.calls)
    }

    /// How long after the end of the trouble the calls were answered again, 99 in 100 in every second; `None` if they were
    /// not for the last three seconds of the run.
    #[must_use]
    pub fn recovered_after(&self, report: &Report) -> Option<Duration> {
        let seconds = self.called_seconds(report);
        let is_bad = |second: &crate::Second| f64::from(second.good) < 0.99 * f64::from(second.calls);
        let well = seconds.iter().rposition(is_bad).map_or(0, |bad| bad + 1);
        let settled = seconds.len().saturating_sub(well) >= 3;
        (settled && self.ends_well()).then(|| Duration::from_secs(well as u64).saturating_sub(self.well_from))
    }

    /// The highest load, in calls as usual, after it had been back at the usual for the first time since the trouble began.
    fn later_load(&self, report: &Report) -> f64 {
        let called = report.seconds.iter().filter(|second| second.calls > 0).count();
        let load = |second: &crate::Second| f64::from(second.attempts) * called as f64 / report.calls as f64;
        let mut since = report.seconds.iter().skip(self.trouble_from.as_secs() as usize).map(load);
        // Before the first pulse, within it, and after it.
        since.by_ref().find(|load| *load > USUAL);
        since.by_ref().find(|load| *load <= USUAL);
        since.fold(0.0, f64::max)
    }

    /// The whole seconds in which calls were made.
    fn called_seconds<'a>(&self, report: &'a Report) -> &'a [crate::Second] {
        let end = self.seconds() as usize;
        report.seconds.get(..end).unwrap_or(&report.seconds)
    }

    fn troubled_seconds<'a>(&self, report: &'a Report) -> &'a [crate::Second] {
        let seconds = self.called_seconds(report);
        let second = |at: Duration| (at.as_secs() as usize).min(seconds.len());
        &seconds[second(self.trouble_from)..second(self.well_from).max(second(self.trouble_from))]
    }
}
