//! What the calls of one key share, found by that key: a breaker, or a budget.
//!
//! A call finds its node in a lock-free map. Insertions and removals take a lock; with it goes a **ring** of all nodes.
//! When room is needed, an insertion looks at the next few of the ring and evicts what nothing is lost with, so that no
//! call ever pays for all the others.
//!
//! The ring holds the only strong reference of the registry, and the map a weak one. To find a node is to upgrade it,
//! and to evict one is to take it out of its `Arc`, which succeeds only if no call or user holds it, and after
//! which no upgrade succeeds. A call that came and went just before has left its mark in the node: the node is
//! looked at once more, and put back if anything would be lost.

mod hash;
pub(crate) mod label;
mod overflow;
pub mod partition;
mod ring;
mod slot;

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use papaya::{Equivalent, Guard, HashSet, LocalGuard};

use self::hash::KeyedHash;
use self::overflow::{Overflow, SHARED};
use self::ring::Ring;
pub(crate) use self::slot::Slot;
use self::slot::{AsHashed, ByKey, ByNode};
use crate::clock::{Clock, Moment};
use crate::seed::Seed;

/// The nodes of one layer, at most `max` of them.
pub(crate) struct Registry<K, Node> {
    slots: HashSet<Slot<K, Node>, AsHashed>,
    /// Guards insertions and removals.
    ring: Mutex<Ring<Node>>,
    /// The length of the ring, for readers without the lock. That of the map can be wrong while others change it.
    len: AtomicUsize,
    hash: KeyedHash,
    max: AtomicUsize,
    clock: Clock,
    overflow: Overflow<Node>,
    /// The millisecond before which a full registry is not looked at again.
    next_look: AtomicU64,
}

/// A registry whose lock is held.
pub(crate) struct Locked<'a, K, Node> {
    registry: &'a Registry<K, Node>,
    ring: MutexGuard<'a, Ring<Node>>,
    guard: &'a LocalGuard<'a>,
}

pub(crate) trait Forgettable {
    /// Whether nothing is lost with this node if no call holds it.
    fn is_forgettable(&self, now: Moment) -> bool;

    /// It has been evicted, and nothing finds it any more. Called under the lock of the registry.
    fn forgotten(&self) {}
}

/// The default of `max_partitions`.
pub(crate) const MAX_PARTITIONS: usize = 65_536;
/// The partitions that an insertion looks at when all are in use.
const LOOKS: usize = 8;
/// The partitions that an insertion looks at below that, so that what is no longer in use does not pile up.
const LOOKS_EARLY: usize = 2;
/// Smaller registries are left alone until they are full.
const SMALL: usize = 1_024;
/// How long a flood of new keys neither looks nor takes the lock, once all partitions have been found in use.
const REST_MILLIS: u64 = 1_000;

impl<K, Node> Registry<K, Node> {
    pub(crate) fn new(max: usize, seed: Seed, clock: Clock) -> Self {
        Self {
            slots: HashSet::with_hasher(AsHashed),
            ring: Mutex::default(),
            len: AtomicUsize::new(0),
            hash: KeyedHash::new(seed),
            max: AtomicUsize::new(max),
            clock,
            overflow: Overflow::default(),
            next_look: AtomicU64::new(0),
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Sets how many nodes there may be. Those there are stay, also if they are more.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.next_look.store(0, Ordering::Relaxed);
    }

    /// Calls that shared an overflow node.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflow.calls()
    }

    pub(crate) fn overflow_nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.overflow.nodes()
    }

    /// Returns the node that keys of this hash share when all partitions are in use. `make` gets its number.
    pub(crate) fn overflow_node(&self, hash: u32, make: impl FnOnce(usize) -> Arc<Node>) -> &Arc<Node> {
        let which = self.hash.choose(hash, SHARED);
        self.overflow.node(which, || make(which))
    }

    /// Counts a call that shares an overflow node. Returns the number of such calls if a warning is due.
    pub(crate) fn count_overflow(&self) -> Option<u64> {
        self.overflow.count(self.clock.now().millis())
    }

    /// Returns at most `count` of the nodes of keys with the hashes of those, the nodes at the last places below `end`,
    /// and the place of the first of them. Called again with that place as the end, until it is 0, it returns all nodes
    /// that stay meanwhile: those that are removed have a later one move to their places, which can only be returned
    /// twice.
    pub(crate) fn nodes_below(&self, end: usize, count: usize) -> (usize, Vec<(Arc<Node>, u32)>) {
        let ring = self.ring();
        let end = end.min(ring.len());
        let first = end.saturating_sub(count);
        (first, ring.nodes(first..end).collect())
    }

    pub(crate) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u32 {
        self.hash.of(key).hash
    }

    /// Taken before the lock and released after it, because it drops keys.
    pub(crate) fn guard(&self) -> LocalGuard<'_> {
        self.slots.guard()
    }

    pub(crate) fn lock<'a>(&'a self, guard: &'a LocalGuard<'a>) -> Locked<'a, K, Node> {
        Locked { registry: self, ring: self.ring(), guard }
    }

    fn ring(&self) -> MutexGuard<'_, Ring<Node>> {
        // `Eq` of the keys may panic: a poisoned lock is taken all the same.
        self.ring.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether partitions may have fallen out of use since all of them were last found in use.
    fn is_worth(&self) -> bool {
        self.clock.now().millis() >= self.next_look.load(Ordering::Relaxed)
    }
}

