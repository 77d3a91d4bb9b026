use super::state_machine::Change;
use super::window::Counts;
use crate::breaker::{Cause, Mode, State};

/// Since when a breaker is closed or not, and what opened it, in one word: a rejection and a scrape read it without a
/// lock, and it takes no more room in a breaker than the time alone.
///
/// From the lowest bit: cause 4, counted from 1, or 0 for a closed breaker. If outcomes have opened it: halvings 4, bad
/// calls 16, calls 16, seconds 24. Counts above 65,535 are halved together until they fit. Otherwise: milliseconds 60.
/// Both are times of the layer's clock. The seconds begin anew every 194 days: of a breaker that is open for longer, the
/// rest is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedTrip(u64);

/// A trip and the number of the settings whose limit was reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TripInEra {
    pub(crate) trip: PackedTrip,
    pub(crate) era: u32,
}

/// What opened a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trip {
    pub(crate) cause: Cause,
    pub(crate) calls: u64,
    /// Failed ones among them, or slow ones if the cause is their rate.
    pub(crate) bad: u64,
}

const CAUSE: u32 = 4;
const HALVINGS: u32 = 4;
const COUNT: u32 = 16;
const SECONDS: u32 = 24;
const MILLIS: u32 = u64::BITS - CAUSE;
const BAD_SHIFT: u32 = CAUSE + HALVINGS;
const CALLS_SHIFT: u32 = BAD_SHIFT + COUNT;
const SECONDS_SHIFT: u32 = CALLS_SHIFT + COUNT;

const FORCED: u64 = Cause::ByHand as u64 + 1;

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

impl TripInEra {
    /// The trip of a breaker that nothing has opened.
    pub(crate) const NONE: Self = Self { trip: PackedTrip(0), era: 0 };
}

impl PackedTrip {
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// That of a breaker that no outcome has opened since this moment.
    pub(crate) fn none(is_forced_open: bool, millis: u64) -> Self {
        Self(if is_forced_open { FORCED } else { 0 } | millis.min(mask(MILLIS)) << CAUSE)
    }

    /// What it is after a change: a breaker that opens again keeps what opened it first.
    pub(crate) fn after(self, change: Change, counts: Counts, millis: u64) -> Self {
        match (change.to.0, change.to.1) {
            // The mode alone.
            (State::Closed, _) if !change.empties_window => self,
            (State::Closed, _) | (_, Mode::ForcedOpen) => Self::none(change.to.0 == State::Open, millis),
            (State::Open | State::HalfOpen, _) if change.from.0 != State::Closed => self,
            (State::Open | State::HalfOpen, _) => {
                let bad = if change.cause == Cause::SlowRate { counts.slow } else { counts.failures };
                Self::new(Trip { cause: change.cause, calls: counts.calls, bad }, millis / 1_000)
            }
        }
    }

    fn new(Trip { cause, calls, bad }: Trip, seconds: u64) -> Self {
        let halvings = (u64::BITS - calls.max(bad).leading_zeros()).saturating_sub(COUNT).min(mask(HALVINGS) as u32);
        let count = |count: u64| (count >> halvings).min(mask(COUNT));
        Self(
            (cause as u64 + 1)
                | u64::from(halvings) << CAUSE
                | count(bad) << BAD_SHIFT
                | count(calls) << CALLS_SHIFT
                | (seconds & mask(SECONDS)) << SECONDS_SHIFT,
        )
    }

    /// What opened it, unless it is closed.
    pub(crate) fn get(self) -> Option<Trip> {
        let cause = *Cause::ALL.get((self.field(0, CAUSE) as usize).checked_sub(1)?)?;
        if cause == Cause::ByHand {
            return Some(Trip { cause, calls: 0, bad: 0 });
        }
        let count = |shift| self.field(shift, COUNT) << self.field(CAUSE, HALVINGS);
        Some(Trip { cause, calls: count(CALLS_SHIFT), bad: count(BAD_SHIFT) })
    }

    /// Since when it is closed or not, in milliseconds; in whole seconds if outcomes have opened it.
    pub(crate) fn since(self, now_millis: u64) -> u64 {
        match self.field(0, CAUSE) {
            0 | FORCED => self.field(CAUSE, MILLIS),
            _ => {
                let now = now_millis / 1_000;
                let age = now.wrapping_sub(self.field(SECONDS_SHIFT, SECONDS)) & mask(SECONDS);
                now.saturating_sub(age) * 1_000
            }
        }
    }

    fn field(self, shift: u32, bits: u32) -> u64 {
        self.0 >> shift & mask(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(calls: u64, bad: u64, seconds: u64) -> PackedTrip {
        PackedTrip::new(Trip { cause: Cause::SlowRate, calls, bad }, seconds)
    }

    #[test]
    fn counts_are_exact_up_to_65535_calls_and_keep_their_ratio_above() {
        for (calls, bad) in [(0, 0), (10, 9), (65_535, 65_534)] {
            assert_eq!(packed(calls, bad, 7).get(), Some(Trip { cause: Cause::SlowRate, calls, bad }));
        }
        let Some(Trip { calls, bad, .. }) = packed(33_000_000, 22_000_000, 7).get() else { panic!("is one") };
        assert!(calls.abs_diff(33_000_000) <= 1_024 && bad.abs_diff(22_000_000) <= 1_024, "{bad} of {calls}");
        assert_eq!(packed(u64::MAX, 1, 7).get().map(|trip| trip.bad), Some(0));
    }

    #[test]
    fn the_time_of_an_opening_is_known_however_long_the_process_runs() {
        const YEAR: u64 = 365 * 24 * 3_600;
        for seconds in [0, 7, mask(SECONDS), YEAR, 100 * YEAR] {
            for open_for in [0, 90, mask(SECONDS)] {
                assert_eq!(packed(10, 9, seconds).since((seconds + open_for) * 1_000 + 999), seconds * 1_000);
            }
        }
    }

    #[test]
    fn each_cause_is_kept_and_a_closed_breaker_has_none() {
        for cause in Cause::ALL.into_iter().filter(|cause| *cause != Cause::ByHand) {
            let (trip, since) = (Trip { cause, calls: 2, bad: 1 }, 77);
            assert_eq!(PackedTrip::new(trip, since).get(), Some(trip));
            assert_eq!(PackedTrip::new(trip, since).since(99_999), 77_000);
        }
        let (closed, forced) = (PackedTrip::none(false, 1_234), PackedTrip::none(true, 1_234));
        assert_eq!((closed.get(), closed.since(9_999)), (None, 1_234));
        assert_eq!((forced.get().map(|trip| trip.cause), forced.since(9_999)), (Some(Cause::ByHand), 1_234));
        assert_eq!(PackedTrip::from_bits(forced.bits()), forced);
    }
}
