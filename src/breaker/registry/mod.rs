mod hash;
pub(super) mod label;
pub mod partition;

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};

use papaya::{Equivalent, Guard, HashMap};

use self::hash::KeyedHash;
use self::label::Labels;
use crate::breaker::config::Settings;
use crate::breaker::core::node::{Cell, Shared};
use crate::breaker::core::observer::Observer;
use crate::breaker::core::waiters::Waiters;
use crate::breaker::partition::{Finder, Keyed, Place};
use crate::clock::Clock;

/// All breakers of one layer, a bounded number of them.
pub(crate) struct Registry<K> {
    // The keys come from callers: the hash is keyed against flooding.
    cells: HashMap<K, Arc<Cell>, KeyedHash>,
    shared: Arc<Shared>,
    /// For the breakers around others.
    outer: Arc<Shared>,
    place: fn(&K) -> Place<K>,
    labels: Labels,
    default: OnceLock<Arc<Cell>>,
    overflow: OnceLock<Arc<Cell>>,
    /// Calls that found all partitions in use.
    overflowed: AtomicU64,
    /// The millisecond before which a full registry is not swept again.
    next_sweep: AtomicU64,
    changes: Mutex<Changes>,
}

/// Finds the breaker for a call: that of its key, or the one to share if there is no room.
pub(crate) struct ForCall<'a, P: Keyed> {
    pub(crate) registry: &'a Registry<P::Key>,
    pub(crate) partition: &'a P,
}

/// Guards insertions and removals.
#[derive(Debug)]
struct Changes {
    /// At how many partitions those are looked for that can be forgotten.
    sweep_at: usize,
    next_warning: u64,
}

/// Fewer are not worth a look.
const FIRST_SWEEP: usize = 1_024;
/// A sweep looks at every partition: a flood of new keys must not pay for one each.
const SWEEP_EVERY_MILLIS: u64 = 1_000;
const WARN_EVERY_MILLIS: u64 = 60_000;

