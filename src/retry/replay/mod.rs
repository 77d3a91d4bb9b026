//! How a request is kept, so that it can be sent again.
//!
//! The constructor of the layer chooses one of three ways: [`ReplayBodies`] copies an HTTP body while the first attempt
//! sends it, [`CloneBodies`] clones an HTTP request, and [`CloneRequests`] clones a request of any type.

mod body;
mod buffer;
mod clone_bodies;
mod clone_requests;
mod frames;
mod http;
mod replay_bodies;

use std::time::Duration;

use tokio::time::Instant;

use super::observe::Origin;
use super::policy::GiveUp;
use crate::call::attempt::Attempt;
use crate::call::deadline::{AttemptDeadline, Deadline};
use crate::classify::Verdict;

pub use self::body::ReplayBody;
pub use self::clone_bodies::{CloneBodies, KeptClone};
pub use self::clone_requests::CloneRequests;
pub(in crate::retry) use self::http::Http;
pub use self::replay_bodies::{KeptRequest, ReplayBodies};
pub(in crate::retry) use self::sealed::Sealed;

/// Keeps a request for its attempts. The constructor of the layer chooses the implementation.
///
/// Sealed; implemented by [`ReplayBodies`], [`CloneBodies`] and [`CloneRequests`].
pub trait Replay<Req>: sealed::Sealed {
    /// The request type of the inner service.
    type Request;
    /// The kept request. The last attempt takes it, except for what a report needs.
    type Kept;

    /// Returns the deadline of a call: the one that its request carries, or that of the layer.
    fn deadline(&self, request: &Req, of_layer: Option<Duration>) -> Option<Deadline>;

    /// Claims the attempt of an outer layer for a request that is known to be it.
    #[doc(hidden)]
    fn claims_attempt(&self, request: &Req) -> bool;

    /// Keeps a request before its first attempt. Its body is not copied if no other attempt can follow.
    fn keep(&self, request: Req, more: bool, deadline: Option<Deadline>) -> Self::Kept;

    /// Returns the request for an attempt: a copy if another attempt can follow, else the kept request itself.
    #[doc(hidden)]
    fn request(&self, kept: &mut Option<Self::Kept>, plan: AttemptPlan) -> Self::Request;

    /// Returns true if the request may be sent again although the server may have acted on it.
    fn is_idempotent(&self, kept: &Self::Kept) -> bool;

    /// Returns true if the request has an `Idempotency-Key`: while the server acts on it, it may reject a copy.
    #[doc(hidden)]
    fn has_key(&self, kept: &Self::Kept) -> bool;

    /// Returns when an outer retry layer cuts this call. `is_limited` is true if this layer has an attempt timeout of
    /// its own.
    #[doc(hidden)]
    fn outer_limit(&self, kept: &Self::Kept, is_limited: bool) -> Option<AttemptDeadline>;

    /// Returns true if tiers above retry the call, so that this one must not repeat what may have been processed.
    fn is_retried_above(&self, kept: &Self::Kept) -> bool;

    /// Returns true if the body of the request failed. Where the body is not watched, the verdict on the error decides.
    fn has_failed(&self, kept: &Self::Kept, verdict: &Verdict) -> bool;

    /// Rewinds the body, so that the next attempt reads it from the start and the last one can no longer read it.
    ///
    /// # Errors
    ///
    /// Returns an error if the start of the body is lost, or if the body is still being sent although the answer has
    /// come.
    fn rewind(&self, kept: &Self::Kept, answered: bool) -> Result<(), GiveUp>;

    /// Returns true if a second attempt can be sent while the first is in flight: nothing of the body is still to be
    /// sent.
    #[doc(hidden)]
    fn is_complete(&self, kept: &Self::Kept) -> bool;

    /// Returns a copy of the request for such an attempt, or `None` if it is not [complete](Self::is_complete).
    #[doc(hidden)]
    fn hedge(&self, kept: &Self::Kept, plan: AttemptPlan) -> Option<Self::Request>;

    #[doc(hidden)]
    fn origin(&self, kept: &Self::Kept) -> Origin;

    /// Returns true for gRPC.
    fn is_grpc(&self) -> bool;
}

/// The parameters of the next attempt.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct AttemptPlan {
    pub(in crate::retry) attempt: Attempt,
    /// Whether the request has not been sent yet.
    pub(in crate::retry) is_first: bool,
    /// Whether another attempt can follow.
    pub(in crate::retry) more: bool,
    /// The deadline of the call.
    pub(in crate::retry) deadline: Option<Deadline>,
    /// When the attempt timeout cuts it.
    pub(in crate::retry) ends: Option<Instant>,
}

#[cold]
fn take_kept<T>(kept: &mut Option<T>) -> T {
    let Some(kept) = kept.take() else { unreachable!("the request is kept until the last attempt") };
    kept
}

mod sealed {
    use crate::retry::settings::LayerSettings;

    #[allow(unnameable_types)]
    pub trait Sealed {
        /// What cannot change while the layer is in use.
        fn settings(&self) -> LayerSettings {
            LayerSettings::default()
        }
    }
}
