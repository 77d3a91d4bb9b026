use super::counts::{Counts, Outcome};
use super::total::{Begin, Total};
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
/// write costs each of them more than all the rest. Then a success does not look at the totals of the others once its own
/// lane alone holds the minimum of calls in the newest bucket: since another success had completed that minimum, and had
/// checked the rates, nothing has left the window, and a success can only lower them.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeWindow<'a> {
    newest: &'a AtomicU64,
    outcomes: Track<'a>,
    slow: Option<Track<'a>>,
    shape: Shape,
}

/// What differs between the time windows of two layers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) buckets: u32,
    pub(super) watch_slow: bool,
    /// Calls below which no rate counts.
    pub(super) minimum_calls: u64,
}

/// The totals of one kind of outcomes, and where each bucket began, both for each lane.
#[derive(Clone, Copy, Debug)]
struct Track<'a> {
    totals: &'a [AtomicU64],
    begins: &'a [AtomicU64],
    lanes: Lanes,
}

/// In how many lanes the threads count, and how many words lie between their totals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes {
    pub(super) count: usize,
    pub(super) stride: usize,
}

/// The tick of the newest bucket, and the queue: tick 42, newest index 10, oldest index 10, lap 1, unbegun 1.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Newest {
    tick: u64,
    index: u32,
    oldest: u32,
    /// Changes whenever the index begins again at 0, so that a slot of the lap before can be told.
    lap: bool,
    /// Whether the newest bucket does not have its beginning yet.
    unbegun: bool,
}

pub(super) const MAX_BUCKETS: u32 = 1 << INDEX;
const INDEX: u32 = 10;
const INDEX_MASK: u32 = (1 << INDEX) - 1;
const UNBEGUN: u64 = 1;
const LAP: u64 = 2;
const TICK_SHIFT: u32 = 2 * INDEX + 2;
/// Ticks end here, 139 years ahead with the shortest buckets; the window then stands still.
const TICK_MAX: u64 = u64::MAX >> TICK_SHIFT;
/// A window of more calls forgets its oldest buckets early; one bucket of more calls is halved.
const CALLS_MAX: u64 = 1 << 25;
/// How often a recorder looks for that.
const CALLS_BETWEEN: u64 = 1 << 24;

impl Lanes {
    pub(super) const ONE: Self = Self { count: 1, stride: 0 };
}

impl<'a> TimeWindow<'a> {
    /// How many words it needs besides the totals, and what the first of them begins with.
    pub(super) fn words(shape: Shape, lanes: Lanes) -> (usize, u64) {
        let last = shape.buckets - 1;
        // All slots are of the lap before, and time begins in the last of them.
        let newest = Newest { tick: 0, index: last, oldest: last, lap: false, unbegun: false };
        (1 + shape.tracks() * shape.buckets as usize * lanes.count, newest.bits())
    }

    #[inline(always)]
    pub(super) fn new(totals: &'a [AtomicU64], words: &'a [AtomicU64], shape: Shape, lanes: Lanes) -> Self {
        let [newest, begins @ ..] = words else { unreachable!("there are more than none") };
        let (begins, slow_begins) = begins.split_at(shape.buckets as usize * lanes.count);
        let slow = shape.watch_slow.then(|| Track { totals: &totals[1..], begins: slow_begins, lanes });
        Self { newest, outcomes: Track { totals, begins, lanes }, slow, shape }
    }

