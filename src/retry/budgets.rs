use std::hash::Hash;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::{fmt, mem};

use papaya::Equivalent;

use super::observe::trace_overflow;
use super::policy::{Bucket, Budget, Kind, Source};
use crate::clock::Clock;
use crate::registry::partition::{Finder, Keyed, Partition, Unpartitioned};
use crate::registry::{MAX_PARTITIONS, Registry};
use crate::seed::Seed;
use crate::settings::invalid_setting::{InvalidSetting, ensure};

/// Finds the budget of a call: that of its key, or the one of the settings.
pub(super) struct Budgets<Partition: Keyed> {
    partition: Partition,
    max_partitions: usize,
    /// Shared by all clones of the layer. `None` if all calls share the budget of the settings.
    by_key: Option<Arc<Registry<Partition::Key, Bucket>>>,
}

/// Finds the bucket for a call: that of its key, or an overflow bucket if there is no room.
struct ForCall<'a, P: Keyed> {
    partition: &'a P,
    registry: &'a Registry<P::Key, Bucket>,
    /// What new buckets are like.
    kind: &'a Kind,
    /// Of the layer.
    name: &'a str,
}

/// The bucket of one call, if it does not share the budget of the settings. Calls of a layer without partitions have
/// none, so they neither write nor drop anything.
pub(super) struct CallBucket<Partition: Keyed> {
    bucket: ManuallyDrop<Option<Arc<Bucket>>>,
    partition: PhantomData<fn() -> Partition>,
}

impl Budgets<Unpartitioned> {
    pub(super) fn one() -> Self {
        Self { partition: Unpartitioned, max_partitions: MAX_PARTITIONS, by_key: None }
    }
}

impl<PartitionT: Keyed> Budgets<PartitionT> {
    pub(super) fn partition_by<Other: Keyed>(self, partition: Other) -> Budgets<Other> {
        Budgets { partition, max_partitions: self.max_partitions, by_key: None }.renewed()
    }

    pub(super) fn try_max_partitions(self, max_partitions: usize) -> Result<Self, InvalidSetting> {
        ensure!(max_partitions >= 1, "retry: max_partitions must be at least 1, but is {max_partitions}");
        Ok(Self { max_partitions, ..self }.renewed())
    }

    /// Begins with no buckets, so that all are made by the settings of now. Clones of the layer keep theirs.
    pub(super) fn renewed(self) -> Self {
        let new = || Arc::new(Registry::new(self.max_partitions, Seed::default(), Clock::start()));
        Self { by_key: PartitionT::is_partitioned().then(new), ..self }
    }

    pub(super) fn max_partitions(&self) -> usize {
        self.max_partitions
    }

    /// The buckets of keys, if each has its own.
    pub(super) fn by_key(&self) -> Option<Arc<Registry<PartitionT::Key, Bucket>>> {
        self.by_key.clone()
    }

    /// Returns what is left of the budget of a key, if it has one of its own.
    pub(super) fn balance(&self, key: &PartitionT::Key) -> Option<f64> {
        Some(self.by_key.as_deref()?.find(key)?.kind().balance())
    }

    /// Finds the bucket of a call.
    #[inline]
    pub(super) fn of_call<Req>(&self, request: &Req, budget: &Budget, name: &str) -> CallBucket<PartitionT>
    where
        PartitionT: Partition<Req>,
    {
        let bucket = if PartitionT::is_partitioned() { self.find(request, budget, name) } else { None };
        CallBucket { bucket: ManuallyDrop::new(bucket), partition: PhantomData }
    }

    fn find<Req>(&self, request: &Req, budget: &Budget, name: &str) -> Option<Arc<Bucket>>
    where
        PartitionT: Partition<Req>,
    {
        let Self { partition, max_partitions: _, by_key } = self;
        // What is unlimited for one is unlimited for each.
        let (registry, kind) = (by_key.as_deref()?, budget.kind()?);
        let bucket = partition.find(request, &ForCall { partition, registry, kind, name })?;
        bucket.touch();
        Some(bucket)
    }
}

