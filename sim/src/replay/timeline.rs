//! The records as calls that begin and end.

use std::sync::Arc;
use std::time::Duration;

use tower_rampart::breaker::{Decision, Record};
use tower_rampart::classify::{Health, Verdict};

pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) partition: Arc<str>,
    pub(super) event: Event,
}

pub(super) enum Event {
    /// The call with this number began, which ends with this health.
    Began {
        call: usize,
        health: Health,
    },
    Ended {
        call: usize,
        verdict: Verdict,
    },
    /// Nothing is known of it but that it came.
    Rejected,
}

/// In the order of time. At one moment a call begins before those that were recorded after its end.
pub(super) fn of(records: &[Record]) -> Vec<Step> {
    let mut steps = Vec::with_capacity(2 * records.len());
    for (call, record) in records.iter().enumerate() {
        let partition = || record.partition.clone();
        match record.decision {
            Decision::Ended { health, took, retry_after, .. } => {
                let verdict = Verdict::transient().with_health(health);
                let verdict = retry_after.map_or(verdict, |hint| verdict.with_retry_after(hint));
                let began = record.at.saturating_sub(took);
                steps.push(Step { at: began, partition: partition(), event: Event::Began { call, health } });
                steps.push(Step { at: record.at, partition: partition(), event: Event::Ended { call, verdict } });
            }
            Decision::Rejected { .. } => {
                steps.push(Step { at: record.at, partition: partition(), event: Event::Rejected });
            }
            _ => {}
        }
    }
    steps.sort_by_key(|step| step.at);
    steps
}
