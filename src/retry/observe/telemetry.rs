//! The `tracing` events of the layer, with the target `tower_rampart::retry`: one for each retry and each
//! reconfiguration, at most one a second for give-ups.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::{GiveUpEvent, RetryEvent};
use crate::retry::policy::GiveUp;
use crate::settings::changes::Changes;

pub(super) const TARGET: &str = "tower_rampart::retry";

/// Logs give-ups, at most one line a second for each kind, because in a storm a line for every call would bury all
/// others.
///
/// The first give-up of a kind is logged at once. Those of the following second are counted, and the next line contains
/// their number.
#[derive(Debug)]
pub(in crate::retry) struct GiveUpLog {
    start: Instant,
    kinds: [Kind; GiveUp::ALL.len()],
}

#[derive(Debug, Default)]
struct Kind {
    /// The earliest millisecond of the next line.
    next_line: AtomicU64,
    /// Give-ups since the last line.
    unlogged: AtomicU64,
}

const LINE_EVERY_MILLIS: u64 = 1_000;

impl GiveUpLog {
    pub(in crate::retry) fn new() -> Self {
        Self { start: Instant::now(), kinds: Default::default() }
    }

    pub(in crate::retry) fn log(&self, name: &str, event: &GiveUpEvent<'_>) {
        let kind = &self.kinds[event.kind as usize];
        // Counted before the line is claimed, so that no give-up is lost between two lines.
        kind.unlogged.fetch_add(1, Ordering::Relaxed);
        if kind.claims_line(self.millis()) {
            trace_give_up(name, event, kind.unlogged.swap(0, Ordering::Relaxed));
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(Instant::now().saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Kind {
    /// Returns true if the caller writes the line of this second. One of several threads does.
    fn claims_line(&self, now: u64) -> bool {
        let next = self.next_line.load(Ordering::Relaxed);
        now >= next
            && self
                .next_line
                .compare_exchange(next, now.saturating_add(LINE_EVERY_MILLIS), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

pub(in crate::retry) fn trace_retry(name: &str, event: &RetryEvent<'_>) {
    let RetryEvent { attempt, wait, is_resend: _, is_hedge, verdict, origin } = event;
    tracing::debug!(
        target: TARGET,
        name,
        attempt,
        wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        hedge = is_hedge.then_some(true),
        reason = verdict.reason().as_str(),
        code = verdict.code(),
        method = origin.method().map(http::Method::as_str),
        host = origin.host(),
        partition = origin.partition(),
        "retrying",
    );
}

/// Calls of more partitions than there is room for share a few budgets.
pub(in crate::retry) fn trace_overflow(name: &str, max_partitions: usize, calls: u64) {
    tracing::warn!(
        target: TARGET,
        name,
        max_partitions,
        calls,
        "all partitions are in use: new ones share a few budgets",
    );
}

/// The names of the changed settings alone.
pub(in crate::retry) fn trace_reconfigured(name: &str, changes: &Changes) {
    tracing::info!(target: TARGET, name, %changes, "retries reconfigured");
}

fn trace_give_up(name: &str, event: &GiveUpEvent<'_>, count: u64) {
    let GiveUpEvent { kind, attempts, verdict, origin } = event;
    tracing::warn!(
        target: TARGET,
        name,
        kind = kind.as_str(),
        attempts,
        reason = verdict.reason().as_str(),
        code = verdict.code(),
        method = origin.method().map(http::Method::as_str),
        host = origin.host(),
        partition = origin.partition(),
        count,
        "gave up",
    );
}
