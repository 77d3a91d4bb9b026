//! One breaker for every tenant, host or whatever a request tells.
//!
//! A [`Partition`] finds the key of a request. Requests without a key share the partition `(default)`; when all
//! [`max_partitions`](crate::CircuitBreakerLayer::max_partitions) are in use, new keys share `(overflow)`.
//!
//! The label of a partition, in errors and telemetry, is what [`Debug`] writes of its key: a sensitive `HeaderValue`
//! stays unseen, and [`redact_labels`](crate::CircuitBreakerLayer::redact_labels) hides the others.

use std::convert::Infallible;
use std::fmt;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Request};

/// What the keys of a partition are, known before any request is.
pub trait Keyed {
    /// Finding a partition allocates nothing if cloning its key does not.
    type Key: Hash + Eq + Clone + Debug;

    /// The key as it is kept while its partition is in use. Copies it if it would keep a larger buffer alive.
    fn keep(&self, key: Self::Key) -> Self::Key {
        key
    }
}

/// Finds the partition that a request belongs to.
///
/// Implement it, and [`Keyed`], for what [`by`] cannot say:
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
    /// The key, or nothing for the default partition.
    fn key(&self, request: &Req) -> Option<Self::Key>;
}

/// All requests share one breaker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unpartitioned;

/// One breaker a value of a header: see [`header`].
#[derive(Clone, Debug)]
pub struct ByHeader(HeaderName);

/// One breaker a host: see [`host`].
#[derive(Clone, Copy, Debug)]
pub struct ByHost;

/// One breaker a value in the extensions: see [`extension`].
pub struct ByExtension<T>(PhantomData<fn() -> T>);

/// One breaker a key that a closure tells: see [`by`].
#[derive(Clone, Copy)]
pub struct By<F, K>(F, PhantomData<fn() -> K>);

/// One breaker a key that a closure may tell: see [`by_optional`].
#[derive(Clone, Copy)]
pub struct ByOptional<F, K>(F, PhantomData<fn() -> K>);

/// One breaker for each value of this header; any bytes that a header can hold make a key.
///
/// Errors and telemetry show the value. If it is a credential, such as an API key, say
/// [`redact_labels`](crate::CircuitBreakerLayer::redact_labels).
///
/// # Panics
///
/// If this is not the name of a header.
#[must_use]
pub fn header(name: &str) -> ByHeader {
    match HeaderName::try_from(name) {
        Ok(name) => ByHeader(name),
        Err(_) => panic!("partition::header: {name:?} is not the name of a header"),
    }
}

/// One breaker for each host and port, from the request's URI, else from its `Host` header. Letter case makes no
/// difference, and neither do a user and a password in front of the host, which no label shows.
#[must_use]
pub fn host() -> ByHost {
    ByHost
}

/// One breaker for each value of this type in the request's extensions.
#[must_use]
pub fn extension<T>() -> ByExtension<T> {
    ByExtension(PhantomData)
}

/// One breaker for each key that the closure tells. Needs no HTTP.
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

/// As [`by`], for a closure that does not find a key in every request.
#[must_use]
pub fn by_optional<F, Req, K>(key: F) -> ByOptional<F, K>
where
    F: Fn(&Req) -> Option<K>,
{
    ByOptional(key, PhantomData)
}

impl Keyed for Unpartitioned {
    type Key = Infallible;
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
}

impl Keyed for ByHost {
    type Key = Authority;

    /// An authority can be a slice of the whole URI.
    fn keep(&self, key: Authority) -> Authority {
        Authority::try_from(key.as_str()).unwrap_or(key)
    }
}

impl<B> Partition<Request<B>> for ByHost {
    fn key(&self, request: &Request<B>) -> Option<Authority> {
        let authority = match request.uri().authority() {
            Some(authority) => authority.clone(),
            None => Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok()?,
        };
        // Credentials are not for labels. Only who still writes them into a URI (RFC 3986 section 3.2.1) pays for this.
        match authority.as_str().rsplit_once('@') {
            None => Some(authority),
            Some((_, host)) => Authority::try_from(host).ok(),
        }
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
