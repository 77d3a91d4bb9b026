use super::carried::Carried;
use super::counts::{Counts, Late, Outcome};
use crate::sync::{AtomicU64, Ordering, seq_cst_in_loom};

/// Exactly the last N outcomes.
///
/// An outcome takes a position from the cursor, swaps what lies there for itself, and adds the difference to the
/// counters; where nothing differs, nothing is written, so that success after success costs one atomic step. If a
/// recorder sleeps between its steps while all others record N outcomes, it replaces a younger one; counters and slots
/// agree all the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountWindow<'a> {
    /// Epoch 16, laps 27, next position 21. From the first lap on the window is full.
    cursor: &'a AtomicU64,
    /// The counters; where the cursor stood, and in which millisecond, when it was first found there; and what is
    /// [carried](Self::carried). One reference to all, because each more costs a recorder an instruction or two.
    head: &'a [AtomicU64; HEAD],
    slots: &'a [AtomicU64],
    calls: u32,
}

/// Epoch 16 in the lowest bits, where carries of the fields above cannot reach, then slow 24 and failures 24. Both are
/// signed: of two recorders at one slot the second may add its difference first.
#[derive(Clone, Copy)]
struct Counters(u64);

pub(super) const MAX_CALLS: u32 = 1 << 20;
const FIELD: u32 = 24;
const EPOCH: u32 = 16;
const EPOCH_MASK: u64 = (1 << EPOCH) - 1;
const POSITION: u32 = 21;
const POSITION_MASK: u64 = (1 << POSITION) - 1;
const LAP: u64 = 1 << POSITION;
const LAPS: u32 = u64::BITS - EPOCH - POSITION;
const LAPS_MASK: u64 = (1 << LAPS) - 1;
/// Outcomes of two bits in a word, above an epoch.
const SLOTS: u32 = (u64::BITS - EPOCH) / 2;
/// Words before the slots, besides the cursor.
const HEAD: usize = 5;
const FAILED: u64 = 0b01;
const SLOW: u64 = 0b10;

impl<'a> CountWindow<'a> {
    /// How many words it needs besides the cursor.
    pub(super) fn words(calls: u32) -> usize {
        HEAD + calls.div_ceil(SLOTS) as usize
    }

    #[inline(always)]
    pub(super) fn new(cursor: &'a AtomicU64, words: &'a [AtomicU64], calls: u32) -> Self {
        let Some((head, slots)) = words.split_first_chunk() else { unreachable!("there are more") };
        Self { cursor, head, slots, calls }
    }

