use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The nodes that keys share while all partitions are in use.
///
/// Several, so that one bad key does not shut out all others. Each is made when it is first used.
#[derive(Debug)]
pub(crate) struct Overflow<Node> {
    nodes: [OnceLock<Arc<Node>>; SHARED],
    /// Calls that found all partitions in use.
    calls: AtomicU64,
    /// In milliseconds.
    next_warning: AtomicU64,
}

pub(crate) const SHARED: usize = 16;
const WARN_EVERY_MILLIS: u64 = 60_000;

impl<Node> Overflow<Node> {
    pub(crate) fn node(&self, which: usize, make: impl FnOnce() -> Arc<Node>) -> &Arc<Node> {
        self.nodes[which].get_or_init(make)
    }

    /// Those in use.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().filter_map(OnceLock::get)
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Counts a call. Returns the number of calls if a warning is due.
    pub(crate) fn count(&self, now: u64) -> Option<u64> {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let due = self.next_warning.load(Ordering::Relaxed);
        let next = now.saturating_add(WARN_EVERY_MILLIS);
        let warns =
            now >= due && self.next_warning.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        warns.then_some(calls)
    }
}

impl<Node> Default for Overflow<Node> {
    fn default() -> Self {
        Self { nodes: [const { OnceLock::new() }; SHARED], calls: AtomicU64::new(0), next_warning: AtomicU64::new(0) }
    }
}
