use std::time::Duration;

use super::sealed::Sealed;
use super::{AttemptPlan, Replay, take_kept};
use crate::call::deadline::{AttemptDeadline, Deadline};
use crate::classify::Verdict;
use crate::retry::observe::{Origin, Report, RetryReport};
use crate::retry::policy::{AlwaysIdempotent, GiveUp, Idempotency};

/// Keeps a request by cloning it.
#[derive(Clone, Debug)]
pub struct CloneRequests<Idempotency = AlwaysIdempotent> {
    pub(in crate::retry) idempotency: Idempotency,
}

impl<Idempotency> Sealed for CloneRequests<Idempotency> {}

impl<Req, IdempotencyT> Replay<Req> for CloneRequests<IdempotencyT>
where
    Req: Clone,
    IdempotencyT: Idempotency<Req>,
{
    type Request = Req;
    type Kept = Req;

    fn deadline(&self, _: &Req, of_layer: Option<Duration>) -> Option<Deadline> {
        of_layer.map(Deadline::within)
    }

    fn claims_attempt(&self, _: &Req) -> bool {
        false
    }

    #[inline]
    fn keep(&self, request: Req, _: bool, _: Option<Deadline>) -> Req {
        request
    }

    #[inline]
    fn request(&self, kept: &mut Option<Req>, plan: AttemptPlan) -> Req {
        match kept {
            Some(request) if plan.more => request.clone(),
            _ => take_kept(kept),
        }
    }

    fn is_idempotent(&self, kept: &Req) -> bool {
        self.idempotency.is_idempotent(kept)
    }

    fn has_key(&self, _: &Req) -> bool {
        false
    }

    fn outer_limit(&self, _: &Req, _: bool) -> Option<AttemptDeadline> {
        None
    }

    fn is_retried_above(&self, _: &Req) -> bool {
        false
    }

    fn has_failed(&self, _: &Req, _: &Verdict) -> bool {
        false
    }

    fn rewind(&self, _: &Req, _: bool) -> Result<(), GiveUp> {
        Ok(())
    }

    fn is_complete(&self, _: &Req) -> bool {
        true
    }

    fn hedge(&self, kept: &Req, _: AttemptPlan) -> Option<Req> {
        Some(kept.clone())
    }

    fn origin(&self, _: &Req) -> Origin {
        Origin::default()
    }

    fn is_grpc(&self) -> bool {
        false
    }
}

/// Drops the report: a response of any type has no place for one.
impl<Res, Idempotency> Report<Res> for CloneRequests<Idempotency> {
    fn leave(&self, _: RetryReport, _: &mut Res) {}
}
