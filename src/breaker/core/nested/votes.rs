//! The votes of inner partitions on their outer one, in a few words that any number of threads change without a lock.
//!
//! Time is cut into buckets. An inner partition has one vote, in the bucket of its last call. A vote that moves to a
//! later bucket, or turns, is taken out of the counts where it was. So the counts are of distinct partitions, and a
//! call costs the same however many there are.
//!
//! How they stay right: the vote itself is one word. A thread that changes it also changes the counts, by the
//! difference. Differences add up in any order; fields are signed in between. A word of the counts carries the bucket
//! that it is for: a late change of a bucket that has been reused changes nothing. It also carries the generation of
//! the outer node, so that votes of an earlier one count no longer, and nothing has to be emptied.

use std::time::Duration;

use crate::breaker::core::state_machine::Due;
use crate::breaker::core::window::Counts;
use crate::clock::Moment;
use crate::sync::{AtomicU64, Ordering, seq_cst_in_loom};

/// How votes are cast and counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VoteConfig {
    /// The share of bad votes that opens the outer breaker.
    pub(crate) share: f64,
    /// The fewest votes that open it.
    pub(crate) minimum: u32,
    /// The fewest failures in the window of an inner partition that make its vote bad.
    pub(crate) failures: u64,
    /// The length of a bucket is this power of two, in nanoseconds.
    pub(crate) bucket_shift: u32,
    /// Buckets that the votes of a window lie in.
    pub(crate) buckets: u64,
    /// Milliseconds for which a probe holds its slot.
    pub(crate) lease: u64,
}

/// The counts of an outer node.
#[derive(Debug)]
pub(crate) struct Votes {
    buckets: [AtomicU64; BUCKETS],
    /// The number of the row, 48 bits, and the partitions that have failed in it.
    row: AtomicU64,
    /// When the row began.
    row_since: AtomicU64,
    /// The tick at which the generation began.
    since: AtomicU64,
}

/// The vote of an inner node.
#[derive(Debug)]
pub(crate) struct Vote {
    /// Generation of the outer node 20, tick 42, bad 1, cast 1.
    word: AtomicU64,
    /// The number of the row in which it last failed.
    row: AtomicU64,
}

/// The votes of one bucket: generation 8, lap 16, votes 20, bad ones 20. The ring of buckets goes round once a lap.
/// Generations and laps wrap: a bucket counts again after exactly 65,536 laps without a call, 52 days by default, or
/// after exactly 256 changes of the outer breaker within its time. One or two laps earlier it looks like one of the
/// future, and takes no vote.
#[derive(Clone, Copy)]
struct Tally(u64);

/// A vote as it was cast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cast {
    generation: u32,
    tick: u64,
    bad: bool,
}

/// So many partitions that fail in a row, without a success of any, open the outer breaker. More than the bad minority
/// of a hundred, however often it calls.
pub(crate) const ROW: u64 = 64;
const BUCKETS: usize = 16;
const FIELD: u32 = 20;
const FIELD_MASK: u64 = (1 << FIELD) - 1;
/// A bucket in which more partitions call counts no further ones.
const FIELD_MAX: i64 = (1 << (FIELD - 1)) - 1;
const LAP: u32 = 16;
const LAP_MASK: u64 = (1 << LAP) - 1;
const GENERATION_MASK: u64 = (1 << 8) - 1;
const TICK: u32 = 42;
/// With the shortest window ticks end after nine years. Then all votes are of one bucket.
const TICK_MAX: u64 = (1 << TICK) - 1;
const ROW_BITS: u32 = 16;
const CAST_GENERATION_MASK: u32 = (1 << 20) - 1;

impl VoteConfig {
    /// Milliseconds after which those may probe that have failed, if no other partition comes.
    pub(crate) fn patience(self, due: Due) -> u64 {
        self.lease.min(due.open_for / 2).max(1)
    }

    pub(crate) fn tick(self, now: Moment) -> u64 {
        (now.nanos() >> self.bucket_shift).min(TICK_MAX)
    }
}

