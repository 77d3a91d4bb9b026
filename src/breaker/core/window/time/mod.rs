mod newest;
pub(super) mod ticks;
mod total;
mod track;

#[cfg(all(test, not(rampart_loom)))]
mod tests;

pub(super) use self::newest::MAX_BUCKETS;
use self::newest::{Newest, TICK_MAX, next_index};
use self::total::{Begin, Total};
pub(super) use self::track::Lanes;
use self::track::Track;
use super::carried::Carried;
use super::counts::{Counts, Late, Outcome};
use crate::sync::{AtomicU64, Ordering, seq_cst_in_loom};

/// The outcomes of the last B ticks.
///
/// All outcomes are counted in one word that is never emptied, the total, and a bucket remembers the total at which it
/// began. So the window holds what the total has grown by since its oldest bucket began, and nothing is ever summed,
/// whatever the number of buckets and the mix of outcomes.
///
/// Only a tick that something was recorded at has a bucket. The buckets are a queue: a recorder of a later tick appends
/// one and removes those that have left the window. It does both in one step on [`Newest`], then writes the total at
/// which the new bucket begins; until that is done, every other recorder does it too before it counts.
///
/// A window that all threads share has a total for each of a few lanes of threads, because one word that two threads
/// write costs each of them more than all the rest. Then a success does not look at the totals of the others once its
/// own lane alone holds the minimum of calls in the newest bucket: since another success had completed that minimum,
/// and had checked the rates, nothing has left the window, and a success can only lower them.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeWindow<'a> {
    newest: &'a AtomicU64,
    outcomes: Track<'a>,
    slow: Option<Track<'a>>,
    /// What the totals of the outcomes lose when they go round, less the calls that they were moved by to empty the
    /// window.
    pub(super) carried: Carried<'a>,
    shape: Shape,
}

/// What differs between the time windows of two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) buckets: u32,
    pub(super) watch_slow: bool,
    /// Calls below which no rate counts.
    pub(super) minimum_calls: u64,
}

/// A window of more calls forgets its oldest buckets early; one bucket of more calls is halved.
const CALLS_MAX: u64 = 1 << 25;
/// How often a recorder looks for that.
const CALLS_BETWEEN: u64 = 1 << 24;
/// Words before the beginnings, besides the totals.
const HEAD: usize = 3;

impl<'a> TimeWindow<'a> {
    /// How many words it needs besides the totals, and what the first of them begins with.
    pub(super) fn words(shape: Shape, lanes: Lanes) -> (usize, u64) {
        let last = shape.buckets - 1;
        // All slots are of the lap before, and time begins in the last of them.
        let newest = Newest { tick: 0, index: last, oldest: last, lap: false, unbegun: false };
        (HEAD + shape.tracks() * shape.buckets as usize * lanes.count, newest.bits())
    }

    #[inline(always)]
    pub(super) fn new(totals: &'a [AtomicU64], words: &'a [AtomicU64], shape: Shape, lanes: Lanes) -> Self {
        let [newest, calls, failures, begins @ ..] = words else { unreachable!("there are more") };
        let (begins, slow_begins) = begins.split_at(shape.buckets as usize * lanes.count);
        let slow = shape.watch_slow.then(|| Track { totals: &totals[1..], begins: slow_begins, lanes });
        let carried = Carried { calls, failures };
        Self { newest, outcomes: Track { totals, begins, lanes }, slow, carried, shape }
    }

    /// Adds an outcome in this lane and returns the counts only if they include a failed or slow call, or if another
    /// recorder sees them.
    #[inline(always)]
    pub(super) fn try_record(
        self,
        lane: usize,
        tick: u64,
        outcome: Outcome,
        live: impl Fn() -> bool,
    ) -> Result<Option<Counts>, Late> {
        let unrecorded = |slow_counted| Late::Unrecorded { slow_counted };
        let tick = tick.min(TICK_MAX);
        let newest = Newest::from_bits(self.newest.load(Ordering::SeqCst));
        if newest.unbegun || tick > newest.tick {
            self.move_on(tick, &live).ok_or(unrecorded(false))?;
        }
        let is_slow = outcome.slow && self.slow.is_some();
        if let (Some(slow), true) = (self.slow, is_slow) {
            slow.count(lane, true, &live).ok_or(unrecorded(false))?;
        }
        // Last, and in one order with all others (`SeqCst`): of several recorders the last to count sees what all of
        // them have counted.
        let total = self.outcomes.count(lane, outcome.failed, live).ok_or(unrecorded(is_slow))?;
        seq_cst_in_loom();
        if total.calls() % CALLS_BETWEEN == 0 {
            self.relieve(lane, total);
        }
        if outcome.failed && total.hits() == 0 {
            self.carried.add(0, Total::ROUND);
        }
        let newest = self.newest();
        // If the newest bucket is later than this outcome, its own recorder checks the rates.
        let calls = total.since(self.outcomes.begin(newest.index, lane)).0;
        Ok(if !outcome.failed && !is_slow && calls > self.shape.minimum_calls { None } else { self.suspicious() })
    }

