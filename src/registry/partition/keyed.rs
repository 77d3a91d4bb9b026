use std::fmt::Debug;
use std::hash::Hash;

use papaya::Equivalent;

/// The type of a partition's keys, known before any request.
pub trait Keyed {
    /// Finding a partition allocates nothing if cloning its key does not.
    type Key: Hash + Eq + Clone + Debug;

    /// The key as it is kept while its partition is in use. Copies it if it would keep a larger buffer alive.
    fn keep(&self, key: Self::Key) -> Self::Key {
        key
    }

    /// Whether there can be any key.
    #[doc(hidden)]
    fn is_partitioned() -> bool
    where
        Self: Sized,
    {
        true
    }

    /// Whether the breaker of a key is nested in another.
    #[doc(hidden)]
    fn place(key: &Self::Key) -> Place<Self::Key>
    where
        Self: Sized,
    {
        let _ = key;
        Place::Alone
    }
}

/// The place of a key among others.
#[doc(hidden)]
#[derive(Debug)]
pub enum Place<K> {
    Alone,
    /// Around others.
    Outer,
    NestedIn(K),
}

/// Finds the partition that a request belongs to.
///
/// Implement it, and [`Keyed`], for what [`by`](super::by) cannot express:
///
/// ```
/// use tower_rampart::breaker::partition::{Keyed, Partition};
///
/// struct Query { shard: u16 }
///
/// #[derive(Clone)]
/// struct ByShard;
///
/// impl Keyed for ByShard {
///     type Key = u16;
/// }
///
/// impl Partition<Query> for ByShard {
///     fn key(&self, query: &Query) -> Option<u16> {
///         Some(query.shard)
///     }
/// }
/// ```
pub trait Partition<Req>: Keyed {
    /// Returns the key, or `None` for the default partition.
    fn key(&self, request: &Req) -> Option<Self::Key>;

    /// Finds the breaker without cloning the key.
    #[doc(hidden)]
    fn find<F: Finder<Self::Key>>(&self, request: &Req, finder: &F) -> Option<F::Found>
    where
        Self: Sized,
    {
        let key = self.key(request)?;
        Some(finder.find(&key).unwrap_or_else(|| finder.insert(|| key)))
    }

    /// Whether the request repeats an earlier one. Asked only in the mode
    /// [`RejectRetriesOnly`](crate::breaker::Mode::RejectRetriesOnly). What a [`RetryLayer`](crate::RetryLayer) further
    /// outside repeats over HTTP is known without it: see [`HttpRequests`](crate::breaker::HttpRequests).
    fn is_retry(&self, request: &Req) -> bool {
        let _ = request;
        false
    }
}

/// Finds a breaker by its key.
#[doc(hidden)]
pub trait Finder<K> {
    type Found;

    /// Finds it by a borrowed form of the key, if it is there.
    fn find<Q>(&self, query: &Q) -> Option<Self::Found>
    where
        Q: Hash + Equivalent<K> + ?Sized;

    /// Makes one for this key, which is asked for only then.
    fn insert(&self, key: impl FnOnce() -> K) -> Self::Found;
}
