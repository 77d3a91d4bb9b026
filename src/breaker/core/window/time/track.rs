use super::total::{Begin, Total};
use crate::sync::{AtomicU64, Ordering};

/// The totals of one kind of outcomes, and where each bucket began, both for each lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Track<'a> {
    pub(super) totals: &'a [AtomicU64],
    pub(super) begins: &'a [AtomicU64],
    pub(super) lanes: Lanes,
}

/// In how many lanes the threads count, and how many words lie between their totals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    pub(crate) count: usize,
    pub(crate) stride: usize,
}

impl Lanes {
    pub(crate) const ONE: Self = Self { count: 1, stride: 0 };
}

impl<'a> Track<'a> {
    #[inline(always)]
    pub(super) fn word(self, lane: usize) -> &'a AtomicU64 {
        &self.totals[lane * self.lanes.stride]
    }

    #[inline(always)]
    pub(super) fn slot(self, index: u32, lane: usize) -> &'a AtomicU64 {
        &self.begins[index as usize * self.lanes.count + lane]
    }

    #[inline(always)]
    pub(super) fn total(self, lane: usize) -> Total {
        Total(self.word(lane).load(Ordering::SeqCst))
    }

    /// Makes the step of every recorder fail that has read the total before. Returns the new one.
    pub(super) fn move_on(self, lane: usize) -> Total {
        Total(self.word(lane).fetch_add(Total(0).plus(false).0, Ordering::SeqCst)).plus(false)
    }

    /// Counts so many at once, while no call may write to it.
    pub(super) fn add(self, calls: u64, hits: u64) {
        let word = self.word(0);
        let total = Total(word.load(Ordering::SeqCst));
        word.swap(total.plus_all(calls, hits).0, Ordering::SeqCst);
    }

    #[inline(always)]
    pub(super) fn begin(self, index: u32, lane: usize) -> Begin {
        Begin(self.slot(index, lane).load(Ordering::SeqCst))
    }

    /// Calls and hits of all lanes since this bucket began. Loads the beginning first: the total is not below it.
    #[inline(always)]
    pub(super) fn since(self, index: u32) -> (u64, u64) {
        let lanes = (0..self.lanes.count).map(|lane| {
            let begin = self.begin(index, lane);
            self.total(lane).since(begin)
        });
        lanes.fold((0, 0), |(calls, hits), lane| (calls + lane.0, hits + lane.1))
    }

    /// Counts in whatever bucket is the newest: a later one only means that time has gone on meanwhile.
    #[inline(always)]
    pub(super) fn count(self, lane: usize, hit: bool, live: impl Fn() -> bool) -> Option<Total> {
        let word = self.word(lane);
        let mut seen = word.load(Ordering::Acquire);
        loop {
            if !live() {
                return None;
            }
            let next = Total(seen).plus(hit);
            match word.compare_exchange_weak(seen, next.0, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => return Some(next),
                Err(now) => seen = now,
            }
        }
    }
}