impl<K> Registry<K> {
    pub(crate) fn new(
        settings: &Settings,
        is_partitioned: bool,
        place: fn(&K) -> Place<K>,
        observer: Arc<dyn Observer<Cell>>,
    ) -> Self {
        let policy = settings.policy();
        let labels = Labels::new(policy.redact_labels);
        let sweep_at = FIRST_SWEEP.min(policy.max_partitions);
        let clock = Clock::start();
        let shared = |policy| Shared {
            policy,
            is_partitioned,
            clock: clock.clone(),
            observer: observer.clone(),
            waiters: Waiters::default(),
        };
        Self {
            cells: HashMap::with_hasher(KeyedHash::new()),
            shared: Arc::new(shared(policy)),
            outer: Arc::new(shared(settings.outer_policy())),
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

    /// The breaker of requests that have no key.
    pub(crate) fn default_cell(&self) -> &Arc<Cell> {
        self.default.get_or_init(|| self.new_cell(label::DEFAULT.into()))
    }

    /// The breaker that new keys share when all partitions are in use.
    pub(crate) fn overflow_cell(&self) -> &Arc<Cell> {
        self.overflow.get_or_init(|| self.new_cell(label::OVERFLOW.into()))
    }

    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    fn new_cell(&self, label: Box<str>) -> Arc<Cell> {
        Arc::new(Cell::new(self.shared.clone(), label))
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
        self.cells.len()
    }

    /// The breaker of this key, if it has one.
    #[inline]
    pub(crate) fn find<Q>(&self, key: &Q) -> Option<Arc<Cell>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let guard = self.cells.guard();
        let cell = self.cells.get(key, &guard)?.clone();
        // Between taking hold of the cell and reading its word: see `Cell::retire`.
        fence(Ordering::SeqCst);
        (!cell.is_gone()).then_some(cell)
    }

    /// The breaker of this key, which is made if there is room.
    #[cold]
    pub(crate) fn insert(&self, key: K, keep: impl FnOnce(K) -> K) -> Option<Arc<Cell>> {
        if !self.is_worth() {
            return None;
        }
        // The caller's own code, which may panic or come back here: not under the lock, and nor is what the guard lets go.
        let key = keep(key);
        let label = self.labels.of(&key);
        let place = match (self.place)(&key) {
            Place::Alone => Place::Alone,
            Place::Outer => Place::Outer,
            Place::NestedIn(outer) => {
                let cell = Arc::new(Cell::outer_of_others(self.outer.clone(), self.labels.of(&outer)));
                Place::NestedIn((outer, cell))
            }
        };
        let guard = self.cells.guard();
        let mut changes = self.changes_if_worth()?;
        // Nobody retires a cell while this holds the lock.
        if let Some(cell) = self.cells.get(&key, &guard) {
            return Some(cell.clone());
        }
        // Held, so that a sweep lets it be.
        let place = match place {
            Place::NestedIn((outer, new)) => Place::NestedIn((self.cells.get(&outer, &guard).cloned(), outer, new)),
            Place::Alone => Place::Alone,
            Place::Outer => Place::Outer,
        };
        // Room for both, or for neither.
        let wanted = if matches!(place, Place::NestedIn((None, ..))) { 2 } else { 1 };
        if !self.has_room(wanted, &mut changes, &guard) {
            return None;
        }
        let cell = match place {
            Place::Alone => self.new_cell(label),
            Place::Outer => Arc::new(Cell::outer_of_others(self.outer.clone(), label)),
            Place::NestedIn((Some(outer), ..)) => Cell::within(outer, self.shared.clone(), label),
            Place::NestedIn((None, key, outer)) => {
                self.cells.insert(key, outer.clone(), &guard);
                Cell::within(outer, self.shared.clone(), label)
            }
        };
        self.cells.insert(key, cell.clone(), &guard);
        Some(cell)
    }

    /// Takes the breaker of a key, and all within it, out of use.
    pub(crate) fn remove(&self, key: &K) -> Vec<Arc<Cell>> {
        let guard = self.cells.guard();
        // The keys' own code, `Eq` and `Hash`, may panic: a poisoned lock is taken all the same.
        let _changes = self.changes();
        let Some(cell) = self.cells.remove(key, &guard) else { return Vec::new() };
        cell.remove();
        let mut removed = vec![cell.clone()];
        if cell.family().is_some() {
            for (inner, cell) in self.cells.iter(&guard) {
                if matches!((self.place)(inner), Place::NestedIn(outer) if outer == *key) {
                    self.cells.remove(inner, &guard);
                    removed.push(cell.clone());
                }
            }
        }
        removed
    }

    /// All breakers of keys.
    pub(crate) fn keyed_cells(&self) -> Vec<(K, Arc<Cell>)> {
        let guard = self.cells.guard();
        let cells = self.cells.iter(&guard).map(|(key, cell)| (key.clone(), cell.clone()));
        let cells: Vec<_> = cells.collect();
        // As in `cells`, once for all.
        fence(Ordering::SeqCst);
        cells.into_iter().filter(|(_, cell)| !cell.is_gone()).collect()
    }

    /// All breakers in use.
    pub(crate) fn cells(&self) -> Vec<Arc<Cell>> {
        let guard = self.cells.guard();
        let keyed = self.cells.iter(&guard).map(|(_, cell)| cell);
        let all = self.default.get().into_iter().chain(keyed).chain(self.overflow.get());
        all.map(|cell| {
            let cell = cell.clone();
            fence(Ordering::SeqCst);
            cell
        })
        .filter(|cell| !cell.is_gone())
        .collect()
    }

    /// Whether there is room, or a sweep is due that may make some.
    fn is_worth(&self) -> bool {
        self.len() < self.shared.policy.max_partitions || self.now() >= self.next_sweep.load(Ordering::Relaxed)
    }

    /// The lock, unless it is already known that there will be no room: a flood of new keys does not queue for that.
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

    /// Forgets every partition that nothing is lost with.
    fn sweep(&self, guard: &impl Guard) {
        for (key, cell) in self.cells.iter(guard) {
            if cell.retire(|| is_alone(cell)) {
                self.cells.remove(key, guard);
            }
        }
    }

    #[cold]
    fn overflow(&self) -> Arc<Cell> {
        let calls = self.overflowed.fetch_add(1, Ordering::Relaxed) + 1;
        let cell = self.overflow_cell();
        if self.warns_now() {
            self.shared.observer.overflowed(cell, self.shared.policy.max_partitions, calls);
        }
        cell.clone()
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
    fn insert(self, key: P::Key) -> Arc<Cell> {
        let Self { registry, partition } = self;
        registry.insert(key, |key| partition.keep(key)).unwrap_or_else(|| registry.overflow())
    }
}

impl<P: Keyed> Finder<P::Key> for ForCall<'_, P> {
    type Found = Arc<Cell>;

    fn find(self, key: P::Key) -> Arc<Cell> {
        self.registry.find(&key).unwrap_or_else(|| self.insert(key))
    }

    #[inline]
    fn find_by<Q>(self, query: &Q, key: impl FnOnce() -> Option<P::Key>) -> Option<Arc<Cell>>
    where
        Q: Hash + Equivalent<P::Key> + ?Sized,
    {
        match self.registry.find(query) {
            Some(cell) => Some(cell),
            None => key().map(|key| self.insert(key)),
        }
    }
}

/// Whether nobody but the map holds it. The map lets go of what it has removed when it likes, and an inner breaker holds on
/// to its outer one until then. The holders are counted first: a wrong answer can only be that it is not alone.
fn is_alone(cell: &Arc<Cell>) -> bool {
    let others = Arc::strong_count(cell) - 1;
    others == 0 || cell.family().is_some_and(|family| family.retired() == others)
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::breaker::Mode;
    use crate::breaker::config::Settings;
    use crate::breaker::control::events::Subscribers;
    use crate::breaker::core::state_machine::Attempt;
    use crate::breaker::partition::{self, ByHeader};
    use crate::invalid_setting::valid;
    use http::HeaderValue;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(200);

    fn registry(max_partitions: usize, mode: Mode) -> Registry<HeaderValue> {
        let mut settings = Settings::default();
        valid(settings.set_max_partitions(max_partitions));
        settings.set_mode(mode);
        Registry::new(&settings, true, |_| Place::Alone, Arc::new(Subscribers::default()))
    }

    fn for_call(registry: &Registry<HeaderValue>, partition: &ByHeader, key: &HeaderValue) -> Arc<Cell> {
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
        let cells = [(); 2].map(|()| registry.insert(key.clone(), |key| key).map(|cell| Arc::as_ptr(&cell)));
        assert!(cells[0].is_some() && cells[0] == cells[1]);
    }

    #[test]
    fn a_breaker_that_is_on_its_way_out_is_neither_found_nor_listed() {
        let registry = registry(10, Mode::Automatic);
        let (by, key) = key();
        assert!(for_call(&registry, &by, &key).retire(|| true));
        assert!(registry.find(&key).is_none() && registry.cells().is_empty() && registry.keyed_cells().is_empty());
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
                    let _ = found.send((for_call(registry, by, key), registry.cells().len()));
                });
                // Whoever waits for the sweep's judgement is in order; whoever does not is caught here.
                if let Ok((cell, listed)) = is_found.recv_timeout(SHORT) {
                    assert_eq!((cell.label(), listed), ("tenant-7", 1));
                }
                false
            });
            assert!(!retired);
            if let Ok((cell, listed)) = is_found.recv_timeout(LONG) {
                assert_eq!((cell.label(), listed), ("tenant-7", 1));
            }
        });
        assert_eq!(registry.overflowed(), 0);
    }

    #[test]
    fn rule_8_a_closed_breaker_that_counts_takes_no_lock() {
        for mode in [Mode::Automatic, Mode::ObserveOnly, Mode::RejectRetriesOnly] {
            let registry = Arc::new(registry(1, mode));
            let (done, is_done) = mpsc::channel();
            let cell = registry.default_cell().clone();
            std::thread::spawn(move || {
                // While somebody has the lock.
                cell.while_locked(|| {
                    let grant = cell.acquire(Attempt::First);
                    assert!(cell.refusal(Attempt::Retry).is_none());
                    if let Ok(grant) = grant {
                        cell.settle_held(grant, None, (&crate::classify::Verdict::transient()).into());
                    }
                });
                done.send(cell.snapshot().failures)
            });
            assert_eq!(is_done.recv_timeout(LONG), Ok(1), "{mode}");
        }
    }
}
