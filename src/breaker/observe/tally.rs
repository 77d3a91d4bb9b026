use std::sync::atomic::{AtomicU64, Ordering};

use crate::breaker::{Cause, State, Totals};

/// What a layer has counted since it was made, beside what lies in its breakers. No number in it ever falls.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// From, to, cause.
    transitions: [[[AtomicU64; Cause::ALL.len()]; State::ALL.len()]; State::ALL.len()],
    probes: [AtomicU64; Self::PROBES.len()],
    /// What breakers have counted that are gone.
    retired: [AtomicU64; Self::OUTCOMES.len()],
    /// The most that was ever shown.
    shown: [AtomicU64; Self::OUTCOMES.len()],
}

impl Tally {
    /// The outcomes of calls.
    pub(crate) const OUTCOMES: [&str; 3] = ["success", "failure", "rejected"];
    /// The results of probes.
    pub(crate) const PROBES: [&str; 3] = ["success", "failure", "neutral"];

    pub(crate) fn count_transition(&self, from: State, to: State, cause: Cause) {
        debug_assert!(from == to || can_happen(from, to, cause), "{from} to {to} by {cause} has a series");
        self.transitions[from as usize][to as usize][cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_probe(&self, failed: Option<bool>) {
        let result = failed.map_or(2, usize::from);
        self.probes[result].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retire(&self, totals: Totals) {
        for (retired, count) in self.retired.iter().zip(outcomes(totals)) {
            // A reader that sees this no longer finds the breaker.
            retired.fetch_add(count, Ordering::Release);
        }
    }

    /// The calls by outcome. `live` adds up those of the breakers that there are.
    ///
    /// A breaker that goes meanwhile is missing, and so is what its window is just carrying. Then the last numbers
    /// stay, because a counter that falls reads as a restart.
    pub(crate) fn calls(&self, live: impl FnOnce() -> Totals) -> [u64; Self::OUTCOMES.len()] {
        // First, so that no breaker is counted twice.
        let retired = self.retired.each_ref().map(|count| count.load(Ordering::Acquire));
        let live = outcomes(live());
        std::array::from_fn(|outcome| {
            let sum = retired[outcome].wrapping_add(live[outcome]);
            self.shown[outcome].fetch_max(sum, Ordering::Relaxed).max(sum)
        })
    }

    pub(crate) fn probes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Self::PROBES.into_iter().zip(self.probes.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Every change that can happen, with how often it has.
    pub(crate) fn transitions(&self) -> impl Iterator<Item = (State, State, Cause, u64)> + '_ {
        let pairs = State::ALL.into_iter().flat_map(|from| State::ALL.map(|to| (from, to)));
        let changes = pairs.flat_map(|(from, to)| Cause::ALL.map(|cause| (from, to, cause)));
        let counted = changes.map(|(from, to, cause)| {
            let count = &self.transitions[from as usize][to as usize][cause as usize];
            (from, to, cause, count.load(Ordering::Relaxed))
        });
        counted.filter(|(from, to, cause, _)| can_happen(*from, *to, *cause))
    }
}

fn outcomes(totals: Totals) -> [u64; 3] {
    [totals.succeeded, totals.failed, totals.rejected]
}

/// A change that never happens needs no series.
fn can_happen(from: State, to: State, cause: Cause) -> bool {
    match (from, to) {
        (State::Closed, State::Closed) | (State::Open, State::Open) | (State::HalfOpen, State::HalfOpen) => false,
        (_, State::HalfOpen) => from == State::Open && cause == Cause::OpenTimeOver,
        (State::Closed, _) => {
            matches!(
                cause,
                Cause::FailureRate
                    | Cause::SlowRate
                    | Cause::ConsecutiveFailures
                    | Cause::Outage
                    | Cause::PartitionsOpen
                    | Cause::ByHand
            )
        }
        (State::HalfOpen, State::Open) => {
            matches!(cause, Cause::ProbeFailed | Cause::FailureRate | Cause::SlowRate | Cause::ByHand)
        }
        (State::HalfOpen, _) => matches!(cause, Cause::ProbesSucceeded | Cause::ByHand),
        (State::Open, _) => cause == Cause::ByHand,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(succeeded: u64) -> Totals {
        Totals { succeeded, ..Totals::default() }
    }

    #[test]
    fn what_goes_between_two_looks_is_missing_and_not_counted_twice() {
        let tally = Tally::default();
        assert_eq!(tally.calls(|| totals(10)), [10, 0, 0]);
        // It was looked at and goes before the end.
        let seen_and_gone = || {
            tally.retire(totals(6));
            totals(10)
        };
        assert_eq!(tally.calls(seen_and_gone), [10, 0, 0]);
        assert_eq!(tally.calls(|| totals(4)), [10, 0, 0]);
        // Another is just being evicted.
        assert_eq!(tally.calls(|| totals(1)), [10, 0, 0]);
        tally.retire(totals(3));
        assert_eq!(tally.calls(|| totals(2)), [11, 0, 0]);
    }
}