impl<K: Hash + Eq + Clone, Node: Forgettable> Registry<K, Node> {
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Returns the node of this key, if it has one.
    #[inline]
    pub(crate) fn find<Q>(&self, key: &Q) -> Option<Arc<Node>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let key = ByKey { key, hashed: self.hash.of(key) };
        let guard = self.slots.guard();
        let slot = self.slots.get(&key, &guard)?;
        slot.node().upgrade().or_else(|| self.find_decided(&key, &guard))
    }

    /// Returns the node of a key when no eviction is being decided.
    #[cold]
    fn find_decided<Q>(&self, key: &Q, guard: &impl Guard) -> Option<Arc<Node>>
    where
        Q: Hash + Equivalent<Slot<K, Node>>,
    {
        let _ring = self.ring();
        self.slots.get(key, guard)?.node().upgrade()
    }

    /// Makes the slot of a key that has no node yet. Runs code of the key, so it is done before the lock is taken.
    pub(crate) fn slot(&self, key: K) -> Slot<K, Node> {
        Slot::new(key, &self.hash)
    }

    /// Whether a new key may find room. A flood of keys that find none costs little.
    pub(crate) fn may_have_room(&self, guard: &LocalGuard<'_>) -> bool {
        self.len() < self.max() || (self.is_worth() && self.lock(guard).has_room(1))
    }

    /// Removes the node of a key.
    pub(crate) fn remove(&self, key: &K) -> Option<Arc<Node>> {
        self.remove_slot(&ByKey { key, hashed: self.hash.of(key) })
    }

    /// Removes this node, whose key has this hash.
    pub(crate) fn remove_node(&self, hash: u32, node: &Arc<Node>) -> Option<Arc<Node>> {
        self.remove_slot(&ByNode { hash, node: Arc::as_ptr(node) })
    }

    /// All nodes of keys that are kept, which are those that feed up to [`LONGEST`](hash::LONGEST) bytes to their hash.
    pub(crate) fn keyed_nodes(&self) -> Vec<(K, Arc<Node>)> {
        let guard = self.slots.guard();
        let keyed = self.slots.iter(&guard).filter_map(|slot| Some((slot.key()?.clone(), self.node_in(slot, &guard)?)));
        keyed.collect()
    }

    /// All nodes of keys.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        let guard = self.slots.guard();
        self.slots.iter(&guard).filter_map(|slot| self.node_in(slot, &guard)).collect()
    }

    /// Visits all nodes of keys. Takes no lock, and leaves out one whose eviction is being decided.
    pub(crate) fn visit(&self, mut visit: impl FnMut(&Arc<Node>)) {
        let guard = self.slots.guard();
        self.slots.iter(&guard).filter_map(|slot| slot.node().upgrade()).for_each(|node| visit(&node));
    }

    /// Returns some of the nodes, with the hashes of their keys.
    pub(crate) fn nodes_where(&self, is_wanted: impl Fn(&Node) -> bool) -> Vec<(u32, Arc<Node>)> {
        let guard = self.slots.guard();
        // An eviction that is being decided takes a node out of the map, and may put it back.
        let _ring = self.ring();
        let nodes = self.slots.iter(&guard).filter_map(|slot| Some((slot.hash(), slot.node().upgrade()?)));
        nodes.filter(|(_, node)| is_wanted(node)).collect()
    }

    fn node_in(&self, slot: &Slot<K, Node>, guard: &impl Guard) -> Option<Arc<Node>> {
        slot.node().upgrade().or_else(|| self.find_decided(slot, guard))
    }

    fn remove_slot<Q>(&self, query: &Q) -> Option<Arc<Node>>
    where
        Q: Hash + Equivalent<Slot<K, Node>>,
    {
        let guard = self.slots.guard();
        let mut locked = self.lock(&guard);
        let slot = self.slots.get(query, &guard)?;
        locked.forget(&slot.by_node(), slot.place())
    }
}

