//! What came of all the pulls.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::endpoint::Endpoint;
use super::plan::{Group, Plan};

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
    /// It might have gone well later, but no more attempts were made.
    Exhausted(Fallback),
    /// The circuit breaker of the tenant did not let the last attempt through.
    CircuitOpen(Fallback),
    /// The upstream said no, and would again.
    Terminal,
    /// The answer was truncated or malformed.
    Ambiguous,
}

/// What is there instead of fresh metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    LastGoodValue,
    Nothing,
}

/// Both runs, as `--json` prints them.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) rampart: Run,
    pub(crate) naive: Run,
}

#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) elapsed_ms: u64,
    pub(crate) upstream_requests: u64,
    pub(crate) groups: BTreeMap<Group, Figures>,
}

/// Of one group. A pull counts in exactly one of `ok`, `exhausted`, `circuit_open`, `terminal` and `ambiguous`; in
/// `cached` too if it was exhausted or circuit-open and the last good value stood in for it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) tenants: u64,
    pub(crate) pulls: u64,
    pub(crate) ok: u64,
    pub(crate) cached: u64,
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
    groups: BTreeMap<Group, (Figures, Vec<Micros>)>,
}

/// Latencies of a million pulls are kept, and none is longer than an hour.
type Micros = u32;

impl Recorder {
    pub(crate) fn add(&mut self, pull: Pull) {
        let Pull { group, outcome, attempts, latency } = pull;
        let (figures, latencies) = self.groups.entry(group).or_default();
        figures.pulls += 1;
        figures.attempts += u64::from(attempts);
        figures.retries += u64::from(attempts.saturating_sub(1));
        let (ending, fallback) = match outcome {
            Outcome::Ok => (&mut figures.ok, Fallback::Nothing),
            Outcome::Exhausted(fallback) => (&mut figures.exhausted, fallback),
            Outcome::CircuitOpen(fallback) => (&mut figures.circuit_open, fallback),
            Outcome::Terminal => (&mut figures.terminal, Fallback::Nothing),
            Outcome::Ambiguous => (&mut figures.ambiguous, Fallback::Nothing),
        };
        *ending += 1;
        figures.cached += u64::from(fallback == Fallback::LastGoodValue);
        latencies.push(Micros::try_from(latency.as_micros()).unwrap_or(Micros::MAX));
    }

    pub(crate) fn finish(mut self, elapsed: Duration, plan: &Plan, endpoint: &Endpoint) -> Run {
        let groups = Group::ALL.map(|group| {
            let (mut figures, mut latencies) = self.groups.remove(&group).unwrap_or_default();
            latencies.sort_unstable();
            figures.tenants = plan.tenants().iter().filter(|tenant| tenant.group == group).count() as u64;
            figures.upstream_requests = endpoint.received(group);
            figures.p50_ms = percentile(&latencies, 50);
            figures.p99_ms = percentile(&latencies, 99);
            (group, figures)
        });
        Run {
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            upstream_requests: groups.iter().map(|(_, figures)| figures.upstream_requests).sum(),
            groups: groups.into(),
        }
    }
}

impl Run {
    /// All groups together, but for the percentiles, which do not add up.
    pub(crate) fn total(&self) -> Figures {
        self.groups.values().fold(Figures::default(), |sum, group| Figures {
            tenants: sum.tenants + group.tenants,
            pulls: sum.pulls + group.pulls,
            ok: sum.ok + group.ok,
            cached: sum.cached + group.cached,
            attempts: sum.attempts + group.attempts,
            retries: sum.retries + group.retries,
            exhausted: sum.exhausted + group.exhausted,
            circuit_open: sum.circuit_open + group.circuit_open,
            terminal: sum.terminal + group.terminal,
            ambiguous: sum.ambiguous + group.ambiguous,
            upstream_requests: sum.upstream_requests + group.upstream_requests,
            p50_ms: 0.0,
            p99_ms: 0.0,
        })
    }
}

/// By nearest rank, in milliseconds; 0 of nothing.
fn percentile(sorted: &[Micros], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    rank.checked_sub(1).and_then(|place| sorted.get(place)).map_or(0.0, |&micros| f64::from(micros) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pulls: &[(Outcome, u32)]) -> Figures {
        let mut recorder = Recorder::default();
        for &(outcome, attempts) in pulls {
            recorder.add(Pull { group: Group::Healthy, outcome, attempts, latency: Duration::from_millis(1) });
        }
        recorder.groups.remove(&Group::Healthy).unwrap().0
    }

    #[test]
    fn endings_add_up_to_pulls_and_first_tries_and_retries_to_attempts() {
        let f = figures(&[
            (Outcome::Ok, 2),
            (Outcome::Exhausted(Fallback::LastGoodValue), 4),
            (Outcome::Exhausted(Fallback::Nothing), 4),
            (Outcome::CircuitOpen(Fallback::LastGoodValue), 1),
            (Outcome::Terminal, 1),
            (Outcome::Ambiguous, 1),
        ]);
        assert_eq!((f.ok, f.exhausted, f.circuit_open, f.terminal, f.ambiguous), (1, 2, 1, 1, 1));
        assert_eq!((f.pulls, f.cached, f.attempts, f.retries), (6, 2, 13, 7));
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let hundred: Vec<Micros> = (1..=100).map(|ms| ms * 1_000).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 99)), (50.0, 99.0));
        assert_eq!((percentile(&[7_500], 50), percentile(&[7_500], 99), percentile(&[], 50)), (7.5, 7.5, 0.0));
    }
}
