//! Partitions: one breaker, or one [budget](crate::RetryLayer::budget_by), for each tenant, host or other key of a
//! request.
//!
//! A [`Partition`] finds the key of a request. Requests without a key share the partition `(default)`; when all
//! [`max_partitions`](crate::CircuitBreakerLayer::max_partitions) are in use, new keys share `(overflow-0)` to
//! `(overflow-15)`, each key always the same one.
//!
//! The label of a breaker's partition, in errors and telemetry, is what [`Debug`] writes of its key: a sensitive
//! `HeaderValue` stays unseen, and [`redact_labels`](crate::CircuitBreakerLayer::redact_labels) hides the others. It is
//! cut after 64 characters, with an ellipsis as the mark. A host is written in lower case. A key that spells a label of
//! our own, such as `(default)`, is written in quotes.
//!
//! # Long keys
//!
//! A key that feeds more than 256 bytes, or more than 256 lengths and variants, to its [`Hash`] is not kept. A digest
//! of 128 bits of what it feeds stands for it, keyed at random, so that partitions take little memory whatever callers
//! send. Two given long keys share a digest, and so a breaker or a budget, with a probability of 2<sup>-128</sup>; that
//! any two of four billion do, about 2<sup>-65</sup>.
//!
//! This holds for keys of any type: text, bytes, tuples and types that derive `Hash`. A type with a `Hash` of its own
//! must feed it all that its `Eq` compares, if that is long. What a key owns and does not feed to its hash is kept.

mod host;
mod keyed;
mod nested;

use std::convert::Infallible;
use std::fmt;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use http::{HeaderName, HeaderValue, Request};

pub use self::host::{ByHost, Host, host};
pub use self::keyed::{Finder, Keyed, Partition, Place};
pub use self::nested::{Nested, NestedIn};
use crate::settings::invalid_setting::{InvalidSetting, valid};

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
        Some(finder.find(value).unwrap_or_else(|| finder.insert(|| value.clone())))
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
        Some(finder.find(value).unwrap_or_else(|| finder.insert(|| value.clone())))
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
