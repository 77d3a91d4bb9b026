use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;

use super::body::ReplayBody;
use super::buffer::ReplayBuffer;
use super::http::{Http, Kept, is_own_body_failure, leave_report};
use super::sealed::Sealed;
use super::{AttemptPlan, Replay, take_kept};
use crate::call::cut;
use crate::call::deadline::{AttemptDeadline, Deadline};
use crate::classify::Verdict;
use crate::retry::observe::{Origin, Report, RetryReport};
use crate::retry::policy::{GiveUp, HttpIdempotency, Idempotency};
use crate::retry::settings::{DEFAULT_REPLAY_BYTES, LayerSettings};

/// Keeps the head of an HTTP request and copies its body while it is sent.
///
/// The inner service sees a `Request<ReplayBody<B>>`; see [`ReplayBody`]. The default of the layer.
#[derive(Clone, Debug)]
pub struct ReplayBodies<Idempotency = HttpIdempotency> {
    pub(in crate::retry) max_bytes: usize,
    pub(in crate::retry) http: Http<Idempotency>,
}

/// An HTTP request that will be sent, or may be sent again.
pub struct KeptRequest<B> {
    state: Kept<KeptBody<B>, Option<Arc<ReplayBuffer<B>>>>,
}

enum KeptBody<B> {
    Empty,
    /// For a single attempt. The mutex is never locked; it makes the call `Sync` for every body.
    Once(Mutex<B>),
    Buffered(Arc<ReplayBuffer<B>>),
}

impl<Idempotency> ReplayBodies<Idempotency> {
    pub(in crate::retry) fn new(http: Http<Idempotency>) -> Self {
        Self { max_bytes: DEFAULT_REPLAY_BYTES, http }
    }

    pub(in crate::retry) fn idempotency<Other>(self, idempotency: Other) -> ReplayBodies<Other> {
        let Self { max_bytes, http } = self;
        ReplayBodies { max_bytes, http: http.idempotency(idempotency) }
    }
}

impl<Idempotency> Sealed for ReplayBodies<Idempotency> {
    fn settings(&self) -> LayerSettings {
        LayerSettings { max_replay_bytes: Some(self.max_bytes), ..self.http.settings() }
    }
}

