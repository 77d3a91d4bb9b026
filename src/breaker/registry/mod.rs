//! The breakers of one layer, found by their keys.
//!
//! A call finds its breaker in a lock-free map. Insertions and removals take a lock; with it goes a **ring** of all
//! breakers. When room is needed, an insertion looks at the next few of the ring and evicts what nothing is lost with, so
//! that no call ever pays for all the others.
//!
//! The ring holds the only strong reference of the registry, and the map a weak one. To find a breaker is to upgrade it,
//! and to evict one is to take it out of its `Arc`, which succeeds only if no call, permit or user holds it, and after
//! which no upgrade succeeds. A call that came and went just before has left its outcome in the breaker: the breaker is
//! looked at once more, and put back if anything would be lost.

mod hash;
pub(super) mod label;
mod overflow;
pub mod partition;
mod ring;
mod slot;

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use papaya::{Equivalent, Guard, HashSet};

use self::hash::KeyedHash;
use self::label::Labels;
use self::overflow::{Overflow, SHARED};
use self::ring::Ring;
use self::slot::{AsHashed, ByKey, ByNode, Slot};
use crate::breaker::config::Config;
use crate::breaker::core::node::node_ref::Lanes;
use crate::breaker::core::node::{Node, Shared};
use crate::breaker::core::observer::Observer;
use crate::breaker::partition::{Finder, Keyed, Place};
use crate::clock::{Clock, Moment};

/// The breakers of one layer, at most `max_partitions` of them.
pub(crate) struct Registry<K> {
    slots: HashSet<Slot<K>, AsHashed>,
    /// Guards insertions and removals.
    ring: Mutex<Ring>,
    hash: KeyedHash,
    shared: Arc<Shared>,
    /// What outer nodes share.
    outer: Arc<Shared>,
    place: fn(&K) -> Place<K>,
    labels: Labels,
    default: OnceLock<Lanes>,
    overflow: Overflow,
    /// The millisecond before which a full registry is not looked at again.
    next_look: AtomicU64,
}

/// Finds the node for a call: that of its key, or an overflow node if there is no room.
pub(crate) struct ForCall<'a, P: Keyed> {
    pub(crate) registry: &'a Registry<P::Key>,
    pub(crate) partition: &'a P,
}

/// A key with all that foreign code has to do for it.
struct Newcomer<K> {
    slot: Slot<K>,
    label: Box<str>,
}

/// The partitions that an insertion looks at when all are in use.
const LOOKS: usize = 8;
/// The partitions that an insertion looks at below that, so that what is no longer in use does not pile up.
const LOOKS_EARLY: usize = 2;
/// Smaller registries are left alone until they are full.
const SMALL: usize = 1_024;
/// How long a flood of new keys neither looks nor takes the lock, once all partitions have been found in use.
const REST_MILLIS: u64 = 1_000;

