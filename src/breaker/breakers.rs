//! The breakers of one layer, found by their keys, with the outer ones that [`Place`] asks for.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use papaya::Equivalent;

use super::config::Config;
use super::core::node::node_ref::Lanes;
use super::core::node::{Node, Shared};
use super::core::observer::Observer;
use super::flight_recorder::{FlightRecorder, Recording};
use crate::clock::{Clock, Moment};
use crate::registry::label::{self, Labels};
use crate::registry::partition::{Finder, Keyed, Place};
use crate::registry::{Forgettable, Registry, Slot};
use crate::settings::changes::{Changes, ensure_room};
use crate::settings::invalid_setting::InvalidSetting;
use crate::sync::{Mutex, lock};

pub(crate) struct Breakers<K> {
    nodes: Registry<K, Node>,
    /// What new nodes begin with. Locked for a moment only, so that an insertion can do it.
    current: Mutex<Settings>,
    /// All settings that there have been. Locked while they change, because that is one by one.
    past: Mutex<Vec<(Config, Settings)>>,
    name: Arc<str>,
    observer: Arc<dyn Observer<Node>>,
    recorder: Option<Arc<FlightRecorder>>,
    place: fn(&K) -> Place<K>,
    labels: Labels,
    default: OnceLock<Lanes>,
}

/// What nodes share: inner ones, and those around them.
#[derive(Clone)]
struct Settings {
    inner: Arc<Shared>,
    outer: Arc<Shared>,
}

/// Finds the node for a call: that of its key, or an overflow node if there is no room.
pub(crate) struct ForCall<'a, P: Keyed> {
    pub(crate) breakers: &'a Breakers<P::Key>,
    pub(crate) partition: &'a P,
}

/// A key with all that foreign code has to do for it.
struct Newcomer<K> {
    slot: Slot<K, Node>,
    label: Box<str>,
}

/// As many nodes are looked at under the lock of the registry.
const PAGE: usize = 512;

impl<K> Breakers<K> {
    pub(crate) fn new(
        config: &Config,
        is_partitioned: bool,
        place: fn(&K) -> Place<K>,
        observer: Arc<dyn Observer<Node>>,
    ) -> Self {
        let policy = config.policy();
        let labels = Labels::new(policy.redact_labels, config.seed().split("labels"));
        let clock = Clock::start();
        let nodes = Registry::new(policy.max_partitions, config.seed().split("keys"), clock.clone());
        let name = policy.name.clone();
        let recorder = config.flight_recorder();
        let shared = |policy| Shared::new(policy, is_partitioned, clock.clone(), observer.clone(), recorder.clone());
        let settings = Settings { inner: shared(policy), outer: shared(config.outer_policy()) };
        Self {
            nodes,
            current: Mutex::new(settings.clone()),
            past: Mutex::new(vec![(config.clone(), settings)]),
            name,
            observer,
            recorder,
            place,
            labels,
            default: OnceLock::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn current(&self) -> Settings {
        lock(&self.current).clone()
    }

    /// Changes the settings of all nodes, and of those made later. A call that ends meanwhile is judged by the old
    /// settings or by the new ones.
    pub(crate) fn reconfigure(&self, config: &Config) -> Result<Changes, InvalidSetting> {
        let mut past = lock(&self.past);
        let now = self.current();
        let Some((before, _)) = past.iter().find(|(_, settings)| settings.is(&now)) else { return Ok(Changes::none()) };
        let (config, changes) = before.reconfigured(config)?;
        if changes.is_empty() {
            return Ok(changes);
        }
        let known = past.iter().find(|(known, _)| known.changes(&config).is_empty()).map(|(_, settings)| settings);
        let settings = match known {
            Some(settings) => settings.clone(),
            None => {
                ensure_room(past.len())?;
                let with = |shared: &Shared, policy| shared.with(policy);
                let settings = Settings {
                    inner: with(&now.inner, config.policy()),
                    outer: with(&now.outer, config.outer_policy()),
                };
                past.push((config.clone(), settings.clone()));
                settings
            }
        };
        for (_, Settings { inner, outer }) in past.iter() {
            inner.time_calls_for(&settings.inner.policy);
            outer.time_calls_for(&settings.outer.policy);
        }
        *lock(&self.current) = settings.clone();
        self.nodes.set_max(config.policy().max_partitions);
        self.shared_nodes().for_each(|node| settings.apply_to(node));
        // An insertion holds the lock of the ring: it ended before this reads the ring, or it sees the new settings.
        let mut end = usize::MAX;
        while end > 0 {
            let (first, nodes) = self.nodes.nodes_below(end, PAGE);
            nodes.iter().for_each(|(node, _)| settings.apply_to(node));
            end = first;
        }
        Ok(changes)
    }

    /// The node of requests without a key.
    pub(crate) fn default_node(&self) -> &Arc<Node> {
        self.default_lanes().node()
    }

    #[inline]
    pub(crate) fn default_lanes(&self) -> &Lanes {
        self.default.get().unwrap_or_else(|| self.make_default())
    }

    #[cold]
    fn make_default(&self) -> &Lanes {
        let lanes = self.default.get_or_init(|| Lanes::new(self.new_node(label::DEFAULT.into())));
        self.keep_up(lanes.node());
        lanes
    }

    /// The settings may have changed before the reconfiguration could find this node.
    fn keep_up(&self, node: &Node) {
        loop {
            let settings = self.current();
            settings.apply_to(node);
            if self.current().is(&settings) {
                return;
            }
        }
    }

    pub(crate) fn overflowed(&self) -> u64 {
        self.nodes.overflowed()
    }

    /// The breakers in use that have no key of their own.
    fn shared_nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.default.get().map(Lanes::node).into_iter().chain(self.nodes.overflow_nodes())
    }

    /// A page of the breakers in use: [`Registry::nodes_below`], and with the last page those without a key.
    #[cfg(feature = "status-page")]
    pub(crate) fn nodes_below(&self, end: usize, count: usize) -> (usize, Vec<(Arc<Node>, u32)>) {
        let (first, mut nodes) = self.nodes.nodes_below(end, count);
        if first == 0 {
            // They are never evicted: their addresses suffice.
            nodes.extend(self.shared_nodes().map(|node| (node.clone(), 0)));
        }
        (first, nodes)
    }

    #[cfg(feature = "status-page")]
    pub(crate) fn has_recorder(&self) -> bool {
        self.recorder.is_some()
    }

    /// Returns what the flight recorder holds, with the labels of these nodes.
    pub(crate) fn recording(&self, nodes: &[Arc<Node>]) -> Recording {
        let labels = nodes.iter().map(|node| node.label());
        match &self.recorder {
            Some(recorder) => recorder.recording(self.name(), labels),
            None => Recording::empty(self.name()),
        }
    }

    fn new_node(&self, label: Box<str>) -> Arc<Node> {
        Arc::new(Node::new(self.current().inner, label))
    }
}

impl<K: Hash + Eq + Clone + Debug> Breakers<K> {
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the node of this key, if it has one.
    #[inline]
    pub(crate) fn find<Q>(&self, key: &Q) -> Option<Arc<Node>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.nodes.find(key)
    }