    /// Adds an outcome in this lane and returns the counts only if they include a failed or slow call, or if another
    /// recorder sees them.
    #[inline(always)]
    pub(super) fn record(self, lane: usize, tick: u64, outcome: Outcome, live: impl Fn() -> bool) -> Option<Counts> {
        let tick = tick.min(TICK_MAX);
        let newest = Newest::from_bits(self.newest.load(Ordering::SeqCst));
        if newest.unbegun || tick > newest.tick {
            self.move_on(tick, &live)?;
        }
        let is_slow = outcome.slow && self.slow.is_some();
        if let (Some(slow), true) = (self.slow, is_slow) {
            slow.count(lane, true, &live)?;
        }
        // Last, and in one order with all others (`SeqCst`): of several recorders the last to count sees what all of
        // them have counted.
        let total = self.outcomes.count(lane, outcome.failed, live)?;
        seq_cst_in_loom();
        if total.calls() % CALLS_BETWEEN == 0 {
            self.relieve(lane);
        }
        let newest = self.newest();
        // If the newest bucket is later than this outcome, its own recorder checks the rates.
        let calls = total.since(self.outcomes.begin(newest.index, lane)).0;
        if !outcome.failed && !is_slow && calls > self.shape.minimum_calls { None } else { self.suspicious() }
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

    pub(super) fn reset(self, tick: u64) {
        // A late recorder that has still found its generation alive finds that the total has changed.
        for (track, lane) in self.tracks() {
            track.word(lane).fetch_add(1 << 32, Ordering::SeqCst);
        }
        loop {
            let newest = self.newest();
            let next = newest.next(tick.min(TICK_MAX).max(newest.tick), None, self.shape.buckets);
            if self.swap(newest, next) {
                return self.begin(next);
            }
        }
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

    /// The oldest bucket that lies in the window which ends at this tick, if there is one. The newest bucket must not be
    /// later.
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
        let (calls, failures) = self.outcomes.since(oldest);
        // The slow calls are counted first, so there can be more of them for a moment.
        let slow = self.slow.map_or(0, |slow| slow.since(oldest).1.min(calls));
        Counts { calls, failures, slow }
    }

    /// Keeps the number of calls far below the width of the beginnings.
    #[cold]
    fn relieve(self, lane: usize) {
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

impl<'a> Track<'a> {
    #[inline(always)]
    fn word(self, lane: usize) -> &'a AtomicU64 {
        &self.totals[lane * self.lanes.stride]
    }

    #[inline(always)]
    fn slot(self, index: u32, lane: usize) -> &'a AtomicU64 {
        &self.begins[index as usize * self.lanes.count + lane]
    }

    #[inline(always)]
    fn total(self, lane: usize) -> Total {
        Total(self.word(lane).load(Ordering::SeqCst))
    }

    #[inline(always)]
    fn begin(self, index: u32, lane: usize) -> Begin {
        Begin(self.slot(index, lane).load(Ordering::SeqCst))
    }

    /// Calls and hits of all lanes since this bucket began. Loads the beginning first: the total is not below it.
    #[inline(always)]
    fn since(self, index: u32) -> (u64, u64) {
        let lanes = (0..self.lanes.count).map(|lane| {
            let begin = self.begin(index, lane);
            self.total(lane).since(begin)
        });
        lanes.fold((0, 0), |(calls, hits), lane| (calls + lane.0, hits + lane.1))
    }

    /// Counts in whatever bucket is the newest: a later one only means that time has gone on meanwhile.
    #[inline(always)]
    fn count(self, lane: usize, hit: bool, live: impl Fn() -> bool) -> Option<Total> {
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

impl Newest {
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        Self {
            tick: bits >> TICK_SHIFT,
            index: (bits >> (INDEX + 2)) as u32 & INDEX_MASK,
            oldest: (bits >> 2) as u32 & INDEX_MASK,
            lap: bits & LAP != 0,
            unbegun: bits & UNBEGUN != 0,
        }
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        let queue = u64::from(self.index) << INDEX | u64::from(self.oldest);
        let flag = |bit, set| if set { bit } else { 0 };
        self.tick << TICK_SHIFT | queue << 2 | flag(LAP, self.lap) | flag(UNBEGUN, self.unbegun)
    }

    /// With a new bucket of this tick; alone if none of the others is left.
    fn next(self, tick: u64, oldest: Option<u32>, buckets: u32) -> Self {
        let index = next_index(self.index, buckets);
        Self { tick, index, oldest: oldest.unwrap_or(index), lap: self.lap != (index == 0), unbegun: true }
    }
}

fn next_index(index: u32, buckets: u32) -> u32 {
    if index + 1 == buckets { 0 } else { index + 1 }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OK: Outcome = Outcome { failed: false, slow: false };
    const FAILED: Outcome = Outcome { failed: true, slow: false };

    const LANES: Lanes = Lanes { count: 2, stride: 5 };
    const TOTALS: usize = 10;

    fn shape(buckets: u32, watch_slow: bool) -> Shape {
        Shape { buckets, watch_slow, minimum_calls: u64::MAX }
    }

    fn words(buckets: u32, watch_slow: bool) -> Vec<AtomicU64> {
        let (others, first) = TimeWindow::words(shape(buckets, watch_slow), LANES);
        (0..TOTALS + others).map(|index| AtomicU64::new(if index == TOTALS { first } else { 0 })).collect()
    }

    /// A window of two lanes.
    fn window(words: &[AtomicU64], buckets: u32, watch_slow: bool) -> TimeWindow<'_> {
        let (totals, others) = words.split_at(TOTALS);
        TimeWindow::new(totals, others, shape(buckets, watch_slow), LANES)
    }

    /// What the window holds now, if that speaks against the upstream.
    fn suspicious(window: TimeWindow<'_>) -> Option<Counts> {
        window.counts(0).if_suspicious()
    }

    fn counts(calls: u64, failures: u64) -> Counts {
        Counts { calls, failures, slow: 0 }
    }

    /// Records, and returns the counts of the window in any case.
    fn record(window: TimeWindow<'_>, tick: u64, outcome: Outcome) -> Counts {
        // Both lanes in turn.
        let lane = (window.counts(0).calls % 2) as usize;
        let seen = window.record(lane, tick, outcome, || true);
        let counts = window.counts(0);
        assert_eq!(seen, counts.if_suspicious());
        counts
    }

    #[test]
    fn no_jump_of_the_clock_brings_old_counts_back() {
        // Whatever bits a lap has: after exactly that many laps an old bucket would look new.
        for laps in (1..=40).map(|bits| 1_u64 << bits) {
            for buckets in [1, 3, 10] {
                let words = words(buckets, false);
                let window = window(&words, buckets, false);
                window.record(0, 0, FAILED, || true);
                let tick = laps * u64::from(buckets);
                assert_eq!(window.counts(tick), counts(0, 0), "{laps} laps");
                assert_eq!(record(window, tick, OK), counts(1, 0), "{laps} laps");
            }
        }
    }

    #[test]
    fn a_bucket_that_is_always_skipped_does_not_come_back() {
        let words = words(4, false);
        let window = window(&words, 4, false);
        window.record(0, 3, FAILED, || true);
        // Every lap but never again the fourth bucket, for longer than laps have numbers.
        for lap in 1..40_000_u64 {
            for tick in 0..3 {
                let expected = if lap == 1 { u64::from(tick < 3) } else { 0 };
                let seen = record(window, lap * 4 + tick, OK);
                assert_eq!(seen.failures, expected, "lap {lap}, tick {tick}");
            }
        }
    }

    #[test]
    fn recording_costs_the_same_whatever_the_number_of_buckets_and_outcomes() {
        const LEN: u64 = MAX_BUCKETS as u64;
        let words = words(MAX_BUCKETS, false);
        let window = window(&words, MAX_BUCKETS, false);
        for tick in 0..LEN {
            record(window, tick, FAILED);
            record(window, tick, OK);
        }
        // All other buckets are made unreadable: whoever looked at one would count something else.
        let oldest = window.newest().oldest as usize;
        for (index, begin) in window.outcomes.begins.iter().enumerate() {
            if index / LANES.count != oldest {
                begin.store(begin.load(Ordering::SeqCst) ^ 0x2a_aaaa_aaaa_aaaa, Ordering::SeqCst);
            }
        }
        let asked = std::cell::Cell::new(0);
        let live = || {
            asked.set(asked.get() + 1);
            true
        };
        assert_eq!(window.record(0, LEN - 1, OK, live), Some(counts(2 * LEN + 1, LEN)));
        assert_eq!(window.record(0, LEN - 1, FAILED, live), Some(counts(2 * LEN + 2, LEN + 1)));
        assert_eq!(asked.get(), 2, "one attempt each to write one word");
        // A gap that all buckets have left in needs none of them.
        assert_eq!(window.record(0, 9 * LEN, FAILED, live), Some(counts(1, 1)));
        assert_eq!(asked.get(), 4, "one more to move on");
    }

    #[test]
    fn a_sparse_window_holds_no_bucket_for_an_idle_tick() {
        let words = words(MAX_BUCKETS, false);
        let window = window(&words, MAX_BUCKETS, false);
        for call in 0..10_000_u64 {
            let seen = record(window, call * 100, FAILED);
            assert_eq!(seen.calls, (call + 1).min(11), "call {call}");
            let Newest { index, oldest, .. } = window.newest();
            assert_eq!((index + MAX_BUCKETS - oldest) % MAX_BUCKETS + 1, seen.calls as u32, "one bucket a call");
        }
    }

    #[test]
    fn a_window_of_too_many_calls_forgets_its_oldest_buckets() {
        let words = words(10, false);
        let window = window(&words, 10, false);
        for tick in 0..6 {
            window.outcomes.word(0).fetch_add((CALLS_BETWEEN - 1) << 32, Ordering::SeqCst);
            let seen = window.record(0, tick, FAILED, || true);
            assert!(seen.is_some_and(|seen| seen.calls < CALLS_MAX), "tick {tick}");
        }
        assert_eq!(window.counts(5), counts(CALLS_BETWEEN + 1, 2), "those of the last two ticks");
    }

    #[test]
    fn a_bucket_of_too_many_calls_keeps_its_rate() {
        for buckets in [1, 10] {
            let words = words(buckets, false);
            let window = window(&words, buckets, false);
            window.record(0, 7, OK, || true);
            window.outcomes.word(0).store((CALLS_MAX - 1) << 32 | CALLS_MAX / 4 - 1, Ordering::SeqCst);
            assert_eq!(window.record(0, 7, FAILED, || true), Some(counts(CALLS_MAX / 2, CALLS_MAX / 8)));
        }
    }

    #[test]
    fn after_the_last_tick_the_window_stands_still() {
        let words = words(3, false);
        let window = window(&words, 3, false);
        window.record(0, TICK_MAX - 2, FAILED, || true);
        assert_eq!(record(window, u64::MAX, OK), counts(2, 1));
        assert_eq!(record(window, TICK_MAX + 1, FAILED), counts(3, 2));
        assert_eq!(record(window, u64::MAX, OK), counts(4, 2));
        assert_eq!(window.counts(u64::MAX), counts(4, 2));
        window.reset(u64::MAX);
        assert_eq!(record(window, u64::MAX, OK), counts(1, 0));
    }

    #[test]
    fn what_comes_too_late_changes_nothing() {
        let words = words(3, true);
        let window = window(&words, 3, true);
        window.record(0, 1, FAILED, || true);
        assert_eq!(window.record(0, 1, FAILED, || false), None);
        assert_eq!(window.record(0, 9, FAILED, || false), None);
        assert_eq!(window.counts(1), counts(1, 1));
        window.reset(1);
        assert_eq!(window.counts(1), counts(0, 0));
        assert_eq!(record(window, 1, OK), counts(1, 0));
        // Its generation ends after it has counted the slow call.
        let live = std::cell::Cell::new(true);
        let asked = std::cell::Cell::new(0);
        let seen = window.record(0, 1, Outcome { failed: true, slow: true }, || {
            asked.set(asked.get() + 1);
            if asked.get() == 2 {
                live.set(false);
                window.reset(1);
            }
            live.get()
        });
        assert_eq!((asked.get(), seen), (2, None), "asked before each word");
        assert_eq!(record(window, 1, OK), counts(1, 0));
    }

    /// Runs others at one of the points where a recorder may be interrupted, and returns what it then sees.
    fn interrupted(window: TimeWindow<'_>, tick: u64, at: u32, others: impl Fn()) -> Option<Counts> {
        let asked = std::cell::Cell::new(0);
        window.record(0, tick, FAILED, || {
            asked.set(asked.get() + 1);
            if asked.get() == at {
                others();
            }
            true
        })
    }

    #[test]
    fn of_two_recorders_in_neighbouring_buckets_the_last_sees_both() {
        let words = words(10, false);
        let window = window(&words, 10, false);
        // In between, the other moves on to the next bucket and sees nothing of the first.
        let first = interrupted(window, 0, 1, || assert_eq!(window.record(0, 1, FAILED, || true), Some(counts(1, 1))));
        assert_eq!(first, Some(counts(2, 2)));
    }

    #[test]
    fn a_recorder_that_slept_for_ages_spoils_no_bucket() {
        for at in 1..=5 {
            let words = words(2, false);
            let window = window(&words, 2, false);
            // More laps than half of the numbers they have.
            let end = 2 * 9_000;
            let others = || {
                for tick in 2..=end {
                    window.record(0, tick, OK, || true);
                }
            };
            interrupted(window, 2, at, others);
            for tick in end + 2..end + 10 {
                let before = window.counts(tick).calls;
                assert_eq!(record(window, tick, OK).calls, before + 1, "asked {at}, tick {tick}");
            }
        }
    }

    /// A recorder, and those that run while it is interrupted at one of its points.
    #[derive(Clone, Debug)]
    struct Run {
        tick: u64,
        outcome: Outcome,
        at: u32,
        others: Vec<Run>,
    }

    fn runs() -> impl Strategy<Value = Vec<Run>> {
        let outcome = prop_oneof![3 => Just((false, false)), 2 => Just((true, false)), 1 => Just((false, true))];
        let run = (0..9_u64, outcome, 1..9_u32).prop_map(|(tick, (failed, slow), at)| Run {
            tick,
            outcome: Outcome { failed, slow },
            at,
            others: Vec::new(),
        });
        let nested = run.clone().prop_recursive(3, 12, 4, move |others| {
            (run.clone(), prop::collection::vec(others, 0..4)).prop_map(|(run, others)| Run { others, ..run })
        });
        prop::collection::vec(nested, 1..6)
    }

    /// What the recorders saw, in the order in which they ended.
    fn run_all(window: TimeWindow<'_>, runs: &[Run], seen: &std::cell::RefCell<Vec<Option<Counts>>>) {
        for run in runs {
            let asked = std::cell::Cell::new(0);
            let counts = window.record(0, run.tick, run.outcome, || {
                asked.set(asked.get() + 1);
                if asked.get() == run.at {
                    run_all(window, &run.others, seen);
                }
                true
            });
            seen.borrow_mut().push(counts);
        }
    }

    #[test]
    fn threads_lose_nothing() {
        let words = words(1_000, true);
        let window = window(&words, 1_000, true);
        std::thread::scope(|scope| {
            for worker in 0..4_u64 {
                let window = &window;
                scope.spawn(move || {
                    for call in 0..1_000 {
                        let outcome = Outcome { failed: (call + worker) % 2 == 0, slow: call % 4 == 0 };
                        window.record(0, call / 2, outcome, || true);
                    }
                });
            }
        });
        assert_eq!(window.counts(499), Counts { calls: 4_000, failures: 2_000, slow: 1_000 });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn of_recorders_that_interrupt_each_other_the_last_sees_what_speaks_against(
            buckets in prop::sample::select(vec![1, 2, 3, 10, MAX_BUCKETS]),
            watch_slow: bool,
            runs in runs(),
        ) {
            let words = words(buckets, watch_slow);
            let window = window(&words, buckets, watch_slow);
            let seen = std::cell::RefCell::default();
            run_all(window, &runs, &seen);
            prop_assert_eq!(seen.borrow().last().copied().flatten(), suspicious(window));
        }
    }

    #[test]
    fn rule_5_a_success_sees_its_own_lane_alone_once_that_holds_the_minimum() {
        let words = words(10, false);
        let window = TimeWindow { shape: Shape { minimum_calls: 3, ..shape(10, false) }, ..window(&words, 10, false) };
        window.record(1, 0, FAILED, || true);
        for calls in 2..=4 {
            assert_eq!(window.record(0, 0, OK, || true), Some(counts(calls, 1)));
        }
        assert_eq!(window.record(0, 0, OK, || true), None);
        assert_eq!(window.record(1, 0, OK, || true), Some(counts(6, 1)), "the other lane has few");
        assert_eq!(window.record(0, 0, FAILED, || true), Some(counts(7, 2)), "a failure sees all");
        assert_eq!(window.record(0, 1, OK, || true), Some(counts(8, 2)), "a bucket may have left");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn rule_5_the_outcome_that_reaches_the_rate_sees_it(
            (buckets, minimum_calls, tenths) in (1_u32..5, 1_u64..6, 1_u64..=10),
            outcomes in prop::collection::vec((0..9_u64, 0..2_usize, 0..4_u8), 0..60),
        ) {
            let words = words(buckets, true);
            let shape = Shape { minimum_calls, ..shape(buckets, true) };
            let window = TimeWindow { shape, ..window(&words, buckets, true) };
            let mut tick = 0;
            for (jump, lane, outcome) in outcomes {
                tick += jump.saturating_sub(6);
                let seen = window.record(lane, tick, Outcome { failed: outcome == 0, slow: outcome == 1 }, || true);
                let held = window.counts(tick);
                let reaches = |hits: u64| hits > 0 && hits * 10 >= tenths * held.calls;
                if held.calls >= minimum_calls && (reaches(held.failures) || reaches(held.slow)) {
                    prop_assert_eq!(seen, Some(held));
                    break;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn holds_exactly_the_last_ticks(
            buckets in 1_u32..12,
            watch_slow: bool,
            outcomes in prop::collection::vec((0..30_u64, any::<bool>(), any::<bool>(), 0..40_u8), 0..400),
        ) {
            let words = words(buckets, watch_slow);
            let window = window(&words, buckets, watch_slow);
            let mut model = Vec::new();
            let mut tick = 0;
            for (jump, failed, slow, reset) in outcomes {
                // Mostly within a bucket or to the next; now and then far.
                tick += match jump { 0..15 => 0, 15..22 => 1, far => (far - 21).pow(5) };
                if reset == 0 {
                    window.reset(tick);
                    model.clear();
                }
                let expected = |model: &[(u64, bool, bool)]| {
                    let live = || model.iter().filter(|outcome| outcome.0 + u64::from(buckets) > tick);
                    Counts {
                        calls: live().count() as u64,
                        failures: live().filter(|outcome| outcome.1).count() as u64,
                        slow: live().filter(|outcome| watch_slow && outcome.2).count() as u64,
                    }
                };
                prop_assert_eq!(window.counts(tick), expected(&model));
                model.push((tick, failed, slow));
                let seen = window.record(0, tick, Outcome { failed, slow }, || true);
                prop_assert_eq!(seen, expected(&model).if_suspicious());
                prop_assert_eq!(window.counts(tick), expected(&model));
            }
        }
    }
}
