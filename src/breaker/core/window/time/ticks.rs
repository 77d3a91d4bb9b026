/// Divides time into ticks of the same length: multiplies by the reciprocal, because a division costs more than all
/// else that a recorder computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks {
    reciprocal: u64,
    shift: u32,
    nanos: u64,
}

/// Time stands still after 292 years.
const NANOS_MAX: u64 = u64::MAX / 2;

impl Ticks {
    /// Ticks of so many nanoseconds, at least two.
    ///
    /// The reciprocal is 2^(63 + bits) / nanos, rounded up, where `bits` is the least with nanos <= 2^bits. Its error
    /// is below nanos / 2^(63 + bits), which adds less than 1 / nanos to a quotient up to [`NANOS_MAX`]: too little to
    /// reach the next integer.
    pub(crate) fn of(nanos: u64) -> Self {
        let bits = u64::BITS - (nanos - 1).leading_zeros();
        Self { reciprocal: (1_u128 << (63 + bits)).div_ceil(nanos.into()) as u64, shift: bits - 1, nanos }
    }

    /// Nanoseconds at which a tick begins.
    pub(crate) fn begin(self, tick: u64) -> u64 {
        tick.saturating_mul(self.nanos)
    }

    /// The number of whole ticks in so many nanoseconds.
    #[inline(always)]
    pub(crate) fn at(self, nanos: u64) -> u64 {
        let product = u128::from(nanos.min(NANOS_MAX)) * u128::from(self.reciprocal);
        (product >> 64) as u64 >> self.shift
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_exact(nanos: u64, tick: u64) {
        assert_eq!(Ticks::of(tick).at(nanos), nanos.min(NANOS_MAX) / tick, "{nanos} in ticks of {tick}");
    }

    #[test]
    fn ticks_are_exact_at_their_edges() {
        let lengths = (1..64).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]);
        for length in lengths.filter(|length| *length >= 2).chain([u64::MAX, 1_000_000, 58_593_750, 6_000_000_000]) {
            for number in [0, 1, 2, 1_000, NANOS_MAX / length] {
                let edge = number.saturating_mul(length);
                for nanos in [edge.saturating_sub(1), edge, edge.saturating_add(1), NANOS_MAX, u64::MAX] {
                    assert_exact(nanos, length);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn ticks_are_exact(nanos: u64, length in 2_u64.., shift in 0..63_u32, nanos_shift in 0..63_u32) {
            assert_exact(nanos >> nanos_shift, (length >> shift).max(2));
        }
    }
}
