//! The primitives of the lock-free parts, replaced by loom's in model tests.
//!
//! The cfg is `rampart_loom` because some dependencies react to `loom`.

#[cfg(all(test, rampart_loom))]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(not(all(test, rampart_loom)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

/// Locks a mutex and ignores poisoning: no update under these locks can panic half-way.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Loom models `SeqCst` accesses as weaker ones. Code that relies on their total order calls this fence.
#[inline(always)]
pub(crate) fn seq_cst_in_loom() {
    #[cfg(all(test, rampart_loom))]
    loom::sync::atomic::fence(Ordering::SeqCst);
}
