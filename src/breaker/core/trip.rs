use super::state_machine::Change;
use super::window::Counts;
use crate::breaker::{Cause, Mode, State};

/// Since when a breaker is not closed, and what opened it, in one word: a rejection reads it without a lock, and it
/// takes no more room in a breaker.
///
/// From the lowest bit: cause 4, counted from 1, halvings 4, bad calls 16, calls 16, seconds 24. Counts above 65,535
/// are halved together until they fit. The seconds are those of the layer's clock, up to 194 days. 0 while closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackedTrip(u64);

/// The same, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trip {
    pub(crate) cause: Cause,
    pub(crate) calls: u64,
    /// Failed or slow ones among them, whatever the cause is about.
    pub(crate) bad: u64,
    /// Seconds since the clock started.
    pub(crate) since: u64,
}

const CAUSE: u32 = 4;
const HALVINGS: u32 = 4;
const COUNT: u32 = 16;
const SINCE: u32 = 24;
const HALVINGS_SHIFT: u32 = CAUSE;
const BAD_SHIFT: u32 = HALVINGS_SHIFT + HALVINGS;
const CALLS_SHIFT: u32 = BAD_SHIFT + COUNT;
const SINCE_SHIFT: u32 = CALLS_SHIFT + COUNT;

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

impl PackedTrip {
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// What it is after a change: a breaker that opens again keeps what opened it first.
    pub(crate) fn after(self, change: Change, counts: Counts, now_millis: u64) -> Self {
        match change.to.0 {
            State::Closed => Self::default(),
            State::Open | State::HalfOpen if change.from.0 != State::Closed && change.to.1 != Mode::ForcedOpen => self,
            State::Open | State::HalfOpen => {
                let bad = if change.cause == Cause::SlowRate { counts.slow } else { counts.failures };
                Self::new(Trip { cause: change.cause, calls: counts.calls, bad, since: now_millis / 1_000 })
            }
        }
    }

    fn new(Trip { cause, calls, bad, since }: Trip) -> Self {
        let halvings = (u64::BITS - calls.max(bad).leading_zeros()).saturating_sub(COUNT).min(mask(HALVINGS) as u32);
        let count = |count: u64| (count >> halvings).min(mask(COUNT));
        Self(
            (cause as u64 + 1)
                | u64::from(halvings) << HALVINGS_SHIFT
                | count(bad) << BAD_SHIFT
                | count(calls) << CALLS_SHIFT
                | since.min(mask(SINCE)) << SINCE_SHIFT,
        )
    }

    pub(crate) fn get(self) -> Option<Trip> {
        let field = |shift: u32, bits: u32| self.0 >> shift & mask(bits);
        let cause = *Cause::ALL.get((field(0, CAUSE) as usize).checked_sub(1)?)?;
        let halvings = field(HALVINGS_SHIFT, HALVINGS);
        let count = |shift| field(shift, COUNT) << halvings;
        Some(Trip { cause, calls: count(CALLS_SHIFT), bad: count(BAD_SHIFT), since: field(SINCE_SHIFT, SINCE) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(calls: u64, bad: u64, since: u64) -> Option<Trip> {
        PackedTrip::new(Trip { cause: Cause::SlowRate, calls, bad, since }).get()
    }

    #[test]
    fn counts_are_exact_up_to_65535_calls_and_keep_their_ratio_above() {
        for (calls, bad) in [(0, 0), (10, 9), (65_535, 65_534)] {
            assert_eq!(packed(calls, bad, 7), Some(Trip { cause: Cause::SlowRate, calls, bad, since: 7 }));
        }
        let Some(Trip { calls, bad, .. }) = packed(33_000_000, 22_000_000, 7) else { panic!("is one") };
        assert!(calls.abs_diff(33_000_000) <= 1_024 && bad.abs_diff(22_000_000) <= 1_024, "{bad} of {calls}");
        assert_eq!(packed(u64::MAX, 1, u64::MAX).map(|trip| (trip.bad, trip.since)), Some((0, mask(SINCE))));
    }

    #[test]
    fn each_cause_is_kept_and_zero_is_none() {
        for cause in Cause::ALL {
            let trip = Trip { cause, calls: 2, bad: 1, since: 0 };
            assert_eq!(PackedTrip::new(trip).get(), Some(trip));
        }
        assert_eq!(PackedTrip::default().get(), None);
    }
}