    /// The node that this key shares with others when all partitions are in use.
    pub(crate) fn overflow_node(&self, key: &K) -> Arc<Node> {
        self.overflow_of(self.nodes.hash(key))
    }

    fn overflow_of(&self, hash: u32) -> Arc<Node> {
        let mut is_new = false;
        let node = self.nodes.overflow_node(hash, |which| {
            is_new = true;
            self.new_node(label::overflow(which))
        });
        if is_new {
            self.keep_up(node);
        }
        node.clone()
    }

    /// Returns the node of this key, and makes it if there is room, else the hash of the key.
    #[cold]
    pub(crate) fn insert(&self, key: K, keep: impl FnOnce(K) -> K) -> Result<Arc<Node>, u32> {
        let guard = self.nodes.guard();
        if !self.nodes.may_have_room(&guard) {
            // Another call may have inserted it since this one looked.
            return self.find(&key).ok_or_else(|| self.nodes.hash(&key));
        }
        // Code of the key that may call back into the registry: `Hash`, `Debug` and `Clone` run before the lock is
        // taken, and `Drop` after it is released. Only `Eq` runs under the lock, and `Clone` when an eviction is taken
        // back. They may panic, but must not call back.
        let key = keep(key);
        let place = (self.place)(&key);
        let is_outer = matches!(place, Place::Outer);
        let mut outer = match place {
            Place::NestedIn(outer) => Some(self.newcomer(outer)),
            Place::Alone | Place::Outer => None,
        };
        let newcomer = self.newcomer(key);

        let mut locked = self.nodes.lock(&guard);
        if let Some(node) = locked.node_of(&newcomer.slot) {
            return Ok(node);
        }
        // A reference is held, so that it is not evicted.
        let found = outer.as_ref().and_then(|outer| locked.node_of(&outer.slot));
        // Room for both, or for neither.
        let is_new = outer.is_some() && found.is_none();
        let wanted = if is_new { 2 } else { 1 };
        if !locked.has_room(wanted) {
            return Err(newcomer.slot.hash());
        }
        // Under the lock of the registry: see `reconfigure`.
        let settings = self.current();
        let new_outer = |label| Arc::new(Node::new_outer(settings.outer.clone(), label));
        let outer = match (found, outer.take_if(|_| is_new)) {
            (None, Some(Newcomer { slot, label })) => Some(locked.add(slot, new_outer(label))),
            (found, _) => found,
        };
        let Newcomer { slot, label } = newcomer;
        let node = match outer {
            Some(outer) => Arc::new(Node::nested_in(outer, settings.inner.clone(), label)),
            None if is_outer => new_outer(label),
            None => Arc::new(Node::new(settings.inner.clone(), label)),
        };
        Ok(locked.add(slot, node))
    }

