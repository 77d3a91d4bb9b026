//! A decision in three words and 16 bits.

use std::time::Duration;

use super::decision::{BY_OUTER, CAUSES, Decision, HEALTHS, KINDS_OF_COUNT, MODES, STATES};
use super::ring::Packed;
use crate::clock::nanos;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Nanoseconds since the clock of the layer started.
    pub(super) at: u64,
    /// The digest of the label.
    pub(super) partition: u64,
    pub(super) decision: Decision,
}

/// Values of small sets in one number: the last one put in is the first one taken out.
#[derive(Clone, Copy, Debug, Default)]
struct Digits(u16);

/// The third word: microseconds that a call took, above the milliseconds of its retry hint plus one.
const HINT_BITS: u32 = 24;
const MAX_HINT: u64 = (1 << HINT_BITS) - 1;
const MAX_TOOK: u64 = (1 << (64 - HINT_BITS)) - 1;

const ENDED: u16 = 0;
const REJECTED: u16 = 1;
const CHANGED: u16 = 2;
const KINDS: [u16; 3] = [ENDED, REJECTED, CHANGED];

impl Entry {
    pub(super) fn pack(self) -> Packed {
        let Self { at, partition, decision } = self;
        let (times, digits) = match decision {
            Decision::Ended { health, took, retry_after, counted_as } => {
                let took = (nanos(took) / 1_000).min(MAX_TOOK);
                let hint = retry_after.map_or(0, |hint| (nanos(hint) / 1_000_000).saturating_add(1).min(MAX_HINT));
                let digits = Digits::default().put(&KINDS_OF_COUNT, counted_as).put(&HEALTHS, health);
                (took << HINT_BITS | hint, digits.put(&KINDS, ENDED))
            }
            Decision::Rejected { state, by_outer } => {
                (0, Digits::default().put(&BY_OUTER, by_outer).put(&STATES, state).put(&KINDS, REJECTED))
            }
            Decision::Changed { from, to, mode, cause } => {
                let digits = Digits::default().put(&CAUSES, cause).put(&MODES, mode);
                (0, digits.put(&STATES, to).put(&STATES, from).put(&KINDS, CHANGED))
            }
        };
        ([at, partition, times], digits.0)
    }

    pub(super) fn unpack(([at, partition, times], bits): Packed) -> Self {
        let mut digits = Digits(bits);
        let decision = match digits.take(&KINDS) {
            ENDED => Decision::Ended {
                health: digits.take(&HEALTHS),
                took: Duration::from_micros(times >> HINT_BITS),
                retry_after: (times & MAX_HINT).checked_sub(1).map(Duration::from_millis),
                counted_as: digits.take(&KINDS_OF_COUNT),
            },
            REJECTED => Decision::Rejected { state: digits.take(&STATES), by_outer: digits.take(&BY_OUTER) },
            _ => Decision::Changed {
                from: digits.take(&STATES),
                to: digits.take(&STATES),
                mode: digits.take(&MODES),
                cause: digits.take(&CAUSES),
            },
        };
        Self { at, partition, decision }
    }
}

impl Digits {
    fn put<T: PartialEq, const N: usize>(self, values: &[T; N], value: T) -> Self {
        let place = values.iter().position(|known| *known == value).unwrap_or_default();
        Self(self.0 * N as u16 + place as u16)
    }

    fn take<T: Copy, const N: usize>(&mut self, values: &[T; N]) -> T {
        let place = usize::from(self.0) % N;
        self.0 /= N as u16;
        values[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::flight_recorder::decision::CountedAs;
    use crate::classify::Health;

    fn read_back(decision: Decision) -> Decision {
        let entry = Entry { at: u64::MAX, partition: 1 << 63, decision };
        let read = Entry::unpack(entry.pack());
        assert_eq!((read.at, read.partition), (entry.at, entry.partition));
        read.decision
    }

    #[test]
    fn every_decision_is_read_back() {
        let took = Duration::from_micros(1_234_567);
        for health in HEALTHS {
            for counted_as in KINDS_OF_COUNT {
                for retry_after in [None, Some(Duration::ZERO), Some(Duration::from_secs(30))] {
                    let ended = Decision::Ended { health, took, retry_after, counted_as };
                    assert_eq!(read_back(ended), ended);
                }
            }
        }
        for state in STATES {
            for by_outer in BY_OUTER {
                let rejected = Decision::Rejected { state, by_outer };
                assert_eq!(read_back(rejected), rejected);
            }
            for (to, mode) in STATES.iter().flat_map(|to| MODES.map(|mode| (*to, mode))) {
                for cause in CAUSES {
                    let changed = Decision::Changed { from: state, to, mode, cause };
                    assert_eq!(read_back(changed), changed);
                }
            }
        }
    }

    #[test]
    fn long_times_are_cut_and_never_wrap() {
        let ended = |took, hint| Decision::Ended {
            health: Health::Failure,
            took,
            retry_after: Some(hint),
            counted_as: CountedAs::Probe,
        };
        let longest = (Duration::from_micros(MAX_TOOK), Duration::from_millis(MAX_HINT - 1));
        assert_eq!(read_back(ended(Duration::MAX, Duration::MAX)), ended(longest.0, longest.1));
    }
}
