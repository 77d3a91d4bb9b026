//! The primitives that the lock-free parts stand on, swapped for loom's when their interleavings are explored.
//!
//! `rampart_loom` and not `loom`, because crates that this one depends on listen to the latter.

#[cfg(all(test, rampart_loom))]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering, fence},
};
#[cfg(not(all(test, rampart_loom)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering, fence},
};

/// Locks, also after a panic elsewhere: what these locks guard is changed in steps that cannot panic half-way.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Loom takes `SeqCst` accesses for weaker ones; where code goes by their one order, a fence stands in for it.
#[inline(always)]
pub(crate) fn seq_cst_in_loom() {
    #[cfg(all(test, rampart_loom))]
    fence(Ordering::SeqCst);
}
