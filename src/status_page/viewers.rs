use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the open streams and recordings of a page, because each costs memory and time.
#[derive(Clone, Debug, Default)]
pub(super) struct Viewers(Arc<AtomicUsize>);

/// Taken by one of them until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

/// What a page serves at once.
const MOST: usize = 16;

impl Viewers {
    /// Takes a place, if one is free.
    pub(super) fn admit(&self) -> Option<Place> {
        let add = |open| (open < MOST).then_some(open + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok().then(|| Place(self.0.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