impl<K> Registry<K> {
    pub(crate) fn new(
        config: &Config,
        is_partitioned: bool,
        place: fn(&K) -> Place<K>,
        observer: Arc<dyn Observer<Node>>,
    ) -> Self {
        let policy = config.policy();
        let labels = Labels::new(policy.redact_labels, config.seed().split("labels"));
        let clock = Clock::start();
        let shared = |policy| Shared::new(policy, is_partitioned, clock.clone(), observer.clone());
        Self {
            slots: HashSet::with_hasher(AsHashed),
            ring: Mutex::default(),
            hash: KeyedHash::new(config.seed().split("keys")),
            shared: shared(policy),
            outer: shared(config.outer_policy()),
            place,
            labels,
            default: OnceLock::new(),
            overflow: Overflow::default(),
            next_look: AtomicU64::new(0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.shared.policy.name
    }

    /// The node of requests without a key.
    pub(crate) fn default_node(&self) -> &Arc<Node> {
        self.default_lanes().node()
    }

    #[inline]
    pub(crate) fn default_lanes(&self) -> &Lanes {
        self.default.get_or_init(|| Lanes::new(self.new_node(label::DEFAULT.into())))
    }

    pub(crate) fn overflowed(&self) -> u64 {
        self.overflow.calls()
    }

    fn new_node(&self, label: Box<str>) -> Arc<Node> {
        Arc::new(Node::new(self.shared.clone(), label))
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone + Debug> Registry<K> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
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
        Q: Hash + Equivalent<Slot<K>>,
    {
        let _ring = self.ring();
        self.slots.get(key, guard)?.node().upgrade()
    }

    /// The node that this key shares with others when all partitions are in use.
    pub(crate) fn overflow_node<Q: Hash + ?Sized>(&self, key: &Q) -> Arc<Node> {
        self.overflow_of(self.hash.of(key).hash)
    }

    fn overflow_of(&self, hash: u32) -> Arc<Node> {
        self.overflow.node(self.hash.choose(hash, SHARED), |label| self.new_node(label)).clone()
    }

    /// Returns the node of this key, and makes it if there is room, else the hash of the key.
    #[cold]
    pub(crate) fn insert(&self, key: K, keep: impl FnOnce(K) -> K) -> Result<Arc<Node>, u32> {
        // Dropped after the lock is released, because it drops keys.
        let guard = self.slots.guard();
        // A flood of keys that find no room costs little.
        if self.len() >= self.max() && !(self.is_worth() && self.has_room(1, &mut self.ring(), &guard)) {
            // Another call may have inserted it since this one looked.
            return self.find(&key).ok_or_else(|| self.hash.of(&key).hash);
        }
        // Code of the key that may call back into the registry: `Hash`, `Debug` and `Clone` run before the lock is taken,
        // and `Drop` after it is released. Only `Eq` runs under the lock, and `Clone` when an eviction is taken back. They
        // may panic, but must not call back.
        let key = keep(key);
        let place = (self.place)(&key);
        let is_outer = matches!(place, Place::Outer);
        let mut outer = match place {
            Place::NestedIn(outer) => Some(self.newcomer(outer)),
            Place::Alone | Place::Outer => None,
        };
        let newcomer = self.newcomer(key);

        let mut ring = self.ring();
        if let Some(node) = self.node_of(&newcomer.slot, &guard) {
            return Ok(node);
        }
        // A reference is held, so that it is not evicted.
        let found = outer.as_ref().and_then(|outer| self.node_of(&outer.slot, &guard));
        // Room for both, or for neither.
        let is_new = outer.is_some() && found.is_none();
        let wanted = if is_new { 2 } else { 1 };
        if !self.has_room(wanted, &mut ring, &guard) {
            return Err(newcomer.slot.hash());
        }
        let new_outer = |label| Arc::new(Node::new_outer(self.outer.clone(), label));
        let outer = match (found, outer.take_if(|_| is_new)) {
            (None, Some(Newcomer { slot, label })) => Some(self.add(slot, new_outer(label), &mut ring, &guard)),
            (found, _) => found,
        };
        let Newcomer { slot, label } = newcomer;
        let node = match outer {
            Some(outer) => Arc::new(Node::nested_in(outer, self.shared.clone(), label)),
            None if is_outer => new_outer(label),
            None => self.new_node(label),
        };
        Ok(self.add(slot, node, &mut ring, &guard))
    }

    /// Removes the node of a key and all nodes inside it, and returns them.
    pub(crate) fn remove(&self, key: &K) -> Vec<Arc<Node>> {
        let guard = self.slots.guard();
        let key = ByKey { key, hashed: self.hash.of(key) };
        let Some(node) = self.remove_slot(&key, &guard) else { return Vec::new() };
        let mut removed = vec![node.clone()];
        if node.is_outer() {
            // None is added from here on: a newcomer finds its outer node under the lock. None is evicted either, because
            // a reference is held.
            let inner = self.inner_of(&node);
            let by_node = |(hash, node): &(u32, Arc<Node>)| ByNode { hash: *hash, node: Arc::as_ptr(node) };
            removed.extend(inner.iter().filter_map(|inner| self.remove_slot(&by_node(inner), &guard)));
        }
        removed
    }

    /// Returns the nodes inside this one, with the hashes of their keys.
    fn inner_of(&self, outer: &Arc<Node>) -> Vec<(u32, Arc<Node>)> {
        let guard = self.slots.guard();
        // An eviction that is being decided takes a node out of the map, and may put it back.
        let _ring = self.ring();
        let nodes = self.slots.iter(&guard).filter_map(|slot| Some((slot.hash(), slot.node().upgrade()?)));
        nodes.filter(|(_, node)| node.outer().is_some_and(|of| Arc::ptr_eq(of, outer))).collect()
    }

    /// All breakers of keys that are kept, which are those that feed up to [`LONGEST`](hash::LONGEST) bytes to their hash.
    pub(crate) fn keyed_nodes(&self) -> Vec<(K, Arc<Node>)> {
        let guard = self.slots.guard();
        let keyed = self.slots.iter(&guard).filter_map(|slot| Some((slot.key()?.clone(), self.node_in(slot, &guard)?)));
        keyed.collect()
    }

    /// All breakers in use.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        let guard = self.slots.guard();
        let keyed = self.slots.iter(&guard).filter_map(|slot| self.node_in(slot, &guard));
        let default = self.default.get().map(Lanes::node).cloned();
        default.into_iter().chain(keyed).chain(self.overflow.nodes().cloned()).collect()
    }

    fn max(&self) -> usize {
        self.shared.policy.max_partitions
    }

    fn newcomer(&self, key: K) -> Newcomer<K> {
        Newcomer { label: self.labels.of(&key), slot: Slot::new(key, &self.hash) }
    }

    fn node_in(&self, slot: &Slot<K>, guard: &impl Guard) -> Option<Arc<Node>> {
        slot.node().upgrade().or_else(|| self.find_decided(slot, guard))
    }

    /// Whether partitions may have fallen out of use since all of them were last found in use.
    fn is_worth(&self) -> bool {
        self.shared.clock.now().millis() >= self.next_look.load(Ordering::Relaxed)
    }

    /// Makes room if it can be had from the next few partitions of the ring.
    fn has_room(&self, wanted: usize, ring: &mut Ring, guard: &impl Guard) -> bool {
        let is_full = |ring: &Ring| ring.len() + wanted > self.max();
        let was_full = is_full(ring);
        let looks = match ring.len() {
            _ if was_full => LOOKS,
            ..SMALL => 0,
            _ => LOOKS_EARLY,
        };
        let now = self.shared.clock.now();
        for _ in 0..looks.min(ring.len()) {
            if was_full && !is_full(ring) {
                break;
            }
            let place = ring.next();
            self.evict(place, now, ring, guard);
        }
        if !was_full {
            ring.fruitless = 0;
        } else if ring.fruitless >= ring.len() {
            ring.fruitless = 0;
            self.next_look.store(now.millis().saturating_add(REST_MILLIS), Ordering::Relaxed);
        }
        !is_full(ring)
    }

    /// Evicts the partition at this place of the ring, unless something would be lost.
    fn evict(&self, place: usize, now: Moment, ring: &mut Ring, guard: &impl Guard) {
        ring.fruitless += 1;
        let Some((held, hash)) = ring.get_mut(place) else { return };
        let is_unused = |node: &mut Arc<Node>| Arc::strong_count(node) == 1 && node.is_unused(now);
        let Some(node) = held.take_if(is_unused) else { return };
        let by_node = ByNode { hash, node: Arc::as_ptr(&node) };
        match Arc::try_unwrap(node) {
            // A call has just found it.
            Err(node) => *held = Some(node),
            Ok(node) => {
                ring.fruitless = 0;
                let slot = self.slots.get(&by_node, guard);
                self.forget(&by_node, place, ring, guard);
                // A call may have come and gone since it was looked at.
                if let (false, Some(slot)) = (node.is_unused(now), slot) {
                    self.add(slot.clone(), Arc::new(node), ring, guard);
                }
            }
        }
    }

    fn remove_slot<Q>(&self, query: &Q, guard: &impl Guard) -> Option<Arc<Node>>
    where
        Q: Hash + Equivalent<Slot<K>>,
    {
        // `Eq` of the keys may panic: a poisoned lock is taken all the same.
        let mut ring = self.ring();
        let slot = self.slots.get(query, guard)?;
        self.forget(&slot.by_node(), slot.place(), &mut ring, guard)
    }

    fn add(&self, slot: Slot<K>, node: Arc<Node>, ring: &mut Ring, guard: &impl Guard) -> Arc<Node> {
        let hash = slot.hash();
        self.slots.insert(slot.with(&node, ring.len()), guard);
        ring.push(Some(node.clone()), hash);
        node
    }

    /// Removes a node from map and ring.
    fn forget(&self, by_node: &ByNode, place: usize, ring: &mut Ring, guard: &impl Guard) -> Option<Arc<Node>> {
        self.slots.remove(by_node, guard);
        let node = ring.swap_remove(place);
        // Another has moved there.
        if let Some((Some(moved), hash)) = ring.get_mut(place) {
            let slot = self.slots.get(&ByNode { hash, node: Arc::as_ptr(moved) }, guard);
            slot.into_iter().for_each(|slot| slot.set_place(place));
        }
        node
    }

    #[cold]
    fn overflow(&self, hash: u32) -> Arc<Node> {
        let node = self.overflow_of(hash);
        if let Some(calls) = self.overflow.count(self.shared.clock.now().millis()) {
            self.shared.observer.overflowed(&node, self.max(), calls);
        }
        node
    }

    /// Returns the node of a slot that is being inserted, if another has inserted it. Asked under the lock.
    fn node_of(&self, slot: &Slot<K>, guard: &impl Guard) -> Option<Arc<Node>> {
        self.slots.get(slot, guard)?.node().upgrade()
    }
}

impl<P: Keyed> Finder<P::Key> for ForCall<'_, P> {
    type Found = Arc<Node>;

    #[inline]
    fn find<Q>(&self, query: &Q) -> Option<Arc<Node>>
    where
        Q: Hash + Equivalent<P::Key> + ?Sized,
    {
        self.registry.find(query)
    }

    #[cold]
    fn insert(&self, key: impl FnOnce() -> P::Key) -> Arc<Node> {
        let Self { registry, partition } = self;
        registry.insert(key(), |key| partition.keep(key)).unwrap_or_else(|hash| registry.overflow(hash))
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::breaker::Mode;
    use crate::breaker::config::Config;
    use crate::breaker::control::events::Subscribers;
    use crate::breaker::core::state_machine::Attempt;
    use crate::invalid_setting::valid;
    use http::HeaderValue;

    const LONG: Duration = Duration::from_secs(60);

    fn registry(max_partitions: usize, mode: Mode) -> Registry<HeaderValue> {
        let mut config = Config::default();
        valid(config.set_max_partitions(max_partitions));
        config.set_mode(mode);
        Registry::new(&config, true, |_| Place::Alone, Arc::new(Subscribers::default()))
    }

    #[test]
    fn two_that_find_no_breaker_make_one() {
        let registry = registry(10, Mode::Automatic);
        let key = HeaderValue::from_static("tenant-7");
        // Both have looked before either inserts.
        let nodes = [(); 2].map(|()| registry.insert(key.clone(), |key| key).map(|node| Arc::as_ptr(&node)));
        assert!(nodes[0].is_ok() && nodes[0] == nodes[1]);
    }

    #[test]
    fn rule_8_a_closed_breaker_that_counts_takes_no_lock() {
        for mode in [Mode::Automatic, Mode::ObserveOnly, Mode::RejectRetriesOnly] {
            let registry = Arc::new(registry(1, mode));
            let (done, is_done) = mpsc::channel();
            let node = registry.default_node().clone();
            std::thread::spawn(move || {
                // While another thread holds the lock.
                node.while_locked(|| {
                    if let Ok(admission) = node.admit(Attempt::First) {
                        node.settle_admission(admission, None, (&crate::classify::Verdict::transient()).into());
                    }
                });
                done.send(node.snapshot().failures)
            });
            assert_eq!(is_done.recv_timeout(LONG), Ok(1), "{mode}");
        }
    }

    #[test]
    fn the_nodes_inside_another_include_those_whose_eviction_is_taken_back() {
        type Key = (u64, Option<u64>);
        let place = |key: &Key| if key.1.is_some() { Place::NestedIn((key.0, None)) } else { Place::Outer };
        for is_out_of_the_map in [false, true] {
            let registry = Arc::new(Registry::new(&Config::default(), true, place, Arc::new(Subscribers::default())));
            assert!(registry.insert((1, Some(7)), |key| key).is_ok());
            let outer = registry.find(&(1, None)).unwrap();
            let guard = registry.slots.guard();
            let slot = registry.slots.iter(&guard).find(|slot| slot.key() == Some(&(1, Some(7)))).unwrap();

            // As far as an eviction comes before it looks at the node once more.
            let mut ring = registry.ring();
            let place = slot.place();
            let node = ring.get_mut(place).and_then(|(held, _)| held.take()).and_then(Arc::into_inner).unwrap();
            let forget = |ring: &mut Ring| registry.forget(&slot.by_node(), place, ring, &guard);
            if is_out_of_the_map {
                forget(&mut ring);
            }
            let (done, is_done) = mpsc::channel();
            let another = registry.clone();
            std::thread::spawn(move || done.send(another.inner_of(&outer).len()));
            // It cannot end while the lock is held, however long that is.
            assert_eq!(is_done.recv_timeout(Duration::from_millis(100)), Err(mpsc::RecvTimeoutError::Timeout));
            if !is_out_of_the_map {
                forget(&mut ring);
            }
            registry.add(slot.clone(), Arc::new(node), &mut ring, &guard);
            drop(ring);
            assert_eq!(is_done.recv_timeout(LONG), Ok(1));
            assert_eq!((registry.remove(&(1, None)).len(), registry.len()), (2, 0));
        }
    }

    #[test]
    fn an_insert_at_the_cap_finds_what_another_call_has_inserted() {
        let registry = registry(1, Mode::Automatic);
        let key = HeaderValue::from_static("tenant-7");
        let held = registry.insert(key.clone(), |key| key).ok();
        let found = registry.insert(key.clone(), |key| key).ok();
        assert!(held.is_some() && held.as_ref().map(Arc::as_ptr) == found.as_ref().map(Arc::as_ptr));
    }
}
