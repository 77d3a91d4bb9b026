//! What a thread has allocated, as the tests of the crate count it.

#[path = "../../../../tests/support/counting.rs"]
mod counting;

use self::counting::{COUNT, Count};

/// What this thread has allocated since it started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heap {
    /// Calls of the allocator that ask for memory; growing counts as one.
    pub(crate) allocations: u64,
    /// Bytes asked for and not given back. Negative where a thread frees what others allocated.
    pub(crate) live: i64,
}

impl Heap {
    pub(crate) fn now() -> Self {
        let Count { allocations, live, peak: _ } = COUNT.get();
        Self { allocations, live }
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { allocations: self.allocations - earlier.allocations, live: self.live - earlier.live }
    }
}
