//! What the circuit breaker of one tenant did, and when.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tower_rampart::breaker::{Events, State};

/// Records until it is dropped.
#[derive(Debug)]
pub(crate) struct Recording {
    changes: Arc<Mutex<Vec<Change>>>,
    task: AbortHandle,
}

/// A change of the breaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// Since the start of the run.
    pub(crate) at_ms: u64,
    /// "opened", "probed" (a half-open breaker admits its first probe) or "closed".
    pub(crate) event: &'static str,
    pub(crate) cause: &'static str,
}

impl Recording {
    /// Keeps the changes of the breaker of `tenant`, of all those in `events`.
    pub(crate) fn start(mut events: Events, tenant: String, start: Instant) -> Self {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&changes);
        let task = tokio::spawn(async move {
            loop {
                let event = events.recv().await;
                if event.breaker.partition() == tenant {
                    let at_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                    let name = match event.to {
                        State::Open => "opened",
                        State::HalfOpen => "probed",
                        State::Closed => "closed",
                    };
                    let change = Change { at_ms, event: name, cause: event.cause.as_str() };
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(change);
                }
            }
        });
        Self { changes, task: task.abort_handle() }
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.task.abort();
    }
}