    /// Removes the node of a key and all nodes inside it, and returns them.
    pub(crate) fn remove(&self, key: &K) -> Vec<Arc<Node>> {
        let Some(node) = self.nodes.remove(key) else { return Vec::new() };
        let mut removed = vec![node.clone()];
        if node.is_outer() {
            // None is added from here on: a newcomer finds its outer node under the lock. None is evicted either,
            // because a reference is held.
            let is_inner = |inner: &Node| inner.outer().is_some_and(|outer| Arc::ptr_eq(outer, &node));
            let inner = self.nodes.nodes_where(is_inner);
            removed.extend(inner.iter().filter_map(|(hash, inner)| self.nodes.remove_node(*hash, inner)));
        }
        removed
    }

    /// All breakers of keys that are kept.
    pub(crate) fn keyed_nodes(&self) -> Vec<(K, Arc<Node>)> {
        self.nodes.keyed_nodes()
    }

    /// All breakers in use.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.shared_nodes().cloned().chain(self.nodes.nodes()).collect()
    }

    /// The number of breakers in use.
    pub(crate) fn count(&self) -> usize {
        self.shared_nodes().count() + self.len()
    }

    /// Visits all breakers in use. Takes no lock, and leaves out one whose eviction is being decided.
    pub(crate) fn visit(&self, mut visit: impl FnMut(&Arc<Node>)) {
        self.shared_nodes().for_each(&mut visit);
        self.nodes.visit(visit);
    }

    fn newcomer(&self, key: K) -> Newcomer<K> {
        Newcomer { label: self.labels.of(&key), slot: self.nodes.slot(key) }
    }

    #[cold]
    fn overflow(&self, hash: u32) -> Arc<Node> {
        let node = self.overflow_of(hash);
        if let Some(calls) = self.nodes.count_overflow() {
            self.observer.overflowed(&node, self.nodes.max(), calls);
        }
        node
    }
}

impl Settings {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    fn apply_to(&self, node: &Node) {
        node.reconfigure(if node.is_outer() { &self.outer } else { &self.inner });
    }
}

impl Forgettable for Node {
    fn is_forgettable(&self, now: Moment) -> bool {
        self.is_unused(now)
    }

    fn forgotten(&self) {
        self.retire();
    }
}

impl<P: Keyed> Finder<P::Key> for ForCall<'_, P> {
    type Found = Arc<Node>;

    #[inline]
    fn find<Q>(&self, query: &Q) -> Option<Arc<Node>>
    where
        Q: Hash + Equivalent<P::Key> + ?Sized,
    {
        self.breakers.find(query)
    }

    #[cold]
    fn insert(&self, key: impl FnOnce() -> P::Key) -> Arc<Node> {
        let Self { breakers, partition } = self;
        breakers.insert(key(), |key| partition.keep(key)).unwrap_or_else(|hash| breakers.overflow(hash))
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::breaker::Mode;
    use crate::breaker::config::Config;
    use crate::breaker::core::state_machine::Attempt;
    use crate::breaker::observe::layer_observer::LayerObserver;
    use crate::settings::invalid_setting::valid;
    use http::HeaderValue;

    const LONG: Duration = Duration::from_secs(60);

    fn breakers(max_partitions: usize, mode: Mode) -> Breakers<HeaderValue> {
        let mut config = Config::default();
        valid(config.set_max_partitions(max_partitions));
        config.set_mode(mode);
        Breakers::new(&config, true, |_| Place::Alone, Arc::new(LayerObserver::default()))
    }

    #[test]
    fn two_that_find_no_breaker_make_one() {
        let breakers = breakers(10, Mode::Automatic);
        let key = HeaderValue::from_static("tenant-7");
        // Both have looked before either inserts.
        let nodes = [(); 2].map(|()| breakers.insert(key.clone(), |key| key).map(|node| Arc::as_ptr(&node)));
        assert!(nodes[0].is_ok() && nodes[0] == nodes[1]);
    }

    #[test]
    fn rule_8_a_closed_breaker_that_counts_takes_no_lock() {
        for mode in [Mode::Automatic, Mode::ObserveOnly, Mode::RejectRetriesOnly] {
            let breakers = breakers(1, mode);
            let (done, is_done) = mpsc::channel();
            let node = breakers.default_node().clone();
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
    fn an_insert_at_the_cap_finds_what_another_call_has_inserted() {
        let breakers = breakers(1, Mode::Automatic);
        let key = HeaderValue::from_static("tenant-7");
        let held = breakers.insert(key.clone(), |key| key).ok();
        let found = breakers.insert(key.clone(), |key| key).ok();
        assert!(held.is_some() && held.as_ref().map(Arc::as_ptr) == found.as_ref().map(Arc::as_ptr));
    }
}
