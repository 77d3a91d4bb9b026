//! What came of all the pulls.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use super::plan::{Group, Plan};
use super::tally::{Load, Tally};
use super::timeline::Change;

/// What came of one pull.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pull {
    pub(crate) group: Group,
    pub(crate) outcome: Outcome,
    /// The first try included.
    pub(crate) attempts: u32,
    pub(crate) latency: Duration,
}

/// Each pull ends in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    /// It might have gone well later, but no more attempts were made. Holds the age of the last good value, if there
    /// was one to answer with.
    Exhausted(Option<Duration>),
    /// The circuit breaker of the tenant rejected the last attempt. Holds the same.
    CircuitOpen(Option<Duration>),
    /// The upstream said no, and would again.
    Terminal,
    /// The answer was truncated or malformed.
    Ambiguous,
}

/// Both runs, as `--json` prints them.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) rampart: Run,
    pub(crate) naive: Run,
    /// Whether the groups behave as their names say.
    #[serde(skip)]
    pub(crate) embedded: bool,
    /// Nothing, if there are too few tenants for one that recovers.
    pub(crate) recovering: Option<Recovery>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) elapsed_ms: u64,
    pub(crate) upstream_requests: u64,
    pub(crate) groups: BTreeMap<Group, Figures>,
    pub(crate) load: Load,
}

/// The first tenant that recovers, and what its circuit breaker did.
#[derive(Debug, Serialize)]
pub(crate) struct Recovery {
    pub(crate) tenant: String,
    /// Nothing, if the upstream is a real one.
    pub(crate) outage: Option<Outage>,
    pub(crate) breaker: Vec<Change>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Outage {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
}

impl From<&Range<Duration>> for Outage {
    fn from(outage: &Range<Duration>) -> Self {
        let ms = |at: Duration| u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        Self { from_ms: ms(outage.start), to_ms: ms(outage.end) }
    }
}

/// Of one group. A pull counts in exactly one of `ok`, `exhausted`, `circuit_open`, `terminal` and `ambiguous`; in
/// `cached` too if it was exhausted or circuit-open and was answered with the last good value.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) tenants: u64,
    pub(crate) pulls: u64,
    /// `ok` and `cached`.
    pub(crate) answered: u64,
    /// Fresh metrics.
    pub(crate) ok: u64,
    pub(crate) cached: u64,
    pub(crate) cached_age_p50_ms: f64,
    pub(crate) cached_age_max_ms: f64,
    pub(crate) attempts: u64,
    pub(crate) retries: u64,
    pub(crate) exhausted: u64,
    pub(crate) circuit_open: u64,
    pub(crate) terminal: u64,
    pub(crate) ambiguous: u64,
    pub(crate) upstream_requests: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Collects the pulls of a run.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    groups: BTreeMap<Group, Recorded>,
}

#[derive(Debug, Default)]
struct Recorded {
    figures: Figures,
    latencies: Vec<Micros>,
    ages: Vec<Micros>,
}

/// Those of a million pulls are kept, and none is longer than an hour.
type Micros = u32;

impl Recorder {
    pub(crate) fn add(&mut self, pull: Pull) {
        let Pull { group, outcome, attempts, latency } = pull;
        let Recorded { figures, latencies, ages } = self.groups.entry(group).or_default();
        figures.pulls += 1;
        figures.attempts += u64::from(attempts);
        figures.retries += u64::from(attempts.saturating_sub(1));
        let (ending, cached) = match outcome {
            Outcome::Ok => (&mut figures.ok, None),
            Outcome::Exhausted(cached) => (&mut figures.exhausted, cached),
            Outcome::CircuitOpen(cached) => (&mut figures.circuit_open, cached),
            Outcome::Terminal => (&mut figures.terminal, None),
            Outcome::Ambiguous => (&mut figures.ambiguous, None),
        };
        *ending += 1;
        figures.cached += u64::from(cached.is_some());
        figures.answered = figures.ok + figures.cached;
        ages.extend(cached.map(micros));
        latencies.push(micros(latency));
    }

    pub(crate) fn finish(mut self, elapsed: Duration, plan: &Plan, tally: &Tally) -> Run {
        let groups = Group::ALL.map(|group| {
            let Recorded { mut figures, mut latencies, mut ages } = self.groups.remove(&group).unwrap_or_default();
            latencies.sort_unstable();
            ages.sort_unstable();
            figures.tenants = plan.tenants().iter().filter(|tenant| tenant.group == group).count() as u64;
            figures.upstream_requests = tally.of_group(group);
            figures.cached_age_p50_ms = percentile(&ages, 50);
            figures.cached_age_max_ms = percentile(&ages, 100);
            figures.p50_ms = percentile(&latencies, 50);
            figures.p99_ms = percentile(&latencies, 99);
            (group, figures)
        });
        Run {
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            upstream_requests: groups.iter().map(|(_, figures)| figures.upstream_requests).sum(),
            groups: groups.into(),
            load: tally.load(),
        }
    }
}

impl Run {
    /// The sum of one figure over some groups.
    pub(crate) fn sum(&self, groups: &[Group], figure: impl Fn(&Figures) -> u64) -> u64 {
        groups.iter().filter_map(|group| self.groups.get(group)).map(figure).sum()
    }
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

/// By nearest rank, in milliseconds; 0 of nothing.
fn percentile(sorted: &[Micros], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    rank.checked_sub(1).and_then(|place| sorted.get(place)).map_or(0.0, |&micros| f64::from(micros) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Option<Duration> = Some(Duration::from_millis(5));

    fn figures(pulls: &[(Outcome, u32)]) -> Figures {
        let mut recorder = Recorder::default();
        for &(outcome, attempts) in pulls {
            recorder.add(Pull { group: Group::Healthy, outcome, attempts, latency: Duration::from_millis(1) });
        }
        recorder.groups.remove(&Group::Healthy).unwrap().figures
    }

    #[test]
    fn endings_add_up_to_pulls_and_first_tries_and_retries_to_attempts() {
        let f = figures(&[
            (Outcome::Ok, 2),
            (Outcome::Exhausted(AGE), 4),
            (Outcome::Exhausted(None), 4),
            (Outcome::CircuitOpen(AGE), 1),
            (Outcome::Terminal, 1),
            (Outcome::Ambiguous, 1),
        ]);
        assert_eq!((f.ok, f.exhausted, f.circuit_open, f.terminal, f.ambiguous), (1, 2, 1, 1, 1));
        assert_eq!((f.pulls, f.cached, f.answered, f.attempts, f.retries), (6, 2, 3, 13, 7));
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let hundred: Vec<Micros> = (1..=100).map(|ms| ms * 1_000).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 99)), (50.0, 99.0));
        assert_eq!((percentile(&[7_500], 50), percentile(&[7_500], 99), percentile(&[], 50)), (7.5, 7.5, 0.0));
    }
}
