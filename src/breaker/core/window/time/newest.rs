/// The tick of the newest bucket, and the queue: tick 42, newest index 10, oldest index 10, lap 1, unbegun 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) tick: u64,
    pub(super) index: u32,
    pub(super) oldest: u32,
    /// Changes whenever the index begins again at 0, so that a slot of the lap before can be told.
    pub(super) lap: bool,
    /// Whether the newest bucket does not have its beginning yet.
    pub(super) unbegun: bool,
}

pub(crate) const MAX_BUCKETS: u32 = 1 << INDEX;
const INDEX: u32 = 10;
const INDEX_MASK: u32 = (1 << INDEX) - 1;
const UNBEGUN: u64 = 1;
const LAP: u64 = 2;
const TICK_SHIFT: u32 = 2 * INDEX + 2;
/// Ticks end here, 139 years ahead with the shortest buckets; the window then stands still.
pub(super) const TICK_MAX: u64 = u64::MAX >> TICK_SHIFT;
impl Newest {
    #[inline(always)]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self {
            tick: bits >> TICK_SHIFT,
            index: (bits >> (INDEX + 2)) as u32 & INDEX_MASK,
            oldest: (bits >> 2) as u32 & INDEX_MASK,
            lap: bits & LAP != 0,
            unbegun: bits & UNBEGUN != 0,
        }
    }

    #[inline(always)]
    pub(super) fn bits(self) -> u64 {
        let queue = u64::from(self.index) << INDEX | u64::from(self.oldest);
        let flag = |bit, set| if set { bit } else { 0 };
        self.tick << TICK_SHIFT | queue << 2 | flag(LAP, self.lap) | flag(UNBEGUN, self.unbegun)
    }

    /// With a new bucket of this tick; alone if none of the others is left.
    pub(super) fn next(self, tick: u64, oldest: Option<u32>, buckets: u32) -> Self {
        let index = next_index(self.index, buckets);
        Self { tick, index, oldest: oldest.unwrap_or(index), lap: self.lap != (index == 0), unbegun: true }
    }
}

pub(super) fn next_index(index: u32, buckets: u32) -> u32 {
    if index + 1 == buckets { 0 } else { index + 1 }
}
