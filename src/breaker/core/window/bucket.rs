/// The outcomes of one tick, and in which lap it was begun. Lap 10, calls 27, failures 27.
#[derive(Clone, Copy)]
pub(super) struct Bucket(pub(super) u64);

pub(super) const LAP: u32 = 10;
pub(super) const LAP_MASK: u32 = (1 << LAP) - 1;
const COUNT: u32 = 27;
const COUNT_MAX: u64 = (1 << COUNT) - 1;

impl Bucket {
    pub(super) fn empty(lap: u32) -> Self {
        Self(u64::from(lap & LAP_MASK) << (2 * COUNT))
    }

    pub(super) fn lap(self) -> u32 {
        (self.0 >> (2 * COUNT)) as u32
    }

    pub(super) fn calls(self) -> u64 {
        self.0 >> COUNT & COUNT_MAX
    }

    pub(super) fn hits(self) -> u64 {
        self.0 & COUNT_MAX
    }

    /// Whether the bucket still holds a lap before this one. Live laps are neighbours, so the shorter way round tells.
    pub(super) fn is_before(self, lap: u32) -> bool {
        let ahead = self.lap().wrapping_sub(lap) & LAP_MASK;
        ahead > LAP_MASK / 2
    }

    /// One call more. When 134 million calls are full, calls and hits are halved: the rate stays as it is.
    pub(super) fn plus(self, hit: bool) -> Self {
        let (mut calls, mut hits) = (self.calls(), self.hits());
        if calls == COUNT_MAX {
            (calls, hits) = (calls / 2, hits / 2);
        }
        Self(Self::empty(self.lap()).0 | (calls + 1) << COUNT | (hits + u64::from(hit)))
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_keeps_its_rate() {
        let full = Bucket(Bucket::empty(5).0 | COUNT_MAX << COUNT | (COUNT_MAX / 4));
        let more = full.plus(true);
        assert_eq!((more.lap(), more.calls(), more.hits()), (5, COUNT_MAX / 2 + 1, COUNT_MAX / 8 + 1));
    }
}
