//! What a flight recorder keeps of a breaker.

use std::time::Duration;

use super::{Completion, Node};
use crate::breaker::core::state_machine::{Change, PermitKind, Rejection};
use crate::breaker::flight_recorder::{CountedAs, Decision, FlightRecorder};
use crate::classify::Health;
use crate::clock::Stopwatch;

impl Node {
    /// Records what the end of a call taught. A recorder times every call, so no duration means no recorder, or an
    /// admission that was given back.
    #[inline(always)]
    pub(super) fn record_end(
        &self,
        permit: PermitKind,
        took: Option<Duration>,
        health: Health,
        retry_after: Option<Duration>,
    ) {
        if let (Some(took), Some(recorder)) = (took, &self.shared.recorder) {
            let counted_as = self.counted_as(permit);
            self.record(recorder, Decision::Ended { health, took, retry_after, counted_as });
        }
    }

    /// Records the end of a call that taught nothing, because of its permit.
    #[cold]
    pub(super) fn record_untaught(&self, permit: PermitKind, watch: Option<Stopwatch>, completion: Completion) {
        if self.shared.recorder.is_none() {
            return;
        }
        let took = watch.map(|watch| watch.elapsed(self.now()));
        let (health, retry_after) = self.judge(completion, took, false);
        self.record_end(permit, took, health, retry_after);
    }

    #[inline]
    pub(super) fn record_rejection(&self, rejection: &Rejection) {
        if let Some(recorder) = &self.shared.recorder {
            let Rejection { state, wait: _, by_outer } = *rejection;
            self.record(recorder, Decision::Rejected { state, by_outer });
        }
    }

    pub(crate) fn record_change(&self, change: Change) {
        if let Some(recorder) = &self.shared.recorder {
            let Change { from: (from, _), to: (to, mode), cause, empties_window: _ } = change;
            self.record(recorder, Decision::Changed { from, to, mode, cause });
        }
    }

    fn counted_as(&self, permit: PermitKind) -> CountedAs {
        match permit {
            PermitKind::Uncounted => CountedAs::Uncounted,
            PermitKind::Counted { generation } if self.packed().counts(generation) => CountedAs::Call,
            PermitKind::Probe { generation, .. } if self.packed().upholds(generation) => CountedAs::Probe,
            PermitKind::Counted { .. } | PermitKind::Probe { .. } => CountedAs::Late,
        }
    }

    #[inline(never)]
    fn record(&self, recorder: &FlightRecorder, decision: Decision) {
        recorder.record(self.now(), self.label(), decision);
    }
}
