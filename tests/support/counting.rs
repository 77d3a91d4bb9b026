//! An allocator that counts, for test binaries that ask what memory a call takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Of this thread alone, as tests run side by side.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) allocations: u64,
    /// Bytes.
    pub(crate) live: i64,
    /// Bytes.
    pub(crate) peak: i64,
}

thread_local! {
    pub(crate) static COUNT: Cell<Count> = const { Cell::new(Count { allocations: 0, live: 0, peak: 0 }) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(allocations: u64, bytes: i64) {
    let Count { allocations: before, live, peak } = COUNT.get();
    let live = live + bytes;
    COUNT.set(Count { allocations: before + allocations, live, peak: peak.max(live) });
}

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        unsafe { System.realloc(pointer, layout, size) }
    }
}