    /// All failures; of the calls those before the last reset.
    pub(super) fn carried(self) -> Carried<'a> {
        let [_, _, _, calls, failures] = self.head;
        Carried { calls, failures }
    }

    /// Adds an outcome and returns the counts only if they include a failed or slow call.
    #[inline(always)]
    pub(super) fn try_record(self, outcome: Outcome, live: impl Fn() -> bool) -> Result<Option<Counts>, Late> {
        let position = self.take_position(&live).ok_or(Late::Unrecorded { slow_counted: false })?;
        if outcome.failed {
            self.carried().add(0, 1);
        }
        self.record_at(position, outcome, live)
    }

    /// Puts an outcome at its position.
    #[inline(always)]
    fn record_at(self, position: u32, outcome: Outcome, live: impl Fn() -> bool) -> Result<Option<Counts>, Late> {
        let difference = self.put(position, outcome, &live).ok_or(Late::At { position })?;
        seq_cst_in_loom();
        if difference == 0 {
            return Ok(self.suspicious());
        }
        let counters = self.add(difference, &live).ok_or(Late::Recorded)?;
        seq_cst_in_loom();
        // What others have filled since only makes the check of the last of them right: each sees its own and all
        // counted before.
        Ok(counters.counts(self.filled()).if_suspicious())
    }

    /// Ends the window, while no call may write to it, and returns what it held, the oldest first. The totals stay.
    pub(super) fn close(self) -> Vec<Outcome> {
        let epoch = self.next_epoch(self.cursor.load(Ordering::Acquire));
        // First, so that each recorder that has taken a position finds it among those that there were.
        let ended = self.cursor.swap(epoch << (LAPS + POSITION), Ordering::AcqRel);
        let [counters, ended_at, ..] = self.head;
        counters.swap(epoch, Ordering::AcqRel);
        let words: Vec<u64> = self.slots().map(|word| word.swap(epoch, Ordering::AcqRel)).collect();
        // No window that stands at another epoch takes it for its own.
        ended_at.store(ended, Ordering::Release);
        self.carried().add(self.since_reset(ended), 0);
        let (calls, filled) = (u64::from(self.calls), self.filled_by(ended));
        let oldest = (ended & POSITION_MASK) + calls - filled;
        (oldest..oldest + filled).map(|place| outcome(&words, (place % calls) as u32)).collect()
    }

    /// How many calls of a window that has been [closed](Self::close) came after the one at this position, and how many
    /// it held. `None` if that is known no longer.
    pub(super) fn later_than(self, position: u32) -> Option<(u64, u64)> {
        let [_, ended_at, ..] = self.head;
        let ended = ended_at.load(Ordering::Acquire);
        let epoch = |cursor: u64| cursor >> (LAPS + POSITION);
        let is_last = self.next_epoch(ended) == epoch(self.cursor.load(Ordering::Acquire));
        let calls = u64::from(self.calls);
        let later = ((ended & POSITION_MASK) + calls - 1 - u64::from(position)) % calls;
        is_last.then(|| (later, self.filled_by(ended)))
    }

    /// Fills a window that is empty, while no call may write to it. The totals stay.
    pub(super) fn fill(self, outcomes: &[Outcome]) {
        let newest = &outcomes[outcomes.len().saturating_sub(self.calls as usize)..];
        for outcome in newest {
            let _ = self.try_record(*outcome, || true);
        }
        // Not what the totals have grown by: a late recorder may count its failure meanwhile.
        let failures = newest.iter().filter(|outcome| outcome.failed).count() as u64;
        self.carried().add((newest.len() as u64).wrapping_neg(), failures.wrapping_neg());
    }

    /// Puts the outcome of a late recorder where it would be, had it been recorded in time before `later` others that
    /// this window was filled with.
    pub(super) fn record_late(
        self,
        later: u64,
        filled: u64,
        outcome: Outcome,
        live: impl Fn() -> bool,
    ) -> Result<Option<Counts>, Late> {
        let kept = filled.min(self.calls.into());
        match kept.checked_sub(later + 1) {
            Some(position) => self.record_at(position as u32, outcome, live),
            None => Ok(self.suspicious()),
        }
    }

    /// The counts of the window, if they include a failed or slow call. The counters are read first, so that a thread
    /// that pauses in between sees too low a rate, not too high a one.
    #[inline(always)]
    fn suspicious(self) -> Option<Counts> {
        let counters = Counters(self.counters().load(Ordering::SeqCst));
        if counters.are_clean() { None } else { counters.counts(self.filled()).if_suspicious() }
    }

    #[inline(always)]
    fn counters(self) -> &'a AtomicU64 {
        &self.head[0]
    }

    pub(super) fn counts(self) -> Counts {
        Counters(self.counters().load(Ordering::SeqCst)).counts(self.filled())
    }

    /// The calls recorded since it was made, and the failures among them.
    pub(super) fn totals(self) -> (u64, u64) {
        // Failures are recorded last and read first: there are no more of them than of calls.
        let (calls, failures) = self.carried().get();
        (calls.wrapping_add(self.since_reset(self.cursor.load(Ordering::Acquire))), failures)
    }

    fn since_reset(self, cursor: u64) -> u64 {
        (cursor >> POSITION & LAPS_MASK) * u64::from(self.calls) + (cursor & POSITION_MASK)
    }

    pub(super) fn reset(self) {
        let epoch = self.next_epoch(self.cursor.load(Ordering::Acquire));
        // Swaps and not stores: loom does not know that a store cannot slip under a swap that read what was before.
        for word in std::iter::once(self.counters()).chain(self.slots()) {
            word.swap(epoch, Ordering::AcqRel);
        }
        let ended = self.cursor.swap(epoch << (LAPS + POSITION), Ordering::AcqRel);
        self.carried().add(self.since_reset(ended), 0);
    }

    pub(super) fn calls(self) -> u32 {
        self.calls
    }

    fn next_epoch(self, cursor: u64) -> u64 {
        (cursor >> (LAPS + POSITION)).wrapping_add(1) & EPOCH_MASK
    }

    fn slots(self) -> impl Iterator<Item = &'a AtomicU64> {
        self.slots.iter().take(self.calls.div_ceil(SLOTS) as usize)
    }

    /// How many milliseconds it is known to have recorded nothing; unknown when it is first asked. The cursor moves
    /// with every outcome. By one at a time.
    pub(super) fn idle_for(self, now: u64) -> Option<u64> {
        let cursor = self.cursor.load(Ordering::Acquire);
        let [_, mark, since, ..] = self.head;
        // Off by one, so that a window that was never asked differs from one that stands at 0.
        if mark.load(Ordering::Relaxed) == cursor.wrapping_add(1) {
            return Some(now.saturating_sub(since.load(Ordering::Relaxed)));
        }
        mark.store(cursor.wrapping_add(1), Ordering::Relaxed);
        since.store(now, Ordering::Relaxed);
        None
    }

    fn filled(self) -> u64 {
        self.filled_by(self.cursor.load(Ordering::SeqCst))
    }

    fn filled_by(self, cursor: u64) -> u64 {
        if cursor >> POSITION & LAPS_MASK == 0 { cursor & POSITION_MASK } else { self.calls.into() }
    }

    #[inline(always)]
    fn take_position(self, live: impl Fn() -> bool) -> Option<u32> {
        let mut cursor = self.cursor.load(Ordering::Acquire);
        loop {
            if !live() {
                return None;
            }
            let position = cursor & POSITION_MASK;
            let next = if position + 1 < self.calls.into() {
                cursor + 1
            } else if cursor >> POSITION & LAPS_MASK < LAPS_MASK {
                cursor - position + LAP
            } else {
                cursor = carry_laps(self.cursor, cursor, self.head, self.calls);
                continue;
            };
            match self.cursor.compare_exchange_weak(cursor, next, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => return Some(position as u32),
                Err(seen) => cursor = seen,
            }
        }
    }

    /// Swaps the outcome in and returns what that changes in the counters.
    #[inline(always)]
    fn put(self, position: u32, outcome: Outcome, live: impl Fn() -> bool) -> Option<u64> {
        let word = &self.slots[(position / SLOTS) as usize];
        let shift = EPOCH + position % SLOTS * 2;
        let new = (u64::from(outcome.failed) * FAILED) | (u64::from(outcome.slow) * SLOW);
        let mut seen = word.load(Ordering::Acquire);
        loop {
            // Also of what differs in nothing: a window that has been closed holds nothing but successes.
            if !live() {
                return None;
            }
            let old = seen >> shift & (FAILED | SLOW);
            if old == new {
                return Some(0);
            }
            let changed = seen & !((FAILED | SLOW) << shift) | new << shift;
            match word.compare_exchange_weak(seen, changed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(Counters::difference(old, new)),
                Err(now) => seen = now,
            }
        }
    }

    fn add(self, difference: u64, live: impl Fn() -> bool) -> Option<Counters> {
        let mut seen = self.counters().load(Ordering::Acquire);
        loop {
            if !live() {
                return None;
            }
            let sum = seen.wrapping_add(difference);
            match self.counters().compare_exchange_weak(seen, sum, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => return Some(Counters(sum)),
                Err(now) => seen = now,
            }
        }
    }
}

