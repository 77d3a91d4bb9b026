use crate::attempt::Attempt;
use crate::deadline::{self, Deadline};

/// What a circuit breaker reads from a request beside its key.
///
/// Implemented by [`HttpRequests`] and [`AnyRequests`]; the constructor of the
/// [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) chooses. Sealed: what else a request tells may be added.
pub trait Requests<Req>: sealed::Sealed {
    /// Whether an earlier attempt of the same call failed.
    #[doc(hidden)]
    fn is_retry(&self, request: &Req) -> bool;

    /// When a layer further outside will cut this call.
    #[doc(hidden)]
    fn deadline(&self, request: &Req) -> Option<Deadline>;
}

/// Reads the [`Attempt`], the [`Deadline`] and the [`AttemptDeadline`](crate::retry::AttemptDeadline) that a [`RetryLayer`](crate::RetryLayer) further outside leaves in the
/// extensions of an HTTP request.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpRequests;

/// Reads nothing, and so takes requests of every type.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyRequests;

impl<B> Requests<http::Request<B>> for HttpRequests {
    #[inline]
    fn is_retry(&self, request: &http::Request<B>) -> bool {
        Attempt::of(request).is_retry()
    }

    #[inline]
    fn deadline(&self, request: &http::Request<B>) -> Option<Deadline> {
        deadline::earliest(request.extensions())
    }
}

impl<Req> Requests<Req> for AnyRequests {
    #[inline]
    fn is_retry(&self, _: &Req) -> bool {
        false
    }

    #[inline]
    fn deadline(&self, _: &Req) -> Option<Deadline> {
        None
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::HttpRequests {}
    impl Sealed for super::AnyRequests {}
}
