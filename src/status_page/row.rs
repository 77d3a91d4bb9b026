use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::breakers::{Id, Layer, Listed, Transition, Watched};
use crate::breaker::{Mode, Snapshot, State};

/// What the page shows of one breaker: the same JSON in the list, in the stream and as the answer to an action.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    pub(super) id: Id,
    name: &'a str,
    partition: &'a str,
    #[serde(serialize_with = "text")]
    state: State,
    #[serde(serialize_with = "text")]
    mode: Mode,
    calls: u64,
    failures: u64,
    slow: u64,
    failure_rate: f64,
    slow_rate: f64,
    consecutive_failures: u32,
    retry_after_ms: Option<u64>,
    remaining_probes: Option<u32>,
    unchanged_for_ms: u64,
    /// Why it is not closed: without times, which would grow old in the stream.
    explanation: Option<String>,
    totals: Totals,
    history: Vec<Change>,
    #[serde(skip)]
    pub(super) version: Version,
}

/// Differs from that of an earlier row unless time alone has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// State, mode, generation, and the changes in the history, which may come a little later.
    pub(super) state: (State, Mode, u32, u64),
    /// A hash.
    counts: u64,
}

#[derive(Debug, Serialize)]
struct Totals {
    calls: u64,
    succeeded: u64,
    failed: u64,
    rejected: u64,
    transitions: u64,
}

#[derive(Debug, Serialize)]
struct Change {
    #[serde(serialize_with = "text")]
    from: State,
    #[serde(serialize_with = "text")]
    to: State,
    #[serde(serialize_with = "text")]
    mode: Mode,
    cause: &'static str,
    ago_ms: u64,
    reopened: u64,
}

/// What the page shows of a layer.
#[derive(Debug, Serialize)]
pub(super) struct LayerRow<'a> {
    name: &'a str,
    overflowed: u64,
    /// Where its flight recording is, from the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<String>,
}

impl<'a> Row<'a> {
    pub(super) fn of(listed: &'a Listed, watched: &Watched) -> Self {
        let Listed { id, ref breaker } = *listed;
        let snapshot = breaker.snapshot();
        let record = watched.record(breaker);
        let now = Instant::now();
        let Snapshot { state, mode, calls, failures, slow, consecutive_failures, .. } = snapshot;
        Self {
            id,
            name: breaker.name(),
            partition: breaker.partition(),
            state,
            mode,
            calls,
            failures,
            slow,
            failure_rate: snapshot.failure_rate,
            slow_rate: snapshot.slow_rate,
            consecutive_failures,
            retry_after_ms: snapshot.retry_after.map(millis),
            remaining_probes: snapshot.remaining_probes,
            unchanged_for_ms: millis(snapshot.unchanged_for),
            explanation: snapshot.trip.map(|trip| trip.explain()),
            totals: Totals {
                calls: snapshot.totals.calls,
                succeeded: snapshot.totals.succeeded,
                failed: snapshot.totals.failed,
                rejected: snapshot.totals.rejected,
                transitions: snapshot.totals.transitions,
            },
            history: record.last.iter().map(|transition| Change::of(transition, now)).collect(),
            version: Version::of(&snapshot, record.changes),
        }
    }
}

impl Version {
    fn of(snapshot: &Snapshot, changes: u64) -> Self {
        let Snapshot { state, mode, generation, calls, failures, slow, totals, .. } = snapshot;
        let mut hasher = DefaultHasher::new();
        (calls, failures, slow, snapshot.consecutive_failures, snapshot.remaining_probes).hash(&mut hasher);
        (totals.calls, totals.failed, totals.rejected).hash(&mut hasher);
        Self { state: (*state, *mode, *generation, changes), counts: hasher.finish() }
    }
}

impl<'a> LayerRow<'a> {
    pub(super) fn all(watched: &'a Watched) -> Vec<Self> {
        let row = |(number, layer): (usize, &'a Arc<dyn Layer>)| Self {
            name: layer.name(),
            overflowed: layer.overflowed(),
            recording: layer.has_recorder().then(|| format!("recordings/{number}")),
        };
        watched.layers().iter().enumerate().map(row).collect()
    }
}

impl Change {
    fn of(transition: &Transition, now: Instant) -> Self {
        let Transition { from, to, mode, cause, at, reopened } = *transition;
        let ago_ms = millis(now.saturating_duration_since(at));
        Self { from, to, mode, cause: cause.as_str(), ago_ms, reopened }
    }
}

/// Nothing that is shown can fail to be written.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
