use std::fmt;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};

use super::http::{Http, Kept, is_own_body_failure, leave_report};
use super::sealed::Sealed;
use super::{AttemptPlan, Replay, take_kept};
use crate::call::cut;
use crate::call::deadline::{AttemptDeadline, Deadline};
use crate::classify::Verdict;
use crate::retry::observe::{Origin, Report, RetryReport};
use crate::retry::policy::{GiveUp, HttpIdempotency, Idempotency};
use crate::retry::settings::LayerSettings;

/// Keeps an HTTP request by cloning it, body included: see
/// [`RetryLayer::clone_bodies`](crate::RetryLayer::clone_bodies).
#[derive(Clone, Debug)]
pub struct CloneBodies<Idempotency = HttpIdempotency> {
    pub(in crate::retry) http: Http<Idempotency>,
}

/// An HTTP request that is kept unchanged.
pub struct KeptClone<B> {
    state: Kept<B, ()>,
}

impl<Idempotency> CloneBodies<Idempotency> {
    pub(in crate::retry) fn idempotency<Other>(self, idempotency: Other) -> CloneBodies<Other> {
        CloneBodies { http: self.http.idempotency(idempotency) }
    }
}

impl<Idempotency> Sealed for CloneBodies<Idempotency> {
    fn settings(&self) -> LayerSettings {
        self.http.settings()
    }
}

impl<B, IdempotencyT> Replay<Request<B>> for CloneBodies<IdempotencyT>
where
    B: Clone,
    IdempotencyT: Idempotency<Parts>,
{
    type Request = Request<B>;
    type Kept = KeptClone<B>;

    fn deadline(&self, request: &Request<B>, of_layer: Option<Duration>) -> Option<Deadline> {
        self.http.deadline(request, of_layer)
    }

    #[inline]
    fn claims_attempt(&self, request: &Request<B>) -> bool {
        cut::claim_attempt(request.extensions())
    }

    fn keep(&self, request: Request<B>, _: bool, deadline: Option<Deadline>) -> Self::Kept {
        let (mut head, body) = request.into_parts();
        // A layer inside can copy and send such a request without its extensions, so that nothing claims the attempt.
        cut::unmark_attempt(&mut head.extensions);
        Http::<IdempotencyT>::write_deadline(&mut head, deadline);
        KeptClone { state: Kept::Whole { head, body } }
    }

    fn request(&self, kept: &mut Option<Self::Kept>, plan: AttemptPlan) -> Self::Request {
        match kept {
            Some(KeptClone { state: Kept::Whole { head, body } }) if plan.more => {
                self.http.write_attempt(head, plan);
                Request::from_parts(head.clone(), body.clone())
            }
            _ => {
                let Kept::Whole { mut head, body } = take_kept(kept).state else {
                    unreachable!("no attempt follows the last one")
                };
                let origin = self.http.last_origin(&head, plan.attempt);
                *kept = Some(KeptClone { state: Kept::Sent { origin, rest: () } });
                self.http.write_attempt(&mut head, plan);
                Request::from_parts(head, body)
            }
        }
    }

    fn is_idempotent(&self, kept: &Self::Kept) -> bool {
        self.http.is_idempotent(&kept.state)
    }

    fn has_key(&self, kept: &Self::Kept) -> bool {
        Http::<IdempotencyT>::has_key(&kept.state)
    }

    fn outer_limit(&self, kept: &Self::Kept, is_limited: bool) -> Option<AttemptDeadline> {
        Http::<IdempotencyT>::outer_limit(&kept.state, is_limited)
    }

    fn is_retried_above(&self, kept: &Self::Kept) -> bool {
        self.http.is_retried_above(&kept.state)
    }

    fn has_failed(&self, _: &Self::Kept, verdict: &Verdict) -> bool {
        is_own_body_failure(verdict)
    }

    fn rewind(&self, _: &Self::Kept, _: bool) -> Result<(), GiveUp> {
        Ok(())
    }

    fn is_complete(&self, kept: &Self::Kept) -> bool {
        matches!(kept.state, Kept::Whole { .. })
    }

    fn hedge(&self, kept: &Self::Kept, plan: AttemptPlan) -> Option<Self::Request> {
        let Kept::Whole { head, body } = &kept.state else { return None };
        Some(Request::from_parts(self.http.hedge_head(head, plan), body.clone()))
    }

    fn origin(&self, kept: &Self::Kept) -> Origin {
        self.http.origin(&kept.state)
    }

    fn is_grpc(&self) -> bool {
        self.http.is_grpc()
    }
}

impl<B, Idempotency> Report<Response<B>> for CloneBodies<Idempotency> {
    fn leave(&self, report: RetryReport, response: &mut Response<B>) {
        leave_report(report, response);
    }
}

impl<B> fmt::Debug for KeptClone<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptClone").finish_non_exhaustive()
    }
}
