//! Counts what is allocated, per thread, at the price of two thread-local additions.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

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
        HEAP.get()
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { allocations: self.allocations - earlier.allocations, live: self.live - earlier.live }
    }
}

thread_local! {
    // Constant and without a destructor, so that touching it inside the allocator allocates nothing and always works.
    static HEAP: Cell<Heap> = const { Cell::new(Heap { allocations: 0, live: 0 }) };
}

fn count(allocations: u64, freed: usize, allocated: usize) {
    let heap = HEAP.get();
    HEAP.set(Heap { allocations: heap.allocations + allocations, live: heap.live - freed as i64 + allocated as i64 });
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, 0, layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, 0, layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, layout.size(), new_size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, layout.size(), 0);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
