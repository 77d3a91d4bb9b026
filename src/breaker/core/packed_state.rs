use crate::breaker::{Mode, State};

/// The state of a node that admission needs, in one load: phase, mode, generation and deadline.
///
/// From the lowest bit: phase 2, mode 3, nested 1, generation 32, windows 10, era 16. The nested bit marks inner and outer
/// nodes, so that other nodes do not pay for nesting. The era is the number of the settings, 0 for those that the node
/// was made with, so that other nodes do not pay for a reconfiguration; `windows` counts how often it has replaced the
/// window, modulo 1,024. An open breaker has no permits out, so its packed state holds only 20 bits of
/// the generation, to tell openings apart, and then 38 bits of the deadline: the millisecond at which it is due to be
/// probed. One more than 8 years ahead is known to the engine only.
///
/// A permit could be taken for a new one only if exactly 2^32 changes of state, or a multiple, happened within its
/// call. A breaker that flaps all the time with an open time of 30 seconds takes 1,300 years for that, one with an open
/// time of a millisecond 16 days. A user that resets a breaker a million times a second takes 71 minutes; a call that
/// outlives this and ends at a random moment counts in a wrong window with odds of 1 in 4 billion.
///
/// `windows` wraps sooner, because it spans no call, only the few instructions that record its end. If a thread stands
/// still among these while the window is replaced exactly 1,024 times, or a multiple, in one generation, it finishes in
/// the window of before. Unless that is the current one again, the rates miss its outcome. A program that replaces the
/// window once a second takes 17 minutes for that, and one that does nothing else half a millisecond; a thread that
/// stands still for longer and goes on at a random moment meets it with odds of 1 in 1,024.
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

/// The largest number of an era.
pub(crate) const ERA_MAX: u32 = (1 << 16) - 1;
const CLOSED: u64 = 0b00;
const UNDECIDED: u64 = 0b01;
const OPEN: u64 = 0b10;
const HALF_OPEN: u64 = 0b11;
const PHASE_MASK: u64 = 0b11;
const MODE_SHIFT: u32 = 2;
const MODE_MASK: u64 = 0b111;
const NESTED: u64 = 1 << 5;
const GENERATION_SHIFT: u32 = 6;
const GENERATION_MASK: u64 = u32::MAX as u64;
const WINDOWS_SHIFT: u32 = 38;
const WINDOWS_MASK: u64 = (1 << 10) - 1;
const ERA_SHIFT: u32 = 48;
const OPEN_GENERATION_MASK: u64 = (1 << (UNTIL_SHIFT - GENERATION_SHIFT)) - 1;
const UNTIL_SHIFT: u32 = 26;
const UNTIL_MAX: u64 = u64::MAX >> UNTIL_SHIFT;

