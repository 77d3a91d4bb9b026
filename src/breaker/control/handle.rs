use std::fmt;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use crate::breaker::breakers::Breakers;
use crate::breaker::config::Config;
use crate::breaker::observe::layer_observer::LayerObserver;
use crate::breaker::partition::Place;
use crate::breaker::{CircuitBreaker, Events, Mode, Recording, State};

/// Watches and controls the breakers of a [`CircuitBreakerLayer`](crate::CircuitBreakerLayer), from anywhere and
/// without waiting.
///
/// ```
/// use tower_rampart::CircuitBreakerLayer;
/// use tower_rampart::breaker::{State, partition};
///
/// let layer = CircuitBreakerLayer::new_for_http().partition_by(partition::by(|id: &u64| *id));
/// let breakers = layer.handle();
///
/// assert_eq!(breakers.state(&7), State::Closed);
/// assert!(breakers.force_open(&7));
/// assert_eq!(breakers.state(&7), State::Open);
/// for breaker in breakers.iter() {
///     println!("{} is {}", breaker.partition(), breaker.state());
/// }
/// breakers.reset_all();
/// ```
pub struct Handle<K> {
    breakers: Arc<Breakers<K>>,
    observer: Arc<LayerObserver>,
}

impl<K> Handle<K> {
    pub(crate) fn new(config: &Config, is_partitioned: bool, place: fn(&K) -> Place<K>) -> Self {
        let observer = Arc::new(LayerObserver::default());
        let breakers = Breakers::new(config, is_partitioned, place, observer.clone());
        Self { breakers: Arc::new(breakers), observer }
    }

    pub(crate) fn breakers(&self) -> &Arc<Breakers<K>> {
        &self.breakers
    }

    pub(in crate::breaker) fn observer(&self) -> &LayerObserver {
        &self.observer
    }

    /// The name of the layer's breakers.
    #[must_use]
    pub fn name(&self) -> &str {
        self.breakers.name()
    }

    /// Subscribes to the changes of all breakers from now on. The queue holds at most `capacity` of them.
    ///
    /// # Panics
    ///
    /// If the capacity is 0.
    #[must_use]
    #[track_caller]
    pub fn subscribe(&self, capacity: usize) -> Events {
        self.observer.subscribers.subscribe(capacity)
    }

    /// Copies the last decisions of the breakers out of the
    /// [flight recorder](crate::CircuitBreakerLayer::flight_recorder). It is empty if the layer has none. Partitions
    /// stand in it as keyed digests, which differ from layer to layer.
    ///
    /// Takes 32 bytes for each decision and more for its result, but no lock.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.breakers.recording(&[])
    }

    /// Returns the breaker of requests without a key; of all requests, if the layer is not partitioned.
    #[must_use]
    pub fn default_partition(&self) -> CircuitBreaker {
        CircuitBreaker::new(self.breakers.default_node().clone())
    }

    /// Returns the number of calls that shared an [overflow breaker](Self::overflow_partition) because all partitions
    /// were in use.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.breakers.overflowed()
    }
}

#[cfg(feature = "status-page")]
impl<K> Handle<K> {
    pub(crate) fn has_recorder(&self) -> bool {
        self.breakers.has_recorder()
    }

    /// Reports all changes from now on.
    pub(crate) fn report_to(&self, subscriber: std::sync::Weak<dyn super::events::Subscriber>) {
        self.observer.subscribers.add(subscriber);
    }

    /// Returns at most `count` breakers of keys, those before the place `end`, and the place to go on below; with the
    /// last of them, at place 0, the breakers without a key. Each comes with the hash of its key.
    pub(crate) fn breakers_below(&self, end: usize, count: usize) -> (usize, Vec<(CircuitBreaker, u32)>) {
        let (first, nodes) = self.breakers.nodes_below(end, count);
        (first, nodes.into_iter().map(|(node, hash)| (CircuitBreaker::new(node), hash)).collect())
    }

    /// Two handles have the same address if they have the same breakers.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.breakers).addr()
    }
}

