//! Partitions within a partition: the inner ones tell the outer one when they open.
//!
//! Nothing is counted up and down, so that nothing can go astray when a breaker is reset, forced or forgotten: the outer
//! one looks at the inner ones when one of them opens, but not more often than the share can have been reached.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use super::node::{Cell, Ending, Standing};
use super::policy::Share;
use super::state_machine::{Attempt, Grant, Refusal};
use super::window::Counts;
use crate::breaker::State;
use crate::classify::Health;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// The place of a breaker among others.
#[derive(Debug)]
pub(crate) enum Kin {
    Outer(Family),
    Inner(Membership),
}

/// The inner breakers of an outer one.
#[derive(Debug)]
pub(crate) struct Family {
    /// The number of the cycle, in each of which every inner breaker may fail as a probe once.
    cycle: AtomicU64,
    /// The generation of the outer one in which an inner one whose turn it was found all places taken, if none has got a
    /// place since.
    awaited_in: AtomicU64,
    members: Mutex<Members>,
}

#[derive(Debug)]
struct Members {
    cells: Vec<Weak<Cell>>,
    /// At how many those are let go of that are gone.
    prune_at: usize,
    /// Openings that come too early to be worth a look.
    spare: u64,
    looked_at: u64,
}

/// An inner breaker's tie to its outer one.
#[derive(Debug)]
pub(crate) struct Membership {
    outer: Arc<Cell>,
    /// The generation of the outer one at the last opening: what opened before that one last closed is no news to it.
    opened_in: AtomicU64,
    /// The place of a probe that it took last, if that has failed or has yet to end.
    taken: AtomicU64,
    /// Whether a user has removed it from the registry.
    is_removed: AtomicBool,
}

/// A place of a probe: cycle 12, generation 20, id 32. Cycles go round, which holds back for one turn at most.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Taken(u64);

/// The right to ask for a place of a probe: nobody else has to go first.
struct Turn {
    /// What [`Membership::taken`] was when this was found out, so that only one of several calls at once takes a place.
    before: u64,
    cycle: u64,
}

/// One bad tenant never shuts a host.
const FEWEST_OPEN: u64 = 2;
const NEVER: u64 = u64::MAX;
const FIRST_PRUNE: usize = 16;
/// Inner breakers fall idle with no opening that would tell.
const LOOK_EVERY_MILLIS: u64 = 1_000;
/// Fewer are looked at whenever one of them opens.
const MANY: u64 = 64;
const CYCLE_BITS: u32 = 12;
const CYCLE_SHIFT: u32 = u64::BITS - CYCLE_BITS;
const CYCLE_MASK: u64 = (1 << CYCLE_BITS) - 1;
const NEUTRAL: Ending = Ending::Judged(Health::Neutral, None);

impl Family {
    pub(crate) fn new() -> Self {
        let members = Members { cells: Vec::new(), prune_at: FIRST_PRUNE, spare: 0, looked_at: 0 };
        Self { cycle: AtomicU64::new(0), awaited_in: AtomicU64::new(NEVER), members: Mutex::new(members) }
    }

    pub(crate) fn add(&self, inner: &Arc<Cell>) {
        let mut members = lock(&self.members);
        if members.cells.len() >= members.prune_at {
            members.cells.retain(|cell| cell.strong_count() > 0);
            members.prune_at = (members.cells.len() * 2).max(FIRST_PRUNE);
        }
        members.cells.push(Arc::downgrade(inner));
    }

    /// Inner breakers out of the registry for good that the map has yet to let go of.
    pub(crate) fn retired(&self) -> usize {
        lock(&self.members).cells.iter().filter_map(Weak::upgrade).filter(|cell| cell.is_retired()).count()
    }

    /// An inner breaker has opened, as its word says already. Open ones among those with calls, if that is too many.
    pub(crate) fn opened(&self, share: Share, generation: u32, now: u64) -> Option<Counts> {
        let mut members = lock(&self.members);
        if members.spare > 0 && now < members.looked_at.saturating_add(LOOK_EVERY_MILLIS) {
            members.spare -= 1;
            return None;
        }
        let mut counts = Counts::default();
        for cell in members.cells.iter().filter_map(Weak::upgrade) {
            match cell.standing(generation) {
                Standing::Idle => {}
                Standing::Closed => counts.calls += 1,
                Standing::Open => {
                    counts.calls += 1;
                    counts.failures += 1;
                }
            }
        }
        let enough = counts.calls >= share.minimum.into();
        if enough && counts.failures >= FEWEST_OPEN && counts.failure_rate() >= share.share {
            members.spare = 0;
            // Who failed as a probe in an earlier outage is not held back in this one.
            self.cycle.fetch_add(1, Ordering::Relaxed);
            return Some(counts);
        }
        // Halfway to the share is early enough for the next look; the one that reaches it is always looked at.
        let needed = ((counts.calls as f64 * share.share).floor() as u64).max(FEWEST_OPEN);
        let missing = needed.saturating_sub(counts.failures);
        members.spare = if enough && counts.calls >= MANY { missing.div_ceil(2).saturating_sub(1) } else { 0 };
        members.looked_at = now;
        None
    }

    fn cycle(&self) -> u64 {
        self.cycle.load(Ordering::Relaxed)
    }

    /// Whether somebody waits for a place in this generation of the outer one.
    fn is_awaited_in(&self, generation: u32) -> bool {
        self.awaited_in.load(Ordering::Relaxed) == u64::from(generation)
    }
}

impl Membership {
    pub(crate) fn new(outer: Arc<Cell>) -> Self {
        Self {
            outer,
            opened_in: AtomicU64::new(NEVER),
            taken: AtomicU64::new(NEVER),
            is_removed: AtomicBool::new(false),
        }
    }