impl<K: Hash + Eq + Clone, Node: Forgettable> Locked<'_, K, Node> {
    /// Returns the node of a slot that is being inserted, if another call has inserted it.
    pub(crate) fn node_of(&self, slot: &Slot<K, Node>) -> Option<Arc<Node>> {
        self.registry.slots.get(slot, self.guard)?.node().upgrade()
    }

    /// Makes room if it can be had from the next few partitions of the ring.
    pub(crate) fn has_room(&mut self, wanted: usize) -> bool {
        let max = self.registry.max();
        let is_full = |ring: &Ring<Node>| ring.len() + wanted > max;
        let was_full = is_full(&self.ring);
        let looks = match self.ring.len() {
            _ if was_full => LOOKS,
            ..SMALL => 0,
            _ => LOOKS_EARLY,
        };
        let now = self.registry.clock.now();
        for _ in 0..looks.min(self.ring.len()) {
            if was_full && !is_full(&self.ring) {
                break;
            }
            let place = self.ring.next();
            self.evict(place, now);
        }
        if !was_full {
            self.ring.fruitless = 0;
        } else if self.ring.fruitless >= self.ring.len().max(1) {
            self.ring.fruitless = 0;
            self.registry.next_look.store(now.millis().saturating_add(REST_MILLIS), Ordering::Relaxed);
        }
        !is_full(&self.ring)
    }

    pub(crate) fn add(&mut self, slot: Slot<K, Node>, node: Arc<Node>) -> Arc<Node> {
        let hash = slot.hash();
        self.registry.slots.insert(slot.with(&node, self.ring.len()), self.guard);
        self.ring.push(Some(node.clone()), hash);
        self.publish_len();
        node
    }

    /// Evicts the partition at this place of the ring, unless something would be lost.
    fn evict(&mut self, place: usize, now: Moment) {
        self.ring.fruitless += 1;
        let Some((held, hash)) = self.ring.get_mut(place) else { return };
        let is_unused = |node: &mut Arc<Node>| Arc::strong_count(node) == 1 && node.is_forgettable(now);
        let Some(node) = held.take_if(is_unused) else { return };
        let by_node = ByNode { hash, node: Arc::as_ptr(&node) };
        match Arc::try_unwrap(node) {
            // A call has just found it.
            Err(node) => *held = Some(node),
            Ok(node) => {
                self.ring.fruitless = 0;
                let slots = &self.registry.slots;
                let slot = slots.get(&by_node, self.guard);
                slots.remove(&by_node, self.guard);
                match slot {
                    // A call may have come and gone since it was looked at. It keeps its place in the ring, so that
                    // none is missed that goes along it.
                    Some(slot) if !node.is_forgettable(now) => {
                        let node = Arc::new(node);
                        slots.insert(slot.clone().with(&node, place), self.guard);
                        self.ring.put_back(place, node);
                    }
                    _ => {
                        self.take_place(place);
                        node.forgotten();
                    }
                }
            }
        }
    }

    /// Removes a node from map and ring.
    fn forget(&mut self, by_node: &ByNode<Node>, place: usize) -> Option<Arc<Node>> {
        self.registry.slots.remove(by_node, self.guard);
        self.take_place(place)
    }

    /// Takes a place out of the ring.
    fn take_place(&mut self, place: usize) -> Option<Arc<Node>> {
        let node = self.ring.swap_remove(place);
        self.publish_len();
        // Another has moved there.
        if let Some((Some(moved), hash)) = self.ring.get_mut(place) {
            let slot = self.registry.slots.get(&ByNode { hash, node: Arc::as_ptr(moved) }, self.guard);
            slot.into_iter().for_each(|slot| slot.set_place(place));
        }
        node
    }

    fn publish_len(&self) {
        self.registry.len.store(self.ring.len(), Ordering::Relaxed);
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[derive(Debug)]
    struct InUse;

    impl Forgettable for InUse {
        fn is_forgettable(&self, _: Moment) -> bool {
            false
        }
    }

    #[test]
    fn the_nodes_include_those_whose_eviction_is_taken_back() {
        for is_out_of_the_map in [false, true] {
            let registry = Arc::new(Registry::new(10, Seed::default(), Clock::start()));
            let guard = registry.guard();
            registry.lock(&guard).add(registry.slot(7), Arc::new(InUse));
            let slot = registry.slots.iter(&guard).next().unwrap();

            // As far as an eviction comes before it looks at the node once more.
            let mut locked = registry.lock(&guard);
            let place = slot.place();
            let node = locked.ring.get_mut(place).and_then(|(held, _)| held.take()).and_then(Arc::into_inner).unwrap();
            if is_out_of_the_map {
                locked.forget(&slot.by_node(), place);
            }
            let (done, is_done) = mpsc::channel();
            let another = registry.clone();
            std::thread::spawn(move || done.send(another.nodes_where(|_| true).len()));
            // It cannot end while the lock is held, however long that is.
            assert_eq!(is_done.recv_timeout(Duration::from_millis(100)), Err(mpsc::RecvTimeoutError::Timeout));
            if !is_out_of_the_map {
                locked.forget(&slot.by_node(), place);
            }
            locked.add(slot.clone(), Arc::new(node));
            drop(locked);
            assert_eq!(is_done.recv_timeout(LONG), Ok(1));
            assert_eq!((registry.remove(&7).is_some(), registry.len()), (true, 0));
        }
    }

    #[test]
    fn a_visit_waits_for_no_lock() {
        let registry = Arc::new(Registry::new(10, Seed::default(), Clock::start()));
        let guard = registry.guard();
        registry.lock(&guard).add(registry.slot(7), Arc::new(InUse));
        let locked = registry.lock(&guard);
        let (done, is_done) = mpsc::channel();
        let another = registry.clone();
        std::thread::spawn(move || {
            let mut visited = 0;
            another.visit(|_| visited += 1);
            done.send(visited)
        });
        assert_eq!(is_done.recv_timeout(LONG), Ok(1));
        drop(locked);
    }
}
