mod hash;
pub(super) mod label;
pub mod partition;

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};

use papaya::{Equivalent, Guard, HashMap};

use self::hash::KeyedHash;
use self::label::Labels;
use crate::breaker::config::Config;
use crate::breaker::core::node::{Node, Shared};
use crate::breaker::core::node_ref::Lanes;
use crate::breaker::core::observer::Observer;
use crate::breaker::partition::{Finder, Keyed, Place};
use crate::clock::Clock;

/// The breakers of one layer, at most `max_partitions` of them.
pub(crate) struct Registry<K> {
    // The keys come from callers: the hash is keyed against flooding.
    nodes: HashMap<K, Arc<Node>, KeyedHash>,
    shared: Arc<Shared>,
    /// What outer nodes share.
    outer: Arc<Shared>,
    place: fn(&K) -> Place<K>,
    labels: Labels,
    default: OnceLock<Lanes>,
    overflow: OnceLock<Arc<Node>>,
    /// Calls that found all partitions in use.
    overflowed: AtomicU64,
    /// The millisecond before which a full registry is not swept again.
    next_sweep: AtomicU64,
    changes: Mutex<Changes>,
}

/// Finds the node for a call: that of its key, or the overflow node if there is no room.
pub(crate) struct ForCall<'a, P: Keyed> {
    pub(crate) registry: &'a Registry<P::Key>,
    pub(crate) partition: &'a P,
}

/// Guards insertions and removals.
#[derive(Debug)]
struct Changes {
    /// The number of partitions at which unused ones are evicted.
    sweep_at: usize,
    next_warning: u64,
}

/// Smaller registries are not swept.
const FIRST_SWEEP: usize = 1_024;
/// A sweep visits every partition: a flood of new keys must not pay for one each.
const SWEEP_EVERY_MILLIS: u64 = 1_000;
const WARN_EVERY_MILLIS: u64 = 60_000;

