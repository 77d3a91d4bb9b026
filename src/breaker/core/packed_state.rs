use crate::breaker::{Mode, State};

/// The state of a node that admission needs, in one load: phase, mode, generation and deadline.
///
/// From the lowest bit: phase 2, mode 3, generation 20, nested 1, deadline 38. The nested bit marks inner and outer
/// nodes, so that other nodes do not pay for nesting. The deadline is the millisecond at which an open breaker is due
/// to be probed; one more than 8 years ahead is known to the engine only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedState(u64);

/// What the packed state says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In this state.
    Live(State),
    /// Between two closed generations: the engine knows, once its lock is free.
    Undecided,
}

const MODE_SHIFT: u32 = 2;
const GENERATION_SHIFT: u32 = 5;
const NESTED: u64 = 1 << 25;
const UNTIL_SHIFT: u32 = 26;
const PHASE_MASK: u64 = 0b11;
const UNDECIDED: u64 = 0b11;
const MODE_MASK: u64 = 0b111;
/// Generations wrap after a million transitions: a permit older than that could be taken for a new one.
pub(crate) const GENERATION_MASK: u32 = (1 << 20) - 1;
const UNTIL_MAX: u64 = u64::MAX >> UNTIL_SHIFT;

impl PackedState {
    pub(crate) fn new(state: State, mode: Mode, generation: u32, until: u64) -> Self {
        let state = match state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        };
        let mode = match mode {
            Mode::Automatic => 0,
            Mode::ForcedOpen => 1,
            Mode::Disabled => 2,
            Mode::ObserveOnly => 3,
            Mode::RejectRetriesOnly => 4,
        };
        let generation = u64::from(generation & GENERATION_MASK);
        Self(state | mode << MODE_SHIFT | generation << GENERATION_SHIFT | until.min(UNTIL_MAX) << UNTIL_SHIFT)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// The packed state between two closed generations, while the window is emptied: calls wait for the engine.
    pub(crate) fn between(self) -> Self {
        Self(self.0 | UNDECIDED)
    }

    /// The packed state once it is decided: a generation with an empty window is closed, or open if it is forced open.
    pub(crate) fn kept(self) -> Self {
        if self.phase() != Phase::Undecided {
            return self;
        }
        let state = if self.mode() == Mode::ForcedOpen { State::Open } else { State::Closed };
        Self::new(state, self.mode(), self.generation(), 0).with_nested(self.is_nested())
    }

    pub(crate) fn with_nested(self, nesting: bool) -> Self {
        if nesting { Self(self.0 | NESTED) } else { self }
    }

    pub(crate) fn is_nested(self) -> bool {
        self.0 & NESTED != 0
    }

    /// Closed, automatic and not nested: the common case.
    pub(crate) fn is_plainly_closed(self) -> bool {
        self.0 & (PHASE_MASK | MODE_MASK << MODE_SHIFT | NESTED) == 0
    }

    /// Closed and automatic, nested or not.
    pub(crate) fn is_closed_itself(self) -> bool {
        self.0 & (PHASE_MASK | MODE_MASK << MODE_SHIFT) == 0
    }

    pub(crate) fn phase(self) -> Phase {
        match self.0 & PHASE_MASK {
            0 => Phase::Live(State::Closed),
            1 => Phase::Live(State::Open),
            2 => Phase::Live(State::HalfOpen),
            _ => Phase::Undecided,
        }
    }

    pub(crate) fn mode(self) -> Mode {
        match self.0 >> MODE_SHIFT & MODE_MASK {
            1 => Mode::ForcedOpen,
            2 => Mode::Disabled,
            3 => Mode::ObserveOnly,
            4 => Mode::RejectRetriesOnly,
            _ => Mode::Automatic,
        }
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32 & GENERATION_MASK
    }

    /// The millisecond at which an open breaker is due, unless it is too far ahead to fit.
    pub(crate) fn until(self) -> Option<u64> {
        let until = self.0 >> UNTIL_SHIFT;
        (until < UNTIL_MAX).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_went_in() {
        let modes = [Mode::Automatic, Mode::ForcedOpen, Mode::Disabled, Mode::ObserveOnly, Mode::RejectRetriesOnly];
        for state in [State::Closed, State::Open, State::HalfOpen] {
            for mode in modes {
                for generation in [0, 1, GENERATION_MASK] {
                    for until in [0, 1, UNTIL_MAX - 1] {
                        let packed = PackedState::new(state, mode, generation, until);
                        assert_eq!(
                            (packed.phase(), packed.mode(), packed.generation(), packed.until()),
                            (Phase::Live(state), mode, generation, Some(until))
                        );
                        let plain = (state, mode) == (State::Closed, Mode::Automatic);
                        assert_eq!(packed.is_plainly_closed(), plain);
                        let as_new = (state == State::Open) == (mode == Mode::ForcedOpen) && state != State::HalfOpen;
                        assert!(!as_new || until > 0 || packed.between().kept() == packed);
                        assert!(!packed.between().is_closed_itself());
                    }
                }
            }
        }
    }

    #[test]
    fn a_deadline_too_far_ahead_is_not_packed() {
        for until in [UNTIL_MAX, UNTIL_MAX + 1, UNTIL_MAX + 8, u64::MAX] {
            let packed = PackedState::new(State::Open, Mode::Automatic, 7, until);
            assert_eq!((packed.until(), packed.generation()), (None, 7), "{until}");
        }
    }
}
