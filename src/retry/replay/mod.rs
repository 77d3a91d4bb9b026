mod body;
mod buffer;
mod clone_bodies;
mod clone_requests;
mod grpc_timeout;
mod http;
mod replay_bodies;

use std::time::Duration;

use tokio::time::Instant;

use super::observe::Origin;
use super::policy::GiveUp;
use crate::attempt::Attempt;
use crate::classify::Verdict;
use crate::deadline::Deadline;

pub use self::body::ReplayBody;
pub use self::clone_bodies::{CloneBodies, KeptClone};
pub use self::clone_requests::CloneRequests;
pub(in crate::retry) use self::http::Http;
pub use self::replay_bodies::{KeptRequest, ReplayBodies};

/// How a request is kept for its attempts: chosen by the constructor of the layer.
///
/// Sealed: [`ReplayBodies`], [`CloneBodies`] and [`CloneRequests`] are the ways there are.
pub trait Replay<Req>: sealed::Sealed {
    /// What the inner service is called with.
    type Request;
    /// What the attempts are made of. Of the last one only what a report needs is kept.
    type Kept;

    /// The deadline of a call: the one that its request carries, or that of the layer.
    fn deadline(&self, request: &Req, of_layer: Option<Duration>) -> Option<Deadline>;

    /// When another retry layer outside cuts the attempt of its own that the request is.
    #[doc(hidden)]
    fn outer_attempt_ends(&self, request: &Req) -> Option<Instant>;

    /// Keeps a request from before its first attempt. Nothing of its body is kept if there will be no other.
    fn keep(&self, request: Req, more: bool, deadline: Option<Deadline>) -> Self::Kept;

    /// The request for an attempt: a copy of what is kept if there may be another attempt, else what is kept itself.
    #[doc(hidden)]
    fn request(&self, kept: &mut Option<Self::Kept>, plan: AttemptPlan) -> Self::Request;

    /// Whether the request may be sent again although the server may have acted on it.
    fn is_idempotent(&self, kept: &Self::Kept) -> bool;

    /// Whether the body of the request has failed, as far as it was watched or the verdict on the error tells.
    fn has_failed(&self, kept: &Self::Kept, verdict: &Verdict) -> bool;

    /// Takes the body from the attempt that had it, so that the next one can read it from the start.
    ///
    /// # Errors
    ///
    /// If the body cannot be read from the start, or is still being sent although the answer is there.
    fn rewind(&self, kept: &Self::Kept, answered: bool) -> Result<(), GiveUp>;

    #[doc(hidden)]
    fn origin(&self, kept: &Self::Kept) -> Origin;

    /// Whether the calls are those of gRPC.
    fn is_grpc(&self) -> bool;
}

/// What the next attempt of a call is like.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct AttemptPlan {
    pub(in crate::retry) attempt: Attempt,
    /// Whether another may follow.
    pub(in crate::retry) more: bool,
    /// When the deadline of the call cuts it.
    pub(in crate::retry) deadline: Option<Deadline>,
    /// When the attempt timeout cuts it, or that of a layer further outside.
    pub(in crate::retry) ends: Option<Instant>,
}

#[cold]
fn take_kept<T>(kept: &mut Option<T>) -> T {
    let Some(kept) = kept.take() else { unreachable!("what an attempt is made of stays until the last one") };
    kept
}

mod sealed {
    #[allow(unnameable_types)]
    pub trait Sealed {}
}