impl<B, IdempotencyT> Replay<Request<B>> for ReplayBodies<IdempotencyT>
where
    B: Body,
    IdempotencyT: Idempotency<Parts>,
{
    type Request = Request<ReplayBody<B>>;
    type Kept = KeptRequest<B>;

    #[inline(always)]
    fn deadline(&self, request: &Request<B>, of_layer: Option<Duration>) -> Option<Deadline> {
        self.http.deadline(request, of_layer)
    }

    #[inline]
    fn claims_attempt(&self, request: &Request<B>) -> bool {
        cut::claim_attempt(request.extensions())
    }

    #[inline]
    fn keep(&self, request: Request<B>, more: bool, deadline: Option<Deadline>) -> Self::Kept {
        let (mut head, body) = request.into_parts();
        Http::<IdempotencyT>::write_deadline(&mut head, deadline);
        let body = match more {
            _ if body.is_end_stream() => KeptBody::Empty,
            true => KeptBody::Buffered(ReplayBuffer::new(body, self.max_bytes)),
            false => KeptBody::Once(Mutex::new(body)),
        };
        KeptRequest { state: Kept::Whole { head, body } }
    }

    // Each branch constructs its own request, because every move of one costs.
    #[inline(always)]
    fn request(&self, kept: &mut Option<Self::Kept>, plan: AttemptPlan) -> Self::Request {
        let more = plan.more;
        if let Some(KeptRequest { state: Kept::Whole { head, body: _ } }) = kept {
            self.http.write_attempt(head, plan);
            // Only a time limit asks whether the attempt was sent. Later attempts have the mark from the first one.
            if plan.is_first && (plan.deadline.is_some() || plan.ends.is_some()) {
                cut::mark_attempt(&mut head.extensions);
            }
        }
        match kept {
            Some(KeptRequest { state: Kept::Whole { head, body: KeptBody::Empty } }) if more => {
                Request::from_parts(head.clone(), ReplayBody::empty())
            }
            Some(KeptRequest { state: Kept::Whole { head, body: KeptBody::Buffered(body) } }) if more => {
                Request::from_parts(head.clone(), ReplayBody::buffered(ReplayBuffer::reader(body, more)))
            }
            _ => last(kept, |head| self.http.last_origin(head, plan.attempt)),
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

    fn has_failed(&self, kept: &Self::Kept, verdict: &Verdict) -> bool {
        let buffer = match &kept.state {
            Kept::Whole { head: _, body: KeptBody::Buffered(buffer) } => Some(buffer),
            Kept::Whole { head: _, body: KeptBody::Empty | KeptBody::Once(_) } => None,
            Kept::Sent { origin: _, rest: buffer } => buffer.as_ref(),
        };
        buffer.map_or_else(|| is_own_body_failure(verdict), |buffer| buffer.has_failed())
    }

    fn rewind(&self, kept: &Self::Kept, answered: bool) -> Result<(), GiveUp> {
        match &kept.state {
            Kept::Whole { head: _, body: KeptBody::Buffered(body) } => body.rewind(answered),
            Kept::Whole { head: _, body: KeptBody::Empty | KeptBody::Once(_) } => Ok(()),
            Kept::Sent { .. } => Err(GiveUp::Exhausted),
        }
    }

    fn is_complete(&self, kept: &Self::Kept) -> bool {
        match &kept.state {
            Kept::Whole { head: _, body: KeptBody::Empty } => true,
            Kept::Whole { head: _, body: KeptBody::Buffered(body) } => body.is_complete(),
            Kept::Whole { head: _, body: KeptBody::Once(_) } | Kept::Sent { .. } => false,
        }
    }

    fn hedge(&self, kept: &Self::Kept, plan: AttemptPlan) -> Option<Self::Request> {
        let Kept::Whole { head, body } = &kept.state else { return None };
        let body = match body {
            KeptBody::Empty => ReplayBody::empty(),
            KeptBody::Once(_) => return None,
            KeptBody::Buffered(body) => ReplayBody::buffered(body.second_reader()?),
        };
        Some(Request::from_parts(self.http.hedge_head(head, plan), body))
    }

    fn origin(&self, kept: &Self::Kept) -> Origin {
        self.http.origin(&kept.state)
    }

    fn is_grpc(&self) -> bool {
        self.http.is_grpc()
    }
}

impl<B, Idempotency> Report<Response<B>> for ReplayBodies<Idempotency> {
    fn leave(&self, report: RetryReport, response: &mut Response<B>) {
        leave_report(report, response);
    }
}

/// Omits the head, which may contain credentials, and the body.
impl<B> fmt::Debug for KeptRequest<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRequest").finish_non_exhaustive()
    }
}

/// Takes the request for the last attempt and leaves what a report needs.
#[cold]
fn last<B: Body>(
    kept: &mut Option<KeptRequest<B>>,
    origin: impl FnOnce(&Parts) -> Option<Origin>,
) -> Request<ReplayBody<B>> {
    let Kept::Whole { head, body } = take_kept(kept).state else { unreachable!("no attempt follows the last one") };
    let origin = origin(&head);
    let (body, buffer) = match body {
        KeptBody::Empty => (ReplayBody::empty(), None),
        KeptBody::Once(body) => (ReplayBody::direct(body.into_inner().unwrap_or_else(PoisonError::into_inner)), None),
        KeptBody::Buffered(body) => (ReplayBody::buffered(ReplayBuffer::reader(&body, false)), Some(body)),
    };
    *kept = Some(KeptRequest { state: Kept::Sent { origin, rest: buffer } });
    Request::from_parts(head, body)
}