impl<K: Hash + Eq + Clone + Debug> Handle<K> {
    /// Returns the number of keys with a breaker of their own, those [around
    /// others](crate::CircuitBreakerLayer::nested_in) included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.breakers.len()
    }

    /// Whether no key has a breaker of its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the breaker of a key, if it has one. It is not evicted while the returned breaker exists.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<CircuitBreaker> {
        self.breakers.find(key).map(CircuitBreaker::new)
    }

    /// The breaker of a key, which is made if it has none; nothing if all
    /// [`max_partitions`](crate::CircuitBreakerLayer::max_partitions) are in use.
    #[must_use]
    pub fn get_or_insert(&self, key: &K) -> Option<CircuitBreaker> {
        let node = self.breakers.find(key).or_else(|| self.breakers.insert(key.clone(), |key| key).ok());
        node.map(CircuitBreaker::new)
    }

    /// Returns the breaker that this key shares with others if it comes while all partitions are in use. There are 16
    /// of them, and the key, hashed, chooses one.
    #[must_use]
    pub fn overflow_partition(&self, key: &K) -> CircuitBreaker {
        CircuitBreaker::new(self.breakers.overflow_node(key))
    }

    /// Iterates over all current breakers: those of keys, and the default and the overflow breakers once they are in
    /// use.
    pub fn iter(&self) -> impl Iterator<Item = CircuitBreaker> + use<K> {
        self.breakers.nodes().into_iter().map(CircuitBreaker::new)
    }

    /// The breakers of keys with their keys, in no order. The default and the overflow breakers have none. A key that
    /// feeds more than 256 bytes to its [`Hash`] [is not kept](crate::breaker::partition#long-keys), so its breaker is
    /// left out. A `String` of 256 bytes feeds 257.
    pub fn iter_keyed(&self) -> impl Iterator<Item = (K, CircuitBreaker)> + use<K> {
        self.breakers.keyed_nodes().into_iter().map(|(key, node)| (key, CircuitBreaker::new(node)))
    }

    /// Forgets the breaker of a key, whatever its state, for example when a tenant is gone for good. False if the key
    /// has none. With an [outer](crate::breaker::partition::Nested::Outer) key the breakers of all its inner keys go
    /// too.
    ///
    /// Later calls get a new breaker, which begins as set in the layer. Those in flight, and a [`CircuitBreaker`] that
    /// is still held, go on with the old one, which is [disabled](CircuitBreaker::disable): it admits every call and
    /// counts none.
    ///
    /// ```
    /// use tower_rampart::CircuitBreakerLayer;
    /// use tower_rampart::breaker::{State, partition};
    ///
    /// let layer = CircuitBreakerLayer::new_for_http().partition_by(partition::by(|id: &u64| *id));
    /// let breakers = layer.handle();
    /// breakers.force_open(&7);
    /// assert!(breakers.remove(&7));
    /// assert_eq!((breakers.state(&7), breakers.len()), (State::Closed, 0));
    /// ```
    pub fn remove(&self, key: &K) -> bool {
        let removed = self.breakers.remove(key);
        // After the lock of the registry is released: a subscriber may read it.
        removed.iter().for_each(|node| {
            node.set_mode(Mode::Disabled);
            node.retire();
        });
        !removed.is_empty()
    }

    /// [`recording`](Self::recording), with the labels of the partitions that still have a breaker.
    #[must_use]
    pub fn recording_with_labels(&self) -> Recording {
        self.breakers.recording(&self.breakers.nodes())
    }

    /// Returns the state of a key's breaker. Closed if the key has none.
    #[must_use]
    pub fn state(&self, key: &K) -> State {
        self.get(key).map_or(State::Closed, |breaker| breaker.state())
    }

    /// [`CircuitBreaker::force_open`] for a key. False if there is no room for it.
    pub fn force_open(&self, key: &K) -> bool {
        self.set_mode(key, Mode::ForcedOpen)
    }

    /// [`CircuitBreaker::disable`] for a key. False if there is no room for it.
    pub fn disable(&self, key: &K) -> bool {
        self.set_mode(key, Mode::Disabled)
    }

    /// [`CircuitBreaker::observe`] for a key. False if there is no room for it.
    pub fn observe(&self, key: &K) -> bool {
        self.set_mode(key, Mode::ObserveOnly)
    }

    /// [`CircuitBreaker::automatic`] for a key. False if there is no room for it.
    pub fn automatic(&self, key: &K) -> bool {
        self.set_mode(key, Mode::Automatic)
    }

    /// [`CircuitBreaker::set_mode`] for a key. False if there is no room for it.
    pub fn set_mode(&self, key: &K, mode: Mode) -> bool {
        self.get_or_insert(key).map(|breaker| breaker.set_mode(mode)).is_some()
    }

    /// [`CircuitBreaker::reset`] for a key, if it has a breaker.
    pub fn reset(&self, key: &K) {
        if let Some(breaker) = self.get(key) {
            breaker.reset();
        }
    }

    /// [`CircuitBreaker::set_mode`] for all that [`iter`](Self::iter) yields. Breakers made later begin as set in the
    /// layer.
    pub fn set_mode_all(&self, mode: Mode) {
        self.iter().for_each(|breaker| breaker.set_mode(mode));
    }

    /// [`CircuitBreaker::reset`] for all that [`iter`](Self::iter) yields.
    pub fn reset_all(&self) {
        self.iter().for_each(|breaker| breaker.reset());
    }
}

impl<K> Clone for Handle<K> {
    fn clone(&self) -> Self {
        Self { breakers: self.breakers.clone(), observer: self.observer.clone() }
    }
}

impl<K> Debug for Handle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("name", &self.name()).finish_non_exhaustive()
    }
}