    pub(crate) fn outer(&self) -> &Arc<Cell> {
        &self.outer
    }

    /// Written and read under the lock of the registry.
    pub(crate) fn remove(&self) {
        self.is_removed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    /// Before the opening is published.
    pub(crate) fn opens(&self) {
        self.opened_in.store(self.outer.generation().into(), Ordering::Relaxed);
    }

    pub(crate) fn has_opened_in(&self, generation: u32) -> bool {
        self.opened_in.load(Ordering::Relaxed) == u64::from(generation)
    }

    /// Whether the outer breaker would refuse a call now; counts as a refusal.
    pub(crate) fn refusal(&self, attempt: Attempt) -> Option<Refusal> {
        if self.outer.is_open_to_all() {
            return None;
        }
        let family = self.outer.family()?;
        let refusal = match self.outer.refusal_alone(attempt) {
            Some(refusal) => {
                if refusal.state == State::HalfOpen && !self.taken().is_in(family.cycle()) {
                    family.awaited_in.store(self.outer.generation().into(), Ordering::Relaxed);
                }
                refusal
            }
            None if self.outer.refuses(attempt) => self.refuse(self.turn(family).err()?),
            None => return None,
        };
        Some(Refusal { by_outer: true, ..refusal })
    }

    /// The place of a probe of the outer breaker, if the call is one. An error only if it is asked `strictly`, and then
    /// it counts as a refusal.
    pub(crate) fn acquire(&self, attempt: Attempt, strictly: bool) -> Result<Option<Grant>, Refusal> {
        if self.outer.is_open_to_all() {
            return Ok(None);
        }
        let Some(family) = self.outer.family() else { return Ok(None) };
        let strictly = strictly && self.outer.refuses(attempt);
        let refused = |refusal| if strictly { Err(Refusal { by_outer: true, ..refusal }) } else { Ok(None) };
        let turn = match self.turn(family) {
            Ok(turn) => turn,
            Err(_) if !strictly => return Ok(None),
            Err(wait) => return refused(self.refuse(wait)),
        };
        let acquired = if strictly { self.outer.acquire_alone(attempt) } else { self.outer.acquire_if_room(attempt) };
        let (generation, id, grant) = match acquired {
            Ok(grant @ Grant::Probe { generation, id }) => (generation, id, grant),
            Ok(Grant::Counted { .. } | Grant::Uncounted) => return Ok(None),
            Err(refusal) => return refused(refusal),
        };
        let taken = Taken::new(turn.cycle, generation, id);
        if self.taken.compare_exchange(turn.before, taken.0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // Another call of the same inner breaker came at the same time and was faster.
            self.outer.settle(grant, None, NEUTRAL);
            return self.acquire(attempt, strictly);
        }
        family.awaited_in.store(NEVER, Ordering::Relaxed);
        Ok(Some(grant))
    }

    /// A probe of the outer breaker has ended. Whoever has not succeeded lets those go first who have come meanwhile.
    pub(crate) fn ended(&self, probe: Grant, health: Health) {
        let (Grant::Probe { generation, id }, Some(family)) = (probe, self.outer.family()) else { return };
        let goes_on = match health {
            Health::Success => true,
            Health::Neutral => !family.is_awaited_in(generation),
            Health::Failure | Health::Throttled => false,
        };
        let taken = self.taken();
        if goes_on && taken.is_of(generation, id) {
            let _ = self.taken.compare_exchange(taken.0, NEVER, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Who has failed as a probe, or not ended in time, lets the others go first for the time of a lease: a bad tenant that
    /// calls more often than all others would else keep them shut out. In milliseconds, if it is not its turn.
    fn turn(&self, family: &Family) -> Result<Turn, (State, u64)> {
        let (taken, cycle) = (self.taken(), family.cycle());
        let turn = Turn { before: taken.0, cycle };
        if !taken.is_in(cycle) {
            return Ok(turn);
        }
        let Some((state, wait)) = self.outer.turn_ends(|generation| family.is_awaited_in(generation)) else {
            return Ok(turn);
        };
        if wait > 0 {
            return Err((state, wait));
        }
        // Nobody else has come: all may again.
        let next = cycle.wrapping_add(1);
        let _ = family.cycle.compare_exchange(cycle, next, Ordering::Relaxed, Ordering::Relaxed);
        Ok(Turn { cycle: next, ..turn })
    }

    fn refuse(&self, (state, wait): (State, u64)) -> Refusal {
        self.outer.count_refusal();
        Refusal { state, wait: Some(wait), by_outer: true }
    }

    fn taken(&self) -> Taken {
        Taken(self.taken.load(Ordering::Relaxed))
    }
}

impl Taken {
    fn new(cycle: u64, generation: u32, id: u32) -> Self {
        Self((cycle & CYCLE_MASK) << CYCLE_SHIFT | u64::from(generation) << u32::BITS | u64::from(id))
    }

    fn is_in(self, cycle: u64) -> bool {
        self.0 != NEVER && self.0 >> CYCLE_SHIFT == cycle & CYCLE_MASK
    }

    fn is_of(self, generation: u32, id: u32) -> bool {
        self.0 != NEVER && self.0 << CYCLE_BITS == Self::new(0, generation, id).0 << CYCLE_BITS
    }
}

impl Standing {
    pub(crate) fn of_tripped(state: State, is_news: bool) -> Self {
        match state {
            State::Closed => Self::Closed,
            State::Open | State::HalfOpen if is_news => Self::Open,
            State::Open | State::HalfOpen => Self::Closed,
        }
    }
}
