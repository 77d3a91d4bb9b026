//! What the nodes of nested partitions keep of each other. What they ask each other is in [`nested`](super::nested).

use std::sync::{Arc, Weak};

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// The place of a node among others.
#[derive(Debug)]
pub(crate) enum Nesting<N> {
    Outer(Children<N>),
    Inner(ParentLink<N>),
}

/// The inner nodes of an outer one.
#[derive(Debug)]
pub(crate) struct Children<N> {
    /// Number of the cycle. Each child may fail as a probe once a cycle.
    pub(super) cycle: AtomicU64,
    /// The generation of the outer node in which a child found all slots taken, if none has got a slot since.
    pub(super) awaited_in: AtomicU64,
    pub(super) members: Mutex<ChildList<N>>,
}

#[derive(Debug)]
pub(super) struct ChildList<N> {
    pub(super) nodes: Vec<Weak<N>>,
    /// The length at which dropped children are removed.
    prune_at: usize,
    /// Openings to skip before the next check.
    pub(super) spare: u64,
    pub(super) looked_at: u64,
}

/// An inner node's link to its outer one.
#[derive(Debug)]
pub(crate) struct ParentLink<N> {
    outer: Arc<N>,
    /// The outer generation at the last opening of this child. An opening before the outer node last closed no longer
    /// counts.
    opened_in: AtomicU64,
    /// The probe slot that it took last, if that probe has failed or has yet to end.
    pub(super) taken: AtomicU64,
}

/// A probe slot: cycle 12, generation 20 (its lowest bits), id 32. Cycles wrap, which holds a child back for one turn at most.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken(pub(super) u64);

pub(super) const NEVER: u64 = u64::MAX;
const FIRST_PRUNE: usize = 16;
const CYCLE_BITS: u32 = 12;
const CYCLE_SHIFT: u32 = u64::BITS - CYCLE_BITS;
const CYCLE_MASK: u64 = (1 << CYCLE_BITS) - 1;

impl<N> Children<N> {
    pub(crate) fn new() -> Self {
        let members = ChildList { nodes: Vec::new(), prune_at: FIRST_PRUNE, spare: 0, looked_at: 0 };
        Self { cycle: AtomicU64::new(0), awaited_in: AtomicU64::new(NEVER), members: Mutex::new(members) }
    }

    pub(crate) fn add(&self, inner: &Arc<N>) {
        let mut members = lock(&self.members);
        if members.nodes.len() >= members.prune_at {
            members.nodes.retain(|node| node.strong_count() > 0);
            members.prune_at = (members.nodes.len() * 2).max(FIRST_PRUNE);
        }
        members.nodes.push(Arc::downgrade(inner));
    }

    pub(super) fn cycle(&self) -> u64 {
        self.cycle.load(Ordering::Relaxed)
    }

    /// Whether a child waits for a slot in this generation of the outer node.
    pub(super) fn is_awaited_in(&self, generation: u32) -> bool {
        self.awaited_in.load(Ordering::Relaxed) == u64::from(generation)
    }
}

impl<N> ParentLink<N> {
    pub(crate) fn new(outer: Arc<N>) -> Self {
        Self { outer, opened_in: AtomicU64::new(NEVER), taken: AtomicU64::new(NEVER) }
    }

    pub(crate) fn outer(&self) -> &Arc<N> {
        &self.outer
    }

    /// Called before the opening is published.
    pub(crate) fn opens_in(&self, generation: u32) {
        self.opened_in.store(generation.into(), Ordering::Relaxed);
    }

    pub(crate) fn has_opened_in(&self, generation: u32) -> bool {
        self.opened_in.load(Ordering::Relaxed) == u64::from(generation)
    }

    pub(super) fn taken(&self) -> Taken {
        Taken(self.taken.load(Ordering::Relaxed))
    }
}

impl Taken {
    pub(super) fn new(cycle: u64, generation: u32, id: u32) -> Self {
        let generation = u64::from(generation) << u32::BITS & !(CYCLE_MASK << CYCLE_SHIFT);
        Self((cycle & CYCLE_MASK) << CYCLE_SHIFT | generation | u64::from(id))
    }

    pub(super) fn is_in(self, cycle: u64) -> bool {
        self.0 != NEVER && self.0 >> CYCLE_SHIFT == cycle & CYCLE_MASK
    }

    pub(super) fn is_of(self, generation: u32, id: u32) -> bool {
        self.0 != NEVER && self.0 << CYCLE_BITS == Self::new(0, generation, id).0 << CYCLE_BITS
    }
}