    /// The counts of the window, if they include a failed or slow call.
    #[inline(always)]
    fn suspicious(self) -> Option<Counts> {
        loop {
            let newest = self.newest();
            let counts = self.since(newest.oldest);
            if self.is_still(newest) {
                return counts.if_suspicious();
            }
        }
    }

    pub(super) fn counts(self, tick: u64) -> Counts {
        loop {
            let newest = self.newest();
            let oldest = self.oldest(newest, tick.min(TICK_MAX).max(newest.tick));
            let counts = oldest.map(|oldest| self.since(oldest));
            if self.is_still(newest) {
                return counts.unwrap_or_default();
            }
        }
    }

    /// Makes the step of every late recorder fail that has still found its generation alive: the total has changed.
    fn stop_late(self) {
        for lane in 0..self.outcomes.lanes.count {
            let total = self.outcomes.move_on(lane);
            self.slow.map(|slow| slow.move_on(lane));
            // That was no call.
            self.carried.add(total.lost().wrapping_sub(1), 0);
        }
    }

    /// Ends the window at this tick, while no call may write to it, and returns the buckets in it with their ticks, the
    /// oldest first. The totals stay.
    pub(super) fn close(self, now: u64) -> Vec<(u64, Counts)> {
        self.stop_late();
        loop {
            let newest = self.newest();
            let mut buckets = Vec::new();
            let mut index = newest.oldest;
            loop {
                let tick = newest.tick.saturating_sub(self.outcomes.begin(index, 0).age(newest.tick));
                buckets.push((tick, self.since(index)));
                if index == newest.index {
                    break;
                }
                index = next_index(index, self.shape.buckets);
            }
            if self.is_still(newest) {
                // Each holds all that are later, and the calls that stopped late ones.
                let mut later = Counts { calls: self.outcomes.lanes.count as u64, ..Counts::default() };
                for (_, counts) in buckets.iter_mut().rev() {
                    later = std::mem::replace(counts, counts.minus(later));
                }
                buckets.retain(|(tick, counts)| counts.calls > 0 && tick + u64::from(self.shape.buckets) > now);
                return buckets;
            }
        }
    }

    /// Fills a window that is new or [closed](Self::close), while no call may write to it. The totals stay.
    pub(super) fn fill(self, buckets: &[(u64, Counts)], now: u64) {
        let before = self.totals();
        let first = buckets.first().map_or(now, |(tick, _)| *tick).min(TICK_MAX);
        let next = self.newest().next(first, None, self.shape.buckets);
        self.newest.swap(next.bits(), Ordering::SeqCst);
        self.begin(next);
        for (tick, counts) in buckets {
            self.move_on(*tick, || true);
            self.outcomes.add(counts.calls, counts.failures);
            if let Some(slow) = self.slow {
                slow.add(counts.slow, counts.slow);
            }
        }
        self.carried.take_back(before, self.totals());
    }

    pub(super) fn reset(self, tick: u64) {
        self.stop_late();
        loop {
            let newest = self.newest();
            let next = newest.next(tick.min(TICK_MAX).max(newest.tick), None, self.shape.buckets);
            if self.swap(newest, next) {
                return self.begin(next);
            }
        }
    }

    /// The calls recorded since it was made, and the failures among them.
    pub(super) fn totals(self) -> (u64, u64) {
        let lanes = (0..self.outcomes.lanes.count).map(|lane| self.outcomes.total(lane));
        lanes.fold(self.carried.get(), |(calls, failures), total| {
            (calls.wrapping_add(total.calls()), failures.wrapping_add(total.hits()))
        })
    }