impl CallBucket<Unpartitioned> {
    pub(super) fn none() -> Self {
        Self { bucket: ManuallyDrop::new(None), partition: PhantomData }
    }
}

impl<PartitionT: Keyed> CallBucket<PartitionT> {
    /// Returns the budget of the call, which may be the shared one. `None` if it is unlimited.
    #[inline]
    pub(super) fn or<'a>(&'a self, shared: &'a Budget) -> Option<&'a Kind> {
        match self.bucket.as_deref() {
            Some(bucket) if PartitionT::is_partitioned() => Some(bucket.kind()),
            _ => shared.kind(),
        }
    }
}

impl<PartitionT: Keyed> CallBucket<PartitionT> {
    /// As [`or`](Self::or), for a token that outlives the borrow.
    pub(super) fn source(&self, shared: &Budget) -> Source {
        match self.bucket.as_ref() {
            Some(bucket) => Source::OfKey(Arc::clone(bucket)),
            None => Source::Shared(shared.clone()),
        }
    }
}

impl<Partition: Keyed> Drop for CallBucket<Partition> {
    #[inline]
    fn drop(&mut self) {
        if Partition::is_partitioned() {
            drop(ManuallyDrop::into_inner(mem::take(&mut self.bucket)));
        }
    }
}

impl<P: Keyed> ForCall<'_, P> {
    /// Returns the bucket of a key, and makes it if there is room, else the hash of the key.
    fn get_or_insert(&self, key: P::Key) -> Result<Arc<Bucket>, u32> {
        let guard = self.registry.guard();
        if !self.registry.may_have_room(&guard) {
            // Another call may have inserted it since this one looked.
            return self.registry.find(&key).ok_or_else(|| self.registry.hash(&key));
        }
        // Of the key's own code, only `Eq` runs under the lock, and `Clone` when an eviction is taken back.
        let slot = self.registry.slot(self.partition.keep(key));
        let mut locked = self.registry.lock(&guard);
        match locked.node_of(&slot) {
            Some(bucket) => Ok(bucket),
            None if locked.has_room(1) => Ok(locked.add(slot, self.new_bucket())),
            None => Err(slot.hash()),
        }
    }

    fn overflow(&self, hash: u32) -> Arc<Bucket> {
        if let Some(calls) = self.registry.count_overflow() {
            trace_overflow(self.name, self.registry.max(), calls);
        }
        self.registry.overflow_node(hash, |_| self.new_bucket()).clone()
    }

    fn new_bucket(&self) -> Arc<Bucket> {
        Arc::new(Bucket::new(self.kind.renewed()))
    }
}

impl<P: Keyed> Finder<P::Key> for ForCall<'_, P> {
    type Found = Arc<Bucket>;

    #[inline]
    fn find<Q>(&self, query: &Q) -> Option<Arc<Bucket>>
    where
        Q: Hash + Equivalent<P::Key> + ?Sized,
    {
        self.registry.find(query)
    }

    #[cold]
    fn insert(&self, key: impl FnOnce() -> P::Key) -> Arc<Bucket> {
        self.get_or_insert(key()).unwrap_or_else(|hash| self.overflow(hash))
    }
}

// Not derived: a derive would require the keys to be `Clone` and `Debug`.
impl<PartitionT: Keyed + Clone> Clone for Budgets<PartitionT> {
    fn clone(&self) -> Self {
        let Self { partition, max_partitions, by_key } = self;
        Self { partition: partition.clone(), max_partitions: *max_partitions, by_key: by_key.clone() }
    }
}

impl<PartitionT: Keyed> fmt::Debug for Budgets<PartitionT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets").field("max_partitions", &self.max_partitions).finish_non_exhaustive()
    }
}
