use std::fmt;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use papaya::Equivalent;

use super::{Finder, Keyed, Partition, Place};
use crate::registry::label::{DEFAULT, bare};

/// One breaker for each key within each key of another: see [`nested_in`](crate::CircuitBreakerLayer::nested_in).
#[derive(Clone, Debug)]
pub struct NestedIn<P, Q> {
    pub(crate) inner: P,
    pub(crate) outer: Q,
}

/// The key of partitions [nested](crate::CircuitBreakerLayer::nested_in) in others. No other variant will be added.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Nested<O, I> {
    /// The outer breaker of this key.
    Outer(O),
    /// The inner breaker of the second key, or of requests without one, within the first.
    Inner(O, Option<I>),
    /// The breaker of requests without an outer key.
    Alone(I),
}

/// A nested key by its parts, where they lie in the request.
#[derive(Hash)]
struct ByParts<'a, A: ?Sized, B: ?Sized>(Nested<&'a A, &'a B>);

/// Finds the breaker of a request that has an outer key.
struct ByOuter<'a, P, Req, F> {
    partition: &'a P,
    request: &'a Req,
    finder: &'a F,
}

/// Finds the breaker of an inner key within an outer one. Inserts none, because it has the outer key by reference only.
struct Within<'a, O, A: ?Sized, F> {
    outer: &'a A,
    finder: &'a F,
    key: PhantomData<fn(O)>,
}

/// Finds the breaker of a request without an outer key.
struct Alone<'a, O, F>(&'a F, PhantomData<fn(O)>);

impl<P: Keyed, Q: Keyed> Keyed for NestedIn<P, Q> {
    type Key = Nested<Q::Key, P::Key>;

    fn keep(&self, key: Self::Key) -> Self::Key {
        match key {
            Nested::Outer(outer) => Nested::Outer(self.outer.keep(outer)),
            Nested::Inner(outer, inner) => {
                Nested::Inner(self.outer.keep(outer), inner.map(|inner| self.inner.keep(inner)))
            }
            Nested::Alone(inner) => Nested::Alone(self.inner.keep(inner)),
        }
    }

    fn place(key: &Self::Key) -> Place<Self::Key> {
        match key {
            Nested::Outer(_) => Place::Outer,
            Nested::Inner(outer, _) => Place::NestedIn(Nested::Outer(outer.clone())),
            Nested::Alone(_) => Place::Alone,
        }
    }
}

impl<Req, P: Partition<Req>, Q: Partition<Req>> Partition<Req> for NestedIn<P, Q> {
    fn key(&self, request: &Req) -> Option<Self::Key> {
        match (self.outer.key(request), self.inner.key(request)) {
            (Some(outer), inner) => Some(Nested::Inner(outer, inner)),
            (None, Some(inner)) => Some(Nested::Alone(inner)),
            (None, None) => None,
        }
    }

    #[inline]
    fn find<F: Finder<Self::Key>>(&self, request: &Req, finder: &F) -> Option<F::Found> {
        let nested = ByOuter { partition: self, request, finder };
        self.outer.find(request, &nested).or_else(|| self.inner.find(request, &Alone(finder, PhantomData)))
    }

    fn is_retry(&self, request: &Req) -> bool {
        self.inner.is_retry(request)
    }
}

/// As it is shown in labels: `outer/inner`.
impl<O: Debug, I: Debug> Debug for Nested<O, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outer(outer) => f.write_str(&bare(&format!("{outer:?}"))),
            Self::Inner(outer, None) => write!(f, "{}/{DEFAULT}", bare(&format!("{outer:?}"))),
            Self::Inner(outer, Some(inner)) => {
                write!(f, "{}/{}", bare(&format!("{outer:?}")), bare(&format!("{inner:?}")))
            }
            Self::Alone(inner) => write!(f, "/{}", bare(&format!("{inner:?}"))),
        }
    }
}

impl<Req, P, Q, F> Finder<Q::Key> for ByOuter<'_, NestedIn<P, Q>, Req, F>
where
    P: Partition<Req>,
    Q: Partition<Req>,
    F: Finder<Nested<Q::Key, P::Key>>,
{
    type Found = F::Found;

    #[inline]
    fn find<A>(&self, outer: &A) -> Option<F::Found>
    where
        A: Hash + Equivalent<Q::Key> + ?Sized,
    {
        let Self { partition, request, finder } = *self;
        match partition.inner.find(request, &Within { outer, finder, key: PhantomData }) {
            Some(found) => found,
            None => finder.find(&ByParts::<A, P::Key>(Nested::Inner(outer, None))),
        }
    }

    fn insert(&self, outer: impl FnOnce() -> Q::Key) -> F::Found {
        self.finder.insert(|| Nested::Inner(outer(), self.partition.inner.key(self.request)))
    }
}

impl<O, I, A, F> Finder<I> for Within<'_, O, A, F>
where
    A: Hash + Equivalent<O> + ?Sized,
    F: Finder<Nested<O, I>>,
    I: Hash + Eq,
{
    /// Nothing if there is an inner key without a breaker.
    type Found = Option<F::Found>;

    #[inline]
    fn find<B>(&self, inner: &B) -> Option<Option<F::Found>>
    where
        B: Hash + Equivalent<I> + ?Sized,
    {
        self.finder.find(&ByParts(Nested::Inner(self.outer, Some(inner)))).map(Some)
    }

    fn insert(&self, _: impl FnOnce() -> I) -> Option<F::Found> {
        None
    }
}

impl<O: Hash + Eq, I, F: Finder<Nested<O, I>>> Finder<I> for Alone<'_, O, F> {
    type Found = F::Found;

    fn find<B>(&self, inner: &B) -> Option<F::Found>
    where
        B: Hash + Equivalent<I> + ?Sized,
    {
        self.0.find(&ByParts::<O, B>(Nested::Alone(inner)))
    }

    fn insert(&self, inner: impl FnOnce() -> I) -> F::Found {
        self.0.insert(|| Nested::Alone(inner()))
    }
}

impl<A: Equivalent<O> + ?Sized, B: Equivalent<I> + ?Sized, O, I> Equivalent<Nested<O, I>> for ByParts<'_, A, B> {
    #[inline]
    fn equivalent(&self, key: &Nested<O, I>) -> bool {
        match (&self.0, key) {
            (Nested::Inner(outer, None), Nested::Inner(key, None)) => outer.equivalent(key),
            (Nested::Inner(outer, Some(inner)), Nested::Inner(key, Some(inner_key))) => {
                inner.equivalent(inner_key) && outer.equivalent(key)
            }
            (Nested::Alone(inner), Nested::Alone(key)) => inner.equivalent(key),
            _ => false,
        }
    }
}
