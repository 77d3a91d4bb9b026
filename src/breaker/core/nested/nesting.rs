//! What the nodes of nested partitions keep of each other. What they ask each other is in [`nested`](super).

use std::sync::Arc;

use super::votes::{Vote, Votes};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

/// The place of a node among others.
#[derive(Debug)]
pub(crate) enum Nesting<N> {
    Outer(Arc<Electorate>),
    Inner(ParentLink<N>),
}

/// What an outer node knows of its inner ones: not which they are.
#[derive(Debug)]
pub(crate) struct Electorate {
    pub(crate) votes: Votes,
    probing: Mutex<Probing>,
}

/// What the probes of one half-open period have shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probing {
    pub(crate) generation: u32,
    /// When the outer node was due to be probed.
    pub(crate) since: u64,
    /// When a partition last came that had not probed before.
    pub(crate) newcomer_at: u64,
    /// When one of them last found no slot.
    pub(crate) crowded_at: u64,
    /// Partitions whose last probe succeeded, and failed.
    pub(crate) good: u64,
    pub(crate) bad: u64,
}

/// An inner node's link to its outer one.
#[derive(Debug)]
pub(crate) struct ParentLink<N> {
    outer: Arc<N>,
    pub(crate) electorate: Arc<Electorate>,
    pub(crate) vote: Vote,
    /// What it has done as a probe of the outer node. Written under the lock of [`Electorate::probing`].
    probe: AtomicU64,
}

/// How far an inner node has come as a probe in one half-open period of the outer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    Never,
    /// It has taken a slot, and may still hold it.
    Unknown,
    Good,
    Bad,
}

impl Electorate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { votes: Votes::new(), probing: Mutex::new(Probing::default()) })
    }

    /// The probes of this generation, which are due since then.
    pub(crate) fn probing(&self, generation: u32, since: u64) -> MutexGuard<'_, Probing> {
        let mut probing = lock(&self.probing);
        // A thread that has stood still may ask with an earlier one.
        if generation.wrapping_sub(probing.generation) as i32 > 0 {
            *probing = Probing { generation, since, ..Probing::default() };
        }
        probing
    }
}

impl<N> ParentLink<N> {
    pub(crate) fn new(outer: Arc<N>, electorate: Arc<Electorate>) -> Self {
        let probe = AtomicU64::new(0);
        Self { outer, electorate, vote: Vote::new(), probe }
    }

    pub(crate) fn outer(&self) -> &Arc<N> {
        &self.outer
    }

    pub(crate) fn probed(&self, generation: u32) -> Probed {
        let bits = self.probe.load(Ordering::Relaxed);
        match bits & 3 {
            _ if bits >> 2 != u64::from(generation) => Probed::Never,
            1 => Probed::Unknown,
            2 => Probed::Good,
            3 => Probed::Bad,
            _ => Probed::Never,
        }
    }

    pub(crate) fn set_probed(&self, generation: u32, probed: Probed) {
        self.probe.store(u64::from(generation) << 2 | probed as u64, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_with_an_earlier_generation_does_not_reset_the_probes_of_a_later_one() {
        // Also when the generation wraps.
        for earlier in [1, u32::MAX - 1, u32::MAX] {
            let later = earlier.wrapping_add(2);
            let electorate = Electorate::new();
            lock(&electorate.probing).generation = earlier;
            let mut probing = electorate.probing(later, 20);
            (probing.newcomer_at, probing.good, probing.bad) = (21, 2, 3);
            drop(probing);
            let Probing { generation, since, newcomer_at, good, bad, .. } = *electorate.probing(earlier, 10);
            assert_eq!((generation, since, newcomer_at, good, bad), (later, 20, 21, 2, 3));
            let next = *electorate.probing(later.wrapping_add(1), 30);
            assert_eq!((next.generation, next.since, next.good, next.bad), (later.wrapping_add(1), 30, 0, 0));
        }
    }
}