/// What these slots hold at a position.
fn outcome(words: &[u64], position: u32) -> Outcome {
    let bits = words[(position / SLOTS) as usize] >> (EPOCH + position % SLOTS * 2);
    Outcome { failed: bits & FAILED != 0, slow: bits & SLOW != 0 }
}

/// Takes all laps but one out of the cursor, so that a full window stays full. Returns the cursor.
#[cold]
#[inline(never)]
fn carry_laps(cursor: &AtomicU64, seen: u64, [.., carried, _]: &[AtomicU64; HEAD], calls: u32) -> u64 {
    const CARRIED: u64 = LAPS_MASK - 1;
    let folded = seen - CARRIED * LAP;
    if let Err(now) = cursor.compare_exchange(seen, folded, Ordering::SeqCst, Ordering::Acquire) {
        return now;
    }
    // Totals that are read before this line miss the calls of these laps.
    carried.fetch_add(CARRIED * u64::from(calls), Ordering::Release);
    folded
}

impl Counters {
    fn difference(old: u64, new: u64) -> u64 {
        let value = |outcome: u64| ((outcome & FAILED) << (EPOCH + FIELD)) + ((outcome & SLOW) >> 1 << EPOCH);
        value(new).wrapping_sub(value(old))
    }

    fn are_clean(self) -> bool {
        self.0 & !EPOCH_MASK == 0
    }

