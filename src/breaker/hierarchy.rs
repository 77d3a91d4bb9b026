//! Partitions within a partition: the inner ones tell the outer one when they open.
//!
//! Nothing is counted up and down, so that nothing can go astray when a breaker is reset, forced or forgotten: the outer
//! one looks at the inner ones when one of them opens, but not more often than the share can have been reached.

use std::sync::{Arc, Weak};

use super::cell::{Cell, Standing};
use super::engine::{Attempt, Grant, Refusal};
use super::window::Counts;
use super::{Mode, State};
use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// When an outer breaker opens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) share: f64,
    /// Inner breakers that had calls lately.
    pub(super) minimum: u32,
}

/// The place of a breaker among others.
#[derive(Debug)]
pub(super) enum Kin {
    Outer(Family),
    Inner(Membership),
}

/// The inner breakers of an outer one.
#[derive(Debug)]
pub(super) struct Family {
    /// In which every inner breaker may fail as a probe once.
    cycle: AtomicU64,
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
pub(super) struct Membership {
    outer: Arc<Cell>,
    /// The generation of the outer one at the last opening: what opened before that one last closed is no news to it.
    opened_in: AtomicU64,
    /// The cycle in which it last was a probe that has failed or has yet to end.
    probed_in: AtomicU64,
}

/// One bad tenant never shuts a host.
const FEWEST_OPEN: u64 = 2;
const NEVER: u64 = u64::MAX;
const FIRST_PRUNE: usize = 16;
/// Inner breakers fall idle with no opening that would tell.
const LOOK_EVERY_MILLIS: u64 = 1_000;

impl Family {
    pub(super) fn new() -> Self {
        let members = Members { cells: Vec::new(), prune_at: FIRST_PRUNE, spare: 0, looked_at: 0 };
        Self { cycle: AtomicU64::new(0), members: Mutex::new(members) }
    }

    pub(super) fn add(&self, inner: &Arc<Cell>) {
        let mut members = lock(&self.members);
        if members.cells.len() >= members.prune_at {
            members.cells.retain(|cell| cell.strong_count() > 0);
            members.prune_at = (members.cells.len() * 2).max(FIRST_PRUNE);
        }
        members.cells.push(Arc::downgrade(inner));
    }

    /// Inner breakers out of the registry for good that the map has yet to let go of.
    pub(super) fn retired(&self) -> usize {
        lock(&self.members).cells.iter().filter_map(Weak::upgrade).filter(|cell| cell.is_retired()).count()
    }

    /// An inner breaker has opened, as its word says already. Open ones among those with calls, if that is too many.
    pub(super) fn opened(&self, share: Share, generation: u32, now: u64) -> Option<Counts> {
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
            return Some(counts);
        }
        // Halfway to the share is early enough for the next look; the one that reaches it is always looked at.
        let needed = ((counts.calls as f64 * share.share).floor() as u64).max(FEWEST_OPEN);
        let missing = needed.saturating_sub(counts.failures);
        members.spare = if enough { missing.div_ceil(2).saturating_sub(1) } else { 0 };
        members.looked_at = now;
        None
    }
}

impl Membership {
    pub(super) fn new(outer: Arc<Cell>) -> Self {
        Self { outer, opened_in: AtomicU64::new(NEVER), probed_in: AtomicU64::new(NEVER) }
    }

    pub(super) fn outer(&self) -> &Arc<Cell> {
        &self.outer
    }

    /// Before the opening is published.
    pub(super) fn opens(&self) {
        self.opened_in.store(self.outer.generation().into(), Ordering::Relaxed);
    }

    pub(super) fn has_opened_in(&self, generation: u32) -> bool {
        self.opened_in.load(Ordering::Relaxed) == u64::from(generation)
    }

    /// Whether the outer breaker would refuse a call now; counts as a refusal.
    pub(super) fn refusal(&self, attempt: Attempt) -> Option<Refusal> {
        if self.outer.is_open_to_all() {
            return None;
        }
        let refusal = self.outer.refusal_alone(attempt).or_else(|| self.out_of_turn(attempt))?;
        Some(Refusal { by_outer: true, ..refusal })
    }

    /// The place of a probe of the outer breaker, if the call is one.
    pub(super) fn acquire(&self, attempt: Attempt) -> Result<Option<Grant>, Refusal> {
        if self.outer.is_open_to_all() {
            return Ok(None);
        }
        let grant = self.outer.acquire_alone(attempt).map_err(|refusal| Refusal { by_outer: true, ..refusal })?;
        if !matches!(grant, Grant::Probe { .. }) {
            return Ok(None);
        }
        self.probed_in.store(self.cycle(), Ordering::Relaxed);
        Ok(Some(grant))
    }

    /// A probe of the outer breaker has ended, and did not fail.
    pub(super) fn may_probe_again(&self) {
        self.probed_in.store(NEVER, Ordering::Relaxed);
    }

    /// Who has failed as a probe lets the others go first, for the time of a lease: a bad tenant that calls more often than
    /// all others would else keep them shut out.
    fn out_of_turn(&self, attempt: Attempt) -> Option<Refusal> {
        let cycle = self.cycle();
        let refuses =
            matches!((self.outer.mode(), attempt), (Mode::Automatic, _) | (Mode::RetriesOnly, Attempt::Retry));
        if !refuses || self.probed_in.load(Ordering::Relaxed) != cycle {
            return None;
        }
        let (state, wait) = self.outer.turn_ends()?;
        if wait == 0 {
            // Nobody else has come: all may again.
            if let Some(family) = self.outer.family() {
                let next = cycle.wrapping_add(1);
                let _ = family.cycle.compare_exchange(cycle, next, Ordering::Relaxed, Ordering::Relaxed);
            }
            return None;
        }
        self.outer.count_refusal();
        Some(Refusal { state, wait: Some(wait), by_outer: false })
    }

    fn cycle(&self) -> u64 {
        self.outer.family().map_or(0, |family| family.cycle.load(Ordering::Relaxed))
    }
}

impl Standing {
    pub(super) fn of_tripped(state: State, is_news: bool) -> Self {
        match state {
            State::Closed => Self::Closed,
            State::Open | State::HalfOpen if is_news => Self::Open,
            State::Open | State::HalfOpen => Self::Closed,
        }
    }
}