    /// Each track with each of its lanes.
    fn tracks(self) -> impl Iterator<Item = (Track<'a>, usize)> {
        let tracks = [Some(self.outcomes), self.slow].into_iter().flatten();
        tracks.flat_map(|track| (0..track.lanes.count).map(move |lane| (track, lane)))
    }

    /// The newest bucket, which has begun.
    #[inline(always)]
    fn newest(self) -> Newest {
        loop {
            let newest = Newest::from_bits(self.newest.load(Ordering::SeqCst));
            if !newest.unbegun {
                return newest;
            }
            self.begin(newest);
        }
    }

    /// Whether nothing has been appended or removed meanwhile, so that no slot in the queue has been written.
    #[inline(always)]
    fn is_still(self, newest: Newest) -> bool {
        self.newest.load(Ordering::SeqCst) == newest.bits()
    }

    fn swap(self, newest: Newest, next: Newest) -> bool {
        self.newest.compare_exchange(newest.bits(), next.bits(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Moves on to this tick unless another recorder is further: time only goes forward, also between threads.
    #[cold]
    fn move_on(self, tick: u64, live: impl Fn() -> bool) -> Option<()> {
        loop {
            let newest = self.newest();
            if tick <= newest.tick {
                return Some(());
            }
            if !live() {
                return None;
            }
            let next = newest.next(tick, self.oldest(newest, tick), self.shape.buckets);
            if self.swap(newest, next) {
                self.begin(next);
            }
        }
    }

    /// Writes where the newest bucket begins.
    #[cold]
    fn begin(self, newest: Newest) {
        for (track, lane) in self.tracks() {
            let slot = track.slot(newest.index, lane);
            let seen = slot.load(Ordering::SeqCst);
            // Looks at the newest bucket again, because the slot may be one of a later lap by now. If it is not, it is
            // written once, since the second to do so finds that it has changed.
            if Begin(seen).lap() != newest.lap && self.is_still(newest) {
                let begin = Begin::new(newest.tick, newest.lap, track.total(lane));
                let _ = slot.compare_exchange(seen, begin.0, Ordering::SeqCst, Ordering::SeqCst);
            }
        }
        self.swap(newest, Newest { unbegun: false, ..newest });
    }

    /// The oldest bucket that lies in the window which ends at this tick, if there is one. The newest bucket must not
    /// be later.
    fn oldest(self, newest: Newest, tick: u64) -> Option<u32> {
        let passed = tick - newest.tick;
        if passed >= self.shape.buckets.into() {
            return None;
        }
        let mut index = newest.oldest;
        loop {
            let age = self.outcomes.begin(index, 0).age(newest.tick);
            if age + passed < self.shape.buckets.into() {
                return Some(index);
            }
            if index == newest.index {
                return None;
            }
            index = next_index(index, self.shape.buckets);
        }
    }

    /// What has been counted since this bucket began.
    #[inline(always)]
    fn since(self, oldest: u32) -> Counts {
        // Slow calls are read first, so that a thread that pauses in between sees too low a rate of them, not too high
        // a one. They are also counted first, so there can be more of them than of calls.
        let slow = self.slow.map_or(0, |slow| slow.since(oldest).1);
        let (calls, failures) = self.outcomes.since(oldest);
        Counts { calls, failures, slow: slow.min(calls) }
    }

    /// Keeps the number of calls far below the width of the beginnings, and carries what the total loses as it goes
    /// round.
    #[cold]
    fn relieve(self, lane: usize, total: Total) {
        self.carried.add(total.lost(), 0);
        loop {
            let newest = self.newest();
            let begin = self.outcomes.begin(newest.oldest, lane);
            if self.outcomes.total(lane).since(begin).0 < CALLS_MAX {
                return;
            }
            if newest.oldest != newest.index {
                self.swap(newest, Newest { oldest: next_index(newest.oldest, self.shape.buckets), ..newest });
                continue;
            }
            for (track, lane) in self.tracks() {
                let slot = track.slot(newest.oldest, lane);
                let begin = track.begin(newest.oldest, lane);
                if self.is_still(newest) {
                    let halved = begin.halved(track.total(lane)).0;
                    let _ = slot.compare_exchange(begin.0, halved, Ordering::SeqCst, Ordering::SeqCst);
                }
            }
        }
    }
}

impl Shape {
    /// Outcomes, and slow calls if they are watched: as many totals are in a lane.
    #[inline(always)]
    pub(super) fn tracks(self) -> usize {
        if self.watch_slow { 2 } else { 1 }
    }
}
