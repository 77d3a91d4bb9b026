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
    /// Almost every call is answered again at most this long after the upstream answers in time.
    recovered_within: Option<Span<DAY>>,
    /// The upstream answers within a second again at most this long after the trouble: its backlog is worked off.
    answering_within: Option<Span<DAY>>,
    /// With `true`, the calls must not recover although the upstream is well.
    never_recovers: Option<bool>,
    /// At least this share of all calls is answered well.
    goodput: Option<Share>,
    /// At least this share of the calls that begin during the trouble is answered well.
    goodput_in_trouble: Option<Share>,
    /// At least this share of the calls of every tenant without an episode of its own is answered well.
    goodput_of_others: Option<Share>,
    /// With `true`, no breaker may open. Counted for the layers of this crate.
    no_opening: Option<bool>,
}

type Load = Number<1_000, false>;
const DAY: u64 = 86_400;

/// Load up to which a second counts as usual in [`Goals::later_load`].
const USUAL: f64 = 1.15;

impl Goals {
    /// Returns one line for each goal that was missed.
    #[must_use]
    pub fn missed(&self, scenario: &Scenario, report: &Report) -> Vec<String> {
        let mut missed = Vec::new();
        // A number that is none reaches no goal.
        let is_at_most = |value: f64, limit: f64| value <= limit;
        let mut at_most = |goal: &str, limit: Option<Load>, value: f64| {
            if let Some(limit) = limit.filter(|limit| !is_at_most(value, limit.0)) {
                missed.push(format!("{goal}: {value:.2}, must be at most {}", limit.0));
            }
        };
        at_most("worst_load", self.worst_load, report.worst_load());
        at_most("later_load", self.later_load, scenario.later_load(report));
        let mut at_least = |goal: &str, limit: Option<f64>, value: f64| {
            if let Some(limit) = limit.filter(|limit| !is_at_most(*limit, value)) {
                let value = if value.is_nan() { "no calls".to_owned() } else { format!("{value:.4}") };
                missed.push(format!("{goal}: {value}, must be at least {limit}"));
            }
        };
        at_least("goodput", self.goodput.map(|limit| limit.0), scenario.goodput(report));
        let in_trouble = scenario.goodput_in_trouble(report);
        at_least("goodput_in_trouble", self.goodput_in_trouble.map(|limit| limit.0), in_trouble);
        at_least("goodput_of_others", self.goodput_of_others.map(|limit| limit.0), scenario.goodput_of_others(report));
        let (answering, after) = (scenario.answering_after(report), scenario.recovered_after(report));
        if let Some(Span(within)) = self.answering_within.filter(|within| answering > within.0) {
            missed.push(format!("answering_within: {answering:?}, must be at most {within:?}"));
        }
        match (self.recovered_within, after.map(|after| after.saturating_sub(answering))) {
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
        if let (Some(true), Some(at)) = (self.no_opening, report.opened_at()) {
            missed.push(format!("no_opening: a breaker opened at {at:?}"));
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

    /// The lowest share of a tenant without an episode of its own.
    fn goodput_of_others(&self, report: &Report) -> f64 {
        let is_other = |tenant: usize| {
            self.upstream
                .episodes
                .iter()
                .all(|episode| episode.tenant.is_none_or(|troubled| troubled as usize != tenant))
        };
        let others = report.tenants.iter().enumerate().filter(|(tenant, _)| is_other(*tenant));
        others.map(|(_, tenant)| tenant.answered()).fold(1.0, f64::min)
    }

    /// How long after the end of the trouble the calls were answered again, 99 in 100 in every second; `None` if they
    /// were not for the last three seconds of the run, unless no second was worse.
    #[must_use]
    pub fn recovered_after(&self, report: &Report) -> Option<Duration> {
        let seconds = self.called_seconds(report);
        let is_bad = |second: &crate::Second| f64::from(second.good) < 0.99 * f64::from(second.calls);
        let well = seconds.iter().rposition(is_bad).map_or(0, |bad| bad + 1);
        let settled = seconds.len().saturating_sub(well) >= 3 || (well == 0 && !seconds.is_empty());
        (settled && self.ends_well()).then(|| Duration::from_secs(well as u64).saturating_sub(self.well_from))
    }

    /// How long after the end of the trouble the upstream answered every request within a second, the usual limit of an
    /// attempt. An upstream that is well first has to work off the requests that wait for it, also those whose callers
    /// have left.
    #[must_use]
    pub fn answering_after(&self, report: &Report) -> Duration {
        report.answering_from(Duration::from_secs(1)).saturating_sub(self.well_from)
    }

    /// The highest load, in calls as usual, after it had been back at the usual for the first time since the trouble
    /// began.
    fn later_load(&self, report: &Report) -> f64 {
        let called = report.seconds.iter().filter(|second| second.calls > 0).count();
        let load = |second: &crate::Second| f64::from(second.attempts) * called as f64 / report.calls.max(1) as f64;
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