impl<K> Registry<K> {
    pub(crate) fn new(
        config: &Config,
        is_partitioned: bool,
        place: fn(&K) -> Place<K>,
        observer: Arc<dyn Observer<Node>>,
    ) -> Self {
        let policy = config.policy();
        let labels = Labels::new(policy.redact_labels);
        let sweep_at = FIRST_SWEEP.min(policy.max_partitions);
        let clock = Clock::start();
        let shared = |policy| Shared::new(policy, is_partitioned, clock.clone(), observer.clone());
        Self {
            nodes: HashMap::with_hasher(KeyedHash::new()),
            shared: shared(policy),
            outer: shared(config.outer_policy()),
            place,
            labels,
            default: OnceLock::new(),
            overflow: OnceLock::new(),
            overflowed: AtomicU64::new(0),
            next_sweep: AtomicU64::new(0),
            changes: Mutex::new(Changes { sweep_at, next_warning: 0 }),
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

    /// The node that new keys share when all partitions are in use.
    pub(crate) fn overflow_node(&self) -> &Arc<Node> {
        self.overflow.get_or_init(|| self.new_node(label::OVERFLOW.into()))
    }

    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    fn new_node(&self, label: Box<str>) -> Arc<Node> {
        Arc::new(Node::new(self.shared.clone(), label))
    }

    fn now(&self) -> u64 {
        self.shared.clock.now().millis()
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone + std::fmt::Debug> Registry<K> {
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the node of this key, if it has one.
    #[inline]
    pub(crate) fn find<Q>(&self, key: &Q) -> Option<Arc<Node>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let guard = self.nodes.guard();
        let node = self.nodes.get(key, &guard)?.clone();
        // Between taking a reference and reading the packed state: see `Node::retire`.
        fence(Ordering::SeqCst);
        (!node.is_gone()).then_some(node)
    }

    /// Returns the node of this key, and makes it if there is room.
    #[cold]
    pub(crate) fn insert(&self, key: K, keep: impl FnOnce(K) -> K) -> Option<Arc<Node>> {
        if !self.is_worth() {
            return None;
        }
        // Foreign code, which may panic or call back into the registry: run before the lock is taken, as are the drops
        // of the guard.
        let key = keep(key);
        let label = self.labels.of(&key);
        let place = match (self.place)(&key) {
            Place::Alone => Place::Alone,
            Place::Outer => Place::Outer,
            Place::NestedIn(outer) => {
                let node = Arc::new(Node::new_outer(self.outer.clone(), self.labels.of(&outer)));
                Place::NestedIn((outer, node))
            }
        };
        let guard = self.nodes.guard();
        let mut changes = self.changes_if_worth()?;
        // No node retires while this holds the lock.
        if let Some(node) = self.nodes.get(&key, &guard) {
            return Some(node.clone());
        }
        // A reference is held, so that a sweep keeps it.
        let place = match place {
            Place::NestedIn((outer, new)) => Place::NestedIn((self.nodes.get(&outer, &guard).cloned(), outer, new)),
            Place::Alone => Place::Alone,
            Place::Outer => Place::Outer,
        };
        // Room for both, or for neither.
        let wanted = if matches!(place, Place::NestedIn((None, ..))) { 2 } else { 1 };
        if !self.has_room(wanted, &mut changes, &guard) {
            return None;
        }
        let node = match place {
            Place::Alone => self.new_node(label),
            Place::Outer => Arc::new(Node::new_outer(self.outer.clone(), label)),
            Place::NestedIn((Some(outer), ..)) => Node::nested_in(outer, self.shared.clone(), label),
            Place::NestedIn((None, key, outer)) => {
                self.nodes.insert(key, outer.clone(), &guard);
                Node::nested_in(outer, self.shared.clone(), label)
            }
        };
        self.nodes.insert(key, node.clone(), &guard);
        Some(node)
    }

    /// Removes the node of a key and all nodes inside it, and returns them.
    pub(crate) fn remove(&self, key: &K) -> Vec<Arc<Node>> {
        let guard = self.nodes.guard();
        // `Eq` and `Hash` of the keys may panic: a poisoned lock is taken all the same.
        let _changes = self.changes();
        let Some(node) = self.nodes.remove(key, &guard) else { return Vec::new() };
        node.remove();
        let mut removed = vec![node.clone()];
        if node.children().is_some() {
            for (inner, node) in self.nodes.iter(&guard) {
                if matches!((self.place)(inner), Place::NestedIn(outer) if outer == *key) {
                    self.nodes.remove(inner, &guard);
                    removed.push(node.clone());
                }
            }
        }
        removed
    }

    /// All breakers of keys.
    pub(crate) fn keyed_nodes(&self) -> Vec<(K, Arc<Node>)> {
        let guard = self.nodes.guard();
        let nodes = self.nodes.iter(&guard).map(|(key, node)| (key.clone(), node.clone()));
        let nodes: Vec<_> = nodes.collect();
        // As in `nodes`, once for all.
        fence(Ordering::SeqCst);
        nodes.into_iter().filter(|(_, node)| !node.is_gone()).collect()
    }

    /// All breakers in use.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        let guard = self.nodes.guard();
        let keyed = self.nodes.iter(&guard).map(|(_, node)| node);
        let all = self.default.get().map(Lanes::node).into_iter().chain(keyed).chain(self.overflow.get());
        all.map(|node| {
            let node = node.clone();
            fence(Ordering::SeqCst);
            node
        })
        .filter(|node| !node.is_gone())
        .collect()
    }

    /// Whether there is room, or a sweep is due that may make some.
    fn is_worth(&self) -> bool {
        self.len() < self.shared.policy.max_partitions || self.now() >= self.next_sweep.load(Ordering::Relaxed)
    }

    /// Takes the lock, unless there is certainly no room: a flood of new keys does not queue for it.
    fn changes_if_worth(&self) -> Option<MutexGuard<'_, Changes>> {
        if self.len() < self.shared.policy.max_partitions {
            return Some(self.changes());
        }
        if !self.is_worth() {
            return None;
        }
        match self.changes.try_lock() {
            Ok(changes) => Some(changes),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn has_room(&self, wanted: usize, changes: &mut Changes, guard: &impl Guard) -> bool {
        let max = self.shared.policy.max_partitions;
        if self.len() + wanted <= changes.sweep_at {
            return true;
        }
        let now = self.now();
        if self.len() + wanted <= max || now >= self.next_sweep.load(Ordering::Relaxed) {
            self.sweep(guard);
            self.next_sweep.store(now.saturating_add(SWEEP_EVERY_MILLIS), Ordering::Relaxed);
            changes.sweep_at = (self.len() * 2).clamp(FIRST_SWEEP.min(max), max);
        }
        self.len() + wanted <= max
    }

    /// Evicts every partition that nothing is lost with.
    fn sweep(&self, guard: &impl Guard) {
        for (key, node) in self.nodes.iter(guard) {
            if node.retire(|| is_alone(node)) {
                self.nodes.remove(key, guard);
            }
        }
    }

    #[cold]
    fn overflow(&self) -> Arc<Node> {
        let calls = self.overflowed.fetch_add(1, Ordering::Relaxed) + 1;
        let node = self.overflow_node();
        if self.warns_now() {
            self.shared.observer.overflowed(node, self.shared.policy.max_partitions, calls);
        }
        node.clone()
    }

    fn warns_now(&self) -> bool {
        let now = self.now();
        let Ok(mut changes) = self.changes.try_lock() else { return false };
        let due = now >= changes.next_warning;
        if due {
            changes.next_warning = now.saturating_add(WARN_EVERY_MILLIS);
        }
        due
    }
}

impl<P: Keyed> ForCall<'_, P> {
    #[cold]
    fn insert(self, key: P::Key) -> Arc<Node> {
        let Self { registry, partition } = self;
        registry.insert(key, |key| partition.keep(key)).unwrap_or_else(|| registry.overflow())
    }
}

impl<P: Keyed> Finder<P::Key> for ForCall<'_, P> {
    type Found = Arc<Node>;

    fn find(self, key: P::Key) -> Arc<Node> {
        self.registry.find(&key).unwrap_or_else(|| self.insert(key))
    }

    #[inline]
    fn find_by<Q>(self, query: &Q, key: impl FnOnce() -> Option<P::Key>) -> Option<Arc<Node>>
    where
        Q: Hash + Equivalent<P::Key> + ?Sized,
    {
        match self.registry.find(query) {
            Some(node) => Some(node),
            None => key().map(|key| self.insert(key)),
        }
    }
}

/// Whether the map holds the only reference. The map drops removed nodes late, and an inner node keeps its outer one
/// until then. References are counted first: the answer can wrongly be false, but never wrongly true.
fn is_alone(node: &Arc<Node>) -> bool {
    let others = Arc::strong_count(node) - 1;
    others == 0 || node.children().is_some_and(|children| children.retired() == others)
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
    use crate::breaker::partition::{self, ByHeader};
    use crate::invalid_setting::valid;
    use http::HeaderValue;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(200);

    fn registry(max_partitions: usize, mode: Mode) -> Registry<HeaderValue> {
        let mut config = Config::default();
        valid(config.set_max_partitions(max_partitions));
        config.set_mode(mode);
        Registry::new(&config, true, |_| Place::Alone, Arc::new(Subscribers::default()))
    }

    fn for_call(registry: &Registry<HeaderValue>, partition: &ByHeader, key: &HeaderValue) -> Arc<Node> {
        ForCall { registry, partition }.find(key.clone())
    }

    fn key() -> (ByHeader, HeaderValue) {
        (partition::header("x-tenant-id"), HeaderValue::from_static("tenant-7"))
    }

    #[test]
    fn two_that_find_no_breaker_make_one() {
        let registry = registry(10, Mode::Automatic);
        let (_, key) = key();
        // Both have looked before either inserts.
        let nodes = [(); 2].map(|()| registry.insert(key.clone(), |key| key).map(|node| Arc::as_ptr(&node)));
        assert!(nodes[0].is_some() && nodes[0] == nodes[1]);
    }

    #[test]
    fn a_breaker_that_is_on_its_way_out_is_neither_found_nor_listed() {
        let registry = registry(10, Mode::Automatic);
        let (by, key) = key();
        assert!(for_call(&registry, &by, &key).retire(|| true));
        assert!(registry.find(&key).is_none() && registry.nodes().is_empty() && registry.keyed_nodes().is_empty());
    }

    #[test]
    fn a_breaker_that_is_looked_at_and_stays_is_found_and_listed_all_the_time() {
        let registry = registry(1, Mode::Automatic);
        let (by, key) = key();
        let own = for_call(&registry, &by, &key);
        let (registry, by, key) = (&registry, &by, &key);
        std::thread::scope(|scope| {
            // A sweep is under way.
            let _changes = registry.changes();
            let (found, is_found) = mpsc::channel();
            let retired = own.retire(|| {
                scope.spawn(move || {
                    let _ = found.send((for_call(registry, by, key), registry.nodes().len()));
                });
                // A finder may wait for the decision of the sweep; one that does not is caught here.
                if let Ok((node, listed)) = is_found.recv_timeout(SHORT) {
                    assert_eq!((node.label(), listed), ("tenant-7", 1));
                }
                false
            });
            assert!(!retired);
            if let Ok((node, listed)) = is_found.recv_timeout(LONG) {
                assert_eq!((node.label(), listed), ("tenant-7", 1));
            }
        });
        assert_eq!(registry.overflowed(), 0);
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
}