    fn counts(self, filled: u64) -> Counts {
        // The slow calls are the signed value of their field; what they borrowed from the failures is given back.
        let both = self.0 as i64 >> EPOCH;
        let slow = both << (64 - FIELD) >> (64 - FIELD);
        let failures = (both - slow) >> FIELD;
        Counts { calls: filled, failures: failures.max(0) as u64, slow: slow.max(0) as u64 }
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const OK: Outcome = Outcome { failed: false, slow: false };
    const FAILED_CALL: Outcome = Outcome { failed: true, slow: false };

    impl CountWindow<'_> {
        fn record(self, outcome: Outcome, live: impl Fn() -> bool) -> Option<Counts> {
            self.try_record(outcome, live).unwrap_or_default()
        }
    }

    /// Records, and returns the counts of the window in any case.
    fn record(window: CountWindow<'_>, outcome: Outcome) -> Counts {
        let seen = window.record(outcome, || true);
        assert_eq!(seen, window.counts().if_suspicious());
        window.counts()
    }

    fn words(calls: u32) -> Vec<AtomicU64> {
        (0..=CountWindow::words(calls)).map(|_| AtomicU64::new(0)).collect()
    }

    fn window(words: &[AtomicU64], calls: u32) -> CountWindow<'_> {
        CountWindow::new(&words[0], &words[1..], calls)
    }

    #[test]
    fn counters_that_went_below_nothing_come_back() {
        let below = Counters(7).0.wrapping_add(Counters::difference(0b11, 0));
        assert_eq!(below & EPOCH_MASK, 7, "the epoch is out of reach");
        assert_eq!(Counters(below).counts(1), Counts { calls: 1, failures: 0, slow: 0 });
        let again = below.wrapping_add(Counters::difference(0, 0b11)).wrapping_add(Counters::difference(0b00, 0b01));
        assert_eq!(Counters(again).counts(1), Counts { calls: 1, failures: 1, slow: 0 });
    }

    #[test]
    fn laps_go_round_without_emptying_a_full_window() {
        let words = words(2);
        let window = window(&words, 2);
        window.record(FAILED_CALL, || true);
        window.record(FAILED_CALL, || true);
        let last_lap = (7 << LAPS | LAPS_MASK) << POSITION | 1;
        window.cursor.store(last_lap, Ordering::Relaxed);
        let (calls, failures) = window.totals();
        assert_eq!(record(window, OK), Counts { calls: 2, failures: 1, slow: 0 });
        assert_eq!(window.totals(), (calls + 1, failures));
        assert_eq!(window.cursor.load(Ordering::Relaxed) >> (LAPS + POSITION), 7);
    }

    #[test]
    fn after_100_000_successes_n_failures_fill_it() {
        let words = words(100);
        let window = window(&words, 100);
        for _ in 0..100_000 {
            window.record(OK, || true);
        }
        for failures in 1..=100 {
            assert_eq!(window.record(FAILED_CALL, || true), Some(Counts { calls: 100, failures, slow: 0 }));
        }
    }

    #[test]
    fn what_comes_too_late_changes_nothing() {
        let words = words(3);
        let window = window(&words, 3);
        assert_eq!(window.record(FAILED_CALL, || false), None);
        assert_eq!(window.counts(), Counts::default());
        // The generation ends between the cursor and the slot.
        let asked = std::cell::Cell::new(0);
        let first_only = || {
            asked.set(asked.get() + 1);
            asked.get() == 1
        };
        assert_eq!(window.record(FAILED_CALL, first_only), None);
        window.reset();
        assert_eq!(window.counts(), Counts::default());
    }

    #[test]
    fn counters_that_are_clean_for_a_moment_hide_no_failure() {
        let words = words(2);
        let window = window(&words, 2);
        let asked = std::cell::Cell::new(0);
        // Interrupted between the slot and the counters.
        let seen = window.record(FAILED_CALL, || {
            asked.set(asked.get() + 1);
            if asked.get() == 3 {
                window.record(OK, || true);
                // Takes the first failure back before it was counted.
                assert_eq!(window.record(OK, || true), None);
                assert_eq!(window.record(FAILED_CALL, || true), None, "the counters are at nothing");
                assert_eq!(window.counts(), Counts { calls: 2, failures: 0, slow: 0 });
            }
            true
        });
        assert_eq!(seen, Some(Counts { calls: 2, failures: 1, slow: 0 }), "the last to count sees it");
    }

    #[test]
    fn a_success_that_pauses_divides_no_fresh_failures_by_stale_calls() {
        let words = words(10);
        let window = window(&words, 10);
        let position = window.take_position(|| true).unwrap();
        // While it stands still, others record.
        for failures in 1..=4 {
            record(window, OK);
            assert_eq!(record(window, FAILED_CALL), Counts { calls: 2 * failures + 1, failures, slow: 0 });
        }
        assert_eq!(window.put(position, OK, || true), Some(0), "nothing to count");
        assert_eq!(window.suspicious(), Some(Counts { calls: 9, failures: 4, slow: 0 }), "and not four of one");
    }

    #[test]
    fn threads_lose_nothing() {
        let words = words(4_096);
        let window = window(&words, 4_096);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let window = &window;
                scope.spawn(move || {
                    for call in 0..1_000 {
                        window.record(Outcome { failed: (call + worker) % 2 == 0, slow: call % 4 == 0 }, || true);
                    }
                });
            }
        });
        assert_eq!(window.counts(), Counts { calls: 4_000, failures: 2_000, slow: 1_000 });
        assert_eq!(window.totals(), (4_000, 2_000));
    }

    proptest! {
        #[test]
        fn holds_exactly_the_last_n(
            calls in 1_u32..60,
            outcomes in prop::collection::vec((any::<bool>(), any::<bool>(), 0..40_u8), 0..400),
        ) {
            let words = words(calls);
            let window = window(&words, calls);
            let (mut model, mut totals) = (VecDeque::new(), (0, 0));
            for (failed, slow, reset) in outcomes {
                if reset == 0 {
                    window.reset();
                    model.clear();
                }
                model.push_back((failed, slow));
                if model.len() > calls as usize {
                    model.pop_front();
                }
                let expected = Counts {
                    calls: model.len() as u64,
                    failures: model.iter().filter(|outcome| outcome.0).count() as u64,
                    slow: model.iter().filter(|outcome| outcome.1).count() as u64,
                };
                prop_assert_eq!(window.record(Outcome { failed, slow }, || true), expected.if_suspicious());
                prop_assert_eq!(window.counts(), expected);
                totals = (totals.0 + 1, totals.1 + u64::from(failed));
                prop_assert_eq!(window.totals(), totals);
            }
        }
    }
}
