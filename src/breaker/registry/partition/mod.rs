//! Partitions: one breaker for each tenant, host or other key of a request.
//!
//! A [`Partition`] finds the key of a request. Requests without a key share the partition `(default)`; when all
//! [`max_partitions`](crate::CircuitBreakerLayer::max_partitions) are in use, new keys share `(overflow-0)` to
//! `(overflow-15)`, each key always the same one.
//!
//! The label of a partition, in errors and telemetry, is what [`Debug`] writes of its key: a sensitive `HeaderValue`
//! stays unseen, and [`redact_labels`](crate::CircuitBreakerLayer::redact_labels) hides the others. It is cut after 64
//! characters, with an ellipsis as the mark. A host is written in lower case. A key that spells a label of our own, such
//! as `(default)`, is written in quotes.
//!
//! # Long keys
//!
//! A key that feeds more than 256 bytes to its [`Hash`] is not kept. A digest of 128 bits of what it feeds stands for it,
//! keyed at random, so that partitions take little memory whatever callers send. Two given long keys share a digest, and
//! so a breaker, with a probability of 2<sup>-128</sup>; that any two of four billion do, about 2<sup>-65</sup>.
//!
//! This holds for keys of any type: text, bytes, tuples and types that derive `Hash`. A type with a `Hash` of its own
//! must feed it all that its `Eq` compares, if that is long. What a key owns and does not feed to its hash is kept.

mod host;
mod nested;

use std::convert::Infallible;
use std::fmt;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use http::{HeaderName, HeaderValue, Request};
use papaya::Equivalent;

pub use self::host::{ByHost, Host, host};
pub use self::nested::{Nested, NestedIn};
use crate::invalid_setting::{InvalidSetting, valid};

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
/// Implement it, and [`Keyed`], for what [`by`] cannot express:
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
        Some(finder.find(&key).unwrap_or_else(|| finder.insert(key)))
    }

    /// Whether the request repeats an earlier one. Asked only in the mode [`RejectRetriesOnly`](crate::breaker::Mode::RejectRetriesOnly). What
    /// a [`RetryLayer`](crate::RetryLayer) further outside repeats over HTTP is known without it: see
    /// [`HttpRequests`](crate::breaker::HttpRequests).
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

    fn insert(&self, key: K) -> Self::Found;
}

/// All requests share one breaker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unpartitioned;

/// One breaker for each value of a header: see [`header`].
#[derive(Clone, Debug)]
pub struct ByHeader(HeaderName);

/// One breaker for each value in the extensions: see [`extension`].
pub struct ByExtension<T>(PhantomData<fn() -> T>);

/// One breaker for each key that a closure returns: see [`by`].
#[derive(Clone, Copy)]
pub struct By<F, K>(F, PhantomData<fn() -> K>);

/// One breaker for each key that a closure may return: see [`by_optional`].
#[derive(Clone, Copy)]
pub struct ByOptional<F, K>(F, PhantomData<fn() -> K>);

/// One breaker for each value of this header; any bytes that a header can hold make a key.
///
/// Errors and telemetry show the value. If it is a credential, such as an API key, set
/// [`redact_labels`](crate::CircuitBreakerLayer::redact_labels).
///
/// # Panics
///
/// If this is not the name of a header.
#[must_use]
#[track_caller]
pub fn header(name: &str) -> ByHeader {
    valid(try_header(name))
}

/// [`header`], with an error in place of a panic.
pub fn try_header(name: &str) -> Result<ByHeader, InvalidSetting> {
    match HeaderName::try_from(name) {
        Ok(name) => Ok(ByHeader(name)),
        Err(_) => Err(InvalidSetting::new(format!("partition::header: {name:?} is not the name of a header"))),
    }
}

/// One breaker for each value of this type in the request's extensions.
#[must_use]
pub fn extension<T>() -> ByExtension<T> {
    ByExtension(PhantomData)
}

/// One breaker for each key that the closure returns. Needs no HTTP.
///
/// ```
/// use tower_rampart::CircuitBreakerLayer;
/// use tower_rampart::breaker::partition;
///
/// let by_path = CircuitBreakerLayer::new_for_http()
///     .partition_by(partition::by(|request: &http::Request<String>| request.uri().path().len()));
/// # let _ = by_path;
/// ```
#[must_use]
pub fn by<F, Req, K>(key: F) -> By<F, K>
where
    F: Fn(&Req) -> K,
{
    By(key, PhantomData)
}

/// Like [`by`], for a closure that does not find a key in every request.
#[must_use]
pub fn by_optional<F, Req, K>(key: F) -> ByOptional<F, K>
where
    F: Fn(&Req) -> Option<K>,
{
    ByOptional(key, PhantomData)
}

impl Keyed for Unpartitioned {
    type Key = Infallible;

    fn is_partitioned() -> bool {
        false
    }
}

impl<Req> Partition<Req> for Unpartitioned {
    fn key(&self, _: &Req) -> Option<Infallible> {
        None
    }
}

impl Keyed for ByHeader {
    type Key = HeaderValue;

    /// A value can be a slice of the whole head that it came in with.
    fn keep(&self, key: HeaderValue) -> HeaderValue {
        match HeaderValue::from_bytes(key.as_bytes()) {
            Ok(mut copy) => {
                copy.set_sensitive(key.is_sensitive());
                copy
            }
            Err(_) => key,
        }
    }
}

impl<B> Partition<Request<B>> for ByHeader {
    fn key(&self, request: &Request<B>) -> Option<HeaderValue> {
        request.headers().get(&self.0).cloned()
    }

    #[inline]
    fn find<F: Finder<HeaderValue>>(&self, request: &Request<B>, finder: &F) -> Option<F::Found> {
        let value = request.headers().get(&self.0)?;
        Some(finder.find(value).unwrap_or_else(|| finder.insert(value.clone())))
    }
}

impl<T: Hash + Eq + Clone + Debug> Keyed for ByExtension<T> {
    type Key = T;
}

impl<B, T> Partition<Request<B>> for ByExtension<T>
where
    T: Hash + Eq + Clone + Debug + Send + Sync + 'static,
{
    fn key(&self, request: &Request<B>) -> Option<T> {
        request.extensions().get::<T>().cloned()
    }

    #[inline]
    fn find<F: Finder<T>>(&self, request: &Request<B>, finder: &F) -> Option<F::Found> {
        let value = request.extensions().get::<T>()?;
        Some(finder.find(value).unwrap_or_else(|| finder.insert(value.clone())))
    }
}

impl<F, K: Hash + Eq + Clone + Debug> Keyed for By<F, K> {
    type Key = K;
}

impl<F, Req, K> Partition<Req> for By<F, K>
where
    F: Fn(&Req) -> K,
    K: Hash + Eq + Clone + Debug,
{
    fn key(&self, request: &Req) -> Option<K> {
        Some(self.0(request))
    }
}

impl<F, K: Hash + Eq + Clone + Debug> Keyed for ByOptional<F, K> {
    type Key = K;
}

impl<F, Req, K> Partition<Req> for ByOptional<F, K>
where
    F: Fn(&Req) -> Option<K>,
    K: Hash + Eq + Clone + Debug,
{
    fn key(&self, request: &Req) -> Option<K> {
        self.0(request)
    }
}

impl<T> Clone for ByExtension<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T> Debug for ByExtension<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByExtension({})", std::any::type_name::<T>())
    }
}

impl<F, K> Debug for By<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("By(..)")
    }
}

impl<F, K> Debug for ByOptional<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByOptional(..)")
    }
}
