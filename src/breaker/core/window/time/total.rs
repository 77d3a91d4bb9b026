/// How many calls were counted since the window was made, and how many of them were hits: failures, or slow calls.
/// Calls 32, hits 32; both go round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Total(pub(super) u64);

/// The total at which a bucket began, of which tick the bucket is, and in which lap its slot was written: tick 10, lap
/// 1, calls 27, hits 26. The tick is that of the newest bucket less its age, modulo 1,024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin(pub(super) u64);

const CALLS: u32 = 27;
const HITS: u32 = 26;
const TICK: u32 = 10;
const CALLS_MASK: u64 = (1 << CALLS) - 1;
const HITS_MASK: u64 = (1 << HITS) - 1;
const TICK_MASK: u64 = (1 << TICK) - 1;
const COUNTS_MASK: u64 = (1 << (CALLS + HITS)) - 1;
const LAP: u64 = 1 << (CALLS + HITS);

impl Total {
    /// After so many, calls and hits begin again at 0.
    pub(super) const ROUND: u64 = 1 << 32;

    /// One call more.
    #[inline(always)]
    pub(super) fn plus(self, hit: bool) -> Self {
        let hits = (self.0 as u32).wrapping_add(u32::from(hit));
        Self(self.0.wrapping_add(1 << 32) >> 32 << 32 | u64::from(hits))
    }

    /// So many more.
    pub(super) fn plus_all(self, calls: u64, hits: u64) -> Self {
        let hits = (self.0 as u32).wrapping_add(hits as u32);
        Self((self.calls().wrapping_add(calls)) << 32 | u64::from(hits))
    }

    /// The calls that have just gone round with this one.
    pub(super) fn lost(self) -> u64 {
        if self.calls() == 0 { Self::ROUND } else { 0 }
    }

    pub(super) fn calls(self) -> u64 {
        self.0 >> 32
    }

    pub(super) fn hits(self) -> u64 {
        u64::from(self.0 as u32)
    }

    /// Calls and hits since this beginning, which must not be later.
    #[inline(always)]
    pub(super) fn since(self, begin: Begin) -> (u64, u64) {
        let calls = self.calls().wrapping_sub(begin.calls()) & CALLS_MASK;
        (calls, self.hits().wrapping_sub(begin.0) & HITS_MASK)
    }
}

impl Begin {
    pub(super) fn new(tick: u64, lap: bool, total: Total) -> Self {
        Self::at(tick << (CALLS + HITS + 1) | if lap { LAP } else { 0 }, total.calls(), total.hits())
    }

    fn at(tick_and_lap: u64, calls: u64, hits: u64) -> Self {
        Self(tick_and_lap | (calls & CALLS_MASK) << HITS | hits & HITS_MASK)
    }

    pub(super) fn lap(self) -> bool {
        self.0 & LAP != 0
    }

    /// How many ticks it lies before this one, of which it is at most 1,023.
    pub(super) fn age(self, tick: u64) -> u64 {
        tick.wrapping_sub(self.0 >> (CALLS + HITS + 1)) & TICK_MASK
    }

    /// So much later that half of the calls and hits are left; the rate stays as it is.
    pub(super) fn halved(self, total: Total) -> Self {
        let (calls, hits) = total.since(self);
        let (calls, hits) = (self.calls() + calls.div_ceil(2), (self.0 & HITS_MASK) + hits.div_ceil(2));
        Self::at(self.0 & !COUNTS_MASK, calls, hits)
    }

    fn calls(self) -> u64 {
        self.0 >> HITS & CALLS_MASK
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use super::*;

    #[test]
    fn counts_go_round() {
        for total in [Total(0), Total(u64::MAX), Total(u64::from(u32::MAX)), Total(COUNTS_MASK), Total(LAP - 1)] {
            let begin = Begin::new(u64::MAX, true, total);
            assert_eq!(total.since(begin), (0, 0));
            assert_eq!(total.plus(true).plus(false).since(begin), (2, 1));
            assert_eq!((begin.lap(), begin.age(2)), (true, 3));
        }
    }

    #[test]
    fn half_of_the_calls_keep_their_rate() {
        let mut total = Total(u64::MAX - 5);
        let begin = Begin::new(7, false, total);
        for call in 0..1_000 {
            total = total.plus(call % 4 == 0);
        }
        let halved = begin.halved(total);
        assert_eq!(total.since(halved), (500, 125));
        assert_eq!((halved.lap(), halved.age(8)), (false, 1));
    }
}