impl PackedState {
    pub(crate) fn new(state: State, mode: Mode, generation: u32, until: u64) -> Self {
        let generation = u64::from(generation);
        let state = match state {
            State::Closed => CLOSED | generation << GENERATION_SHIFT,
            State::HalfOpen => HALF_OPEN | generation << GENERATION_SHIFT,
            State::Open => {
                OPEN | (generation & OPEN_GENERATION_MASK) << GENERATION_SHIFT | until.min(UNTIL_MAX) << UNTIL_SHIFT
            }
        };
        let mode = match mode {
            Mode::Automatic => 0,
            Mode::ForcedOpen => 1,
            Mode::Disabled => 2,
            Mode::ObserveOnly => 3,
            Mode::RejectRetriesOnly => 4,
        };
        Self(state | mode << MODE_SHIFT)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// The packed state between two closed generations, while the window is emptied: calls wait for the engine.
    pub(crate) fn between(self) -> Self {
        Self(self.0 & !PHASE_MASK | UNDECIDED)
    }

    /// The packed state once it is decided: a generation with an empty window is closed, or open if it is forced open.
    pub(crate) fn kept(self) -> Self {
        if self.phase() != Phase::Undecided {
            return self;
        }
        let phase = if self.mode() == Mode::ForcedOpen { OPEN } else { CLOSED };
        Self(self.0 & !PHASE_MASK | phase)
    }

    pub(crate) fn with_nested(self, nesting: bool) -> Self {
        if nesting { Self(self.0 | NESTED) } else { self }
    }

    /// With the number of its settings, and of its windows before. An open breaker counts no call, and shows none.
    pub(crate) fn with_era(self, era: u32, windows: u32) -> Self {
        let windows = (u64::from(windows) & WINDOWS_MASK) << WINDOWS_SHIFT;
        if self.is_open() { self } else { Self(self.0 | u64::from(era) << ERA_SHIFT | windows) }
    }

    /// The number of its settings, of a breaker that is not open.
    #[inline(always)]
    pub(crate) fn era(self) -> u32 {
        (self.0 >> ERA_SHIFT) as u32
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
            CLOSED => Phase::Live(State::Closed),
            OPEN => Phase::Live(State::Open),
            HALF_OPEN => Phase::Live(State::HalfOpen),
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

    /// The generation, or its lowest 20 bits if the breaker is open.
    pub(crate) fn generation(self) -> u32 {
        let mask = if self.is_open() { OPEN_GENERATION_MASK } else { GENERATION_MASK };
        (self.0 >> GENERATION_SHIFT & mask) as u32
    }

    /// Whether calls that were admitted in this generation of a closed breaker are counted.
    #[inline(always)]
    pub(crate) fn counts(self, generation: u32) -> bool {
        self.0 & (GENERATION_MASK << GENERATION_SHIFT | PHASE_MASK) == u64::from(generation) << GENERATION_SHIFT
    }

    /// Whether the calls of a closed breaker still count as before, in the same window.
    #[inline(always)]
    pub(crate) fn counts_as(self, before: Self) -> bool {
        const SAME: u64 = WINDOWS_MASK << WINDOWS_SHIFT | GENERATION_MASK << GENERATION_SHIFT | PHASE_MASK;
        (self.0 ^ before.0) & SAME == 0
    }

    /// Whether calls that were admitted in this generation, as probes or counted, still are. An open breaker has none.
    pub(crate) fn upholds(self, generation: u32) -> bool {
        !self.is_open() && self.generation() == generation
    }

    /// The millisecond at which an open breaker is due, unless it is too far ahead to fit.
    pub(crate) fn until(self) -> Option<u64> {
        let until = if self.is_open() { self.0 >> UNTIL_SHIFT } else { 0 };
        (until < UNTIL_MAX).then_some(until)
    }

    fn is_open(self) -> bool {
        self.0 & PHASE_MASK == OPEN
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
                for generation in [0, 1, 1 << 20, u32::MAX] {
                    for until in [0, 1, UNTIL_MAX - 1] {
                        let packed = PackedState::new(state, mode, generation, until);
                        assert_eq!((packed.phase(), packed.mode()), (Phase::Live(state), mode));
                        let (until, generation) = match state {
                            State::Open => (until, generation & OPEN_GENERATION_MASK as u32),
                            State::Closed | State::HalfOpen => (0, generation),
                        };
                        assert_eq!((packed.generation(), packed.until()), (generation, Some(until)));
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
    fn the_era_disturbs_neither_generation_nor_deadline() {
        for state in [State::Closed, State::HalfOpen, State::Open] {
            let packed = PackedState::new(state, Mode::ObserveOnly, u32::MAX, 7);
            let later = packed.with_era(ERA_MAX, u32::MAX);
            assert_eq!((later.generation(), later.until()), (packed.generation(), packed.until()));
            assert_eq!((later.phase(), later.mode()), (packed.phase(), packed.mode()));
            if state != State::Open {
                assert_eq!((packed.era(), later.era(), later.between().era()), (0, ERA_MAX, ERA_MAX));
                assert!(later.counts_as(packed.with_era(0, u32::MAX)) && !later.counts_as(packed.with_era(0, 7)));
                let [first, last, wrapped] = [0, 1_023, 1_024].map(|windows| packed.with_era(1, windows));
                assert!(wrapped.counts_as(first) && !last.counts_as(first));
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

    #[test]
    fn rule_2_a_call_counts_in_its_own_generation_of_a_closed_breaker() {
        let generations = (0..32).map(|bit| 1 << bit).chain([0, u32::MAX]);
        for (one, other) in generations.clone().flat_map(|one| generations.clone().map(move |other| (one, other))) {
            let closed = PackedState::new(State::Closed, Mode::Automatic, one, 0);
            assert_eq!(closed.counts(other), one == other, "{one} {other}");
            for state in [State::Open, State::HalfOpen] {
                let until = u64::from(other >> 20);
                assert!(!PackedState::new(state, Mode::Automatic, one, until).counts(other), "{state} {one} {other}");
            }
        }
    }
}
