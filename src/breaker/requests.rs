use crate::call::attempt::Attempt;
use crate::call::cut;
use crate::call::deadline::{self, Deadline};

/// What a circuit breaker reads from a request beside its key.
///
/// Implemented by [`HttpRequests`] and [`AnyRequests`]; the constructor of the
/// [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) chooses. Sealed, so that methods can be added.
pub trait Requests<Req>: sealed::Sealed {
    /// Whether an earlier attempt of the same call failed.
    #[doc(hidden)]
    fn is_retry(&self, request: &Req) -> bool;

    /// When a layer further outside will cut this call.
    #[doc(hidden)]
    fn deadline(&self, request: &Req) -> Option<Deadline>;

    /// Claims the attempt of a retry layer further outside for a request that is known to be it.
    #[doc(hidden)]
    fn claims_attempt(&self, request: &Req) -> bool;
}

/// Reads the [`Attempt`], the [`Deadline`] and the [`AttemptDeadline`](crate::retry::AttemptDeadline) that a
/// [`RetryLayer`](crate::RetryLayer) further outside leaves in the extensions of an HTTP request.
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

    fn claims_attempt(&self, request: &http::Request<B>) -> bool {
        cut::claim_attempt(request.extensions())
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

    fn claims_attempt(&self, _: &Req) -> bool {
        false
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::HttpRequests {}
    impl Sealed for super::AnyRequests {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use tokio::time::Instant;

    use super::*;
    use crate::retry::AttemptDeadline;

    #[test]
    fn rule_3_a_call_is_cut_at_the_earlier_of_its_limits() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        for (call, attempt, cut) in [
            (None, None, None),
            (Some(1), None, Some(1)),
            (None, Some(2), Some(2)),
            (Some(1), Some(2), Some(1)),
            (Some(2), Some(1), Some(1)),
        ] {
            let mut request = Request::new(());
            call.map(|seconds| request.extensions_mut().insert(Deadline::at(at(seconds))));
            attempt.map(|seconds| request.extensions_mut().insert(AttemptDeadline::at(at(seconds))));
            let deadline = HttpRequests.deadline(&request);
            assert_eq!(deadline.map(Deadline::instant), cut.map(at), "{call:?}, {attempt:?}");
        }
    }
}