impl Votes {
    pub(crate) fn new() -> Self {
        let [row, row_since, since] = [(); 3].map(|()| AtomicU64::new(0));
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), row, row_since, since }
    }

    /// Begins a generation. Its votes need not be emptied.
    pub(crate) fn begin(&self, tick: u64) {
        self.since.store(tick, Ordering::Relaxed);
        let row = self.row.load(Ordering::Relaxed) >> ROW_BITS;
        self.row.store(row.wrapping_add(1) << ROW_BITS, Ordering::Release);
    }

    /// The votes of this generation in the window that ends at this tick; the bad ones as failures.
    pub(crate) fn counts(&self, config: VoteConfig, generation: u32, tick: u64) -> Counts {
        seq_cst_in_loom();
        let (mut votes, mut bad) = (0, 0);
        for tick in tick.saturating_sub(config.buckets - 1)..=tick {
            let tally = Tally(self.buckets[tick as usize % BUCKETS].load(Ordering::SeqCst));
            if tally.is_for(generation, tick) {
                votes += tally.votes();
                bad += tally.bad();
            }
        }
        let votes = u64::try_from(votes).unwrap_or(0);
        Counts { calls: votes, failures: u64::try_from(bad).unwrap_or(0).min(votes), slow: 0 }
    }

    /// Returns the counts if they open the outer breaker: a row of failures, or a share of bad votes, of which some are
    /// of this bucket. Partitions with many calls vote first, so a share counts only once there was time for the others
    /// to vote. Until then every vote must be bad.
    pub(crate) fn verdict(&self, config: VoteConfig, generation: u32, tick: u64, row: u64) -> Option<Counts> {
        let counts = self.counts(config, generation, tick);
        if row >= ROW {
            return Some(counts);
        }
        let age = tick.saturating_sub(self.since.load(Ordering::Relaxed));
        let share = if age >= config.buckets { config.share } else { 1.0 };
        let tally = Tally(self.buckets[tick as usize % BUCKETS].load(Ordering::SeqCst));
        let fewest = i64::from(config.minimum.min(3));
        let opens = age >= 2
            && counts.calls >= config.minimum.into()
            && counts.failure_rate() >= share
            && tally.is_for(generation, tick)
            && tally.bad() >= fewest;
        opens.then_some(counts)
    }

    /// For how long still only votes that are all bad open the outer breaker.
    pub(crate) fn unanimous_for(&self, config: VoteConfig, now: Moment) -> Duration {
        let buckets = self.since.load(Ordering::Relaxed) + config.buckets;
        Duration::from_nanos(buckets.saturating_mul(1 << config.bucket_shift).saturating_sub(now.nanos()))
    }

    /// Whether the row has lasted a quarter of a bucket.
    pub(crate) fn row_is_long(&self, config: VoteConfig, now: Moment) -> bool {
        now.nanos().saturating_sub(self.row_since.load(Ordering::Relaxed)) >= (1 << config.bucket_shift) / 4
    }

    fn add(&self, cast: Cast, votes: i64, live: impl Fn() -> bool) {
        let bucket = &self.buckets[cast.tick as usize % BUCKETS];
        let mut seen = bucket.load(Ordering::Acquire);
        loop {
            let tally = match Tally(seen) {
                tally if tally.is_for(cast.generation, cast.tick) => tally,
                tally if tally.is_after(cast.generation, cast.tick) => return,
                _ => Tally::empty(cast.generation, cast.tick),
            };
            if !live() || (votes > 0 && tally.votes() >= FIELD_MAX) {
                return;
            }
            let next = tally.plus(votes, if cast.bad { votes } else { 0 });
            match bucket.compare_exchange_weak(seen, next.0, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

impl Vote {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(0), row: AtomicU64::new(u64::MAX) }
    }

    /// Whether it stands, and is bad, in this generation of the outer node.
    pub(crate) fn is_bad(&self, generation: u32) -> bool {
        Cast::from_bits(self.word.load(Ordering::Acquire)).is_some_and(|cast| cast.bad && cast.is_of(generation))
    }

    /// Casts, moves or turns the vote.
    #[inline]
    pub(crate) fn cast(&self, votes: &Votes, generation: u32, tick: u64, bad: bool, live: impl Fn() -> bool) {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let before = Cast::from_bits(seen).filter(|cast| cast.is_of(generation));
            // Threads do not read the clock in the order of their updates: a vote does not move back.
            let cast = Cast {
                generation: generation & CAST_GENERATION_MASK,
                tick: before.map_or(tick, |before| before.tick.max(tick)),
                bad,
            };
            if before == Some(cast) || !live() {
                return;
            }
            match self.word.compare_exchange_weak(seen, cast.bits(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // An older one has left the window, and its bucket is another's.
                    let counted = before.filter(|before| cast.tick - before.tick < BUCKETS as u64);
                    counted.into_iter().for_each(|before| votes.add(before, -1, &live));
                    return votes.add(cast, 1, live);
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Ends the row of failures, of which none is left.
    #[inline]
    pub(crate) fn succeeds(&self, votes: &Votes, live: impl Fn() -> bool) -> u64 {
        let mut seen = votes.row.load(Ordering::Acquire);
        while seen & ((1 << ROW_BITS) - 1) != 0 && live() {
            let next = (seen >> ROW_BITS).wrapping_add(1) << ROW_BITS;
            match votes.row.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        0
    }

    /// Adds a failure to the row, once for each partition, and returns how many have failed in it.
    pub(crate) fn fails(&self, votes: &Votes, now: Moment, live: impl Fn() -> bool) -> u64 {
        let mut seen = votes.row.load(Ordering::Acquire);
        loop {
            let (row, failed) = (seen >> ROW_BITS, seen & ((1 << ROW_BITS) - 1));
            if !live() || failed >= ROW || self.row.swap(row, Ordering::AcqRel) == row {
                return failed;
            }
            match votes.row.compare_exchange(seen, seen + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    if failed == 0 {
                        votes.row_since.store(now.nanos(), Ordering::Relaxed);
                    }
                    return failed + 1;
                }
                Err(changed) => {
                    self.row.store(u64::MAX, Ordering::Release);
                    seen = changed;
                }
            }
        }
    }
}

impl Cast {
    const CAST: u64 = 1;
    const BAD: u64 = 2;

    fn from_bits(bits: u64) -> Option<Self> {
        (bits & Self::CAST != 0).then_some(Self {
            generation: (bits >> (TICK + 2)) as u32,
            tick: bits >> 2 & TICK_MAX,
            bad: bits & Self::BAD != 0,
        })
    }

    fn bits(self) -> u64 {
        let bad = if self.bad { Self::BAD } else { 0 };
        u64::from(self.generation) << (TICK + 2) | self.tick << 2 | bad | Self::CAST
    }

    fn is_of(self, generation: u32) -> bool {
        self.generation == generation & CAST_GENERATION_MASK
    }
}

impl Tally {
    fn empty(generation: u32, tick: u64) -> Self {
        let generation = u64::from(generation) & GENERATION_MASK;
        Self((generation << LAP | lap(tick)) << (2 * FIELD))
    }

    fn plus(self, votes: i64, bad: i64) -> Self {
        let field = |now: i64, more: i64| (now + more) as u64 & FIELD_MASK;
        let head = self.0 >> (2 * FIELD) << (2 * FIELD);
        Self(head | field(self.votes(), votes) << FIELD | field(self.bad(), bad))
    }

    fn votes(self) -> i64 {
        signed(self.0 >> FIELD)
    }

    fn bad(self) -> i64 {
        signed(self.0)
    }

    fn is_for(self, generation: u32, tick: u64) -> bool {
        self.0 >> (2 * FIELD) == Self::empty(generation, tick).0 >> (2 * FIELD)
    }

    /// Whether it has been reused for a later bucket of this generation. Threads are never apart by more than a lap or
    /// two.
    fn is_after(self, generation: u32, tick: u64) -> bool {
        (1..=2).any(|laps| self.is_for(generation, tick + laps * BUCKETS as u64))
    }
}

/// Of the ring, around the end of laps.
fn lap(tick: u64) -> u64 {
    (tick / BUCKETS as u64) & LAP_MASK
}

fn signed(field: u64) -> i64 {
    ((field << (u64::BITS - FIELD)) as i64) >> (u64::BITS - FIELD)
}
