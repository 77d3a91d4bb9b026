use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;

use super::body::ReplayBody;
use super::buffer::Recording;
use super::http::{Http, leave_in_extensions, outer_attempt_ends, says_own_body_failed};
use super::sealed::Sealed;
use super::{AttemptPlan, Replay, taken};
use crate::classify::Verdict;
use crate::deadline::Deadline;
use crate::retry::observe::Origin;
use crate::retry::policy::{GiveUp, HttpIdempotency, Idempotency};
use crate::retry::report::{Report, RetryReport};

/// Keeps an HTTP request by its head and by a copy of its body that is made while the body is sent.
///
/// The inner service sees a `Request<ReplayBody<B>>`; see [`ReplayBody`]. The default of the layer.
#[derive(Clone, Debug)]
pub struct ReplayBodies<I = HttpIdempotency> {
    pub(in crate::retry) max_bytes: usize,
    pub(in crate::retry) http: Http<I>,
}

/// An HTTP request that is yet to be sent, or may be sent again.
pub struct KeptRequest<B> {
    state: KeptState<B>,
}

// The small variant is the rare one: the last attempt of a call that failed before.
#[allow(clippy::large_enum_variant)]
enum KeptState<B> {
    Whole {
        head: Parts,
        body: KeptBody<B>,
    },
    /// The last attempt has it.
    Sent {
        origin: Option<Origin>,
        recording: Option<Arc<Recording<B>>>,
    },
}

enum KeptBody<B> {
    Empty,
    /// For the only attempt there will be. Never locked, but a call is to be `Sync` whatever the body is.
    Once(Mutex<B>),
    Recorded(Arc<Recording<B>>),
}

impl<I> ReplayBodies<I> {
    pub(in crate::retry) const fn new(http: Http<I>) -> Self {
        Self { max_bytes: 64 * 1024, http }
    }
}

impl<B, I> Replay<Request<B>> for ReplayBodies<I>
where
    B: Body,
    I: Idempotency<Parts>,
{
    type Request = Request<ReplayBody<B>>;
    type Kept = KeptRequest<B>;

    fn deadline(&self, request: &Request<B>, of_layer: Option<Duration>) -> Option<Deadline> {
        self.http.deadline(request, of_layer)
    }

    fn outer_attempt_ends(&self, request: &Request<B>) -> Option<Instant> {
        outer_attempt_ends(request)
    }

    #[inline]
    fn keep(&self, request: Request<B>, more: bool, deadline: Option<Deadline>) -> Self::Kept {
        let (mut head, body) = request.into_parts();
        Http::<I>::write_deadline(&mut head, deadline);
        let body = match more {
            _ if body.is_end_stream() => KeptBody::Empty,
            true => KeptBody::Recorded(Recording::new(body, self.max_bytes)),
            false => KeptBody::Once(Mutex::new(body)),
        };
        KeptRequest { state: KeptState::Whole { head, body } }
    }

    // Each way out makes its own request: they are large, and every move of them shows.
    #[inline(always)]
    fn request(&self, kept: &mut Option<Self::Kept>, plan: AttemptPlan) -> Self::Request {
        let more = plan.more;
        if let Some(KeptRequest { state: KeptState::Whole { head, body: _ } }) = kept {
            self.http.write_attempt(head, plan);
        }
        match kept {
            Some(KeptRequest { state: KeptState::Whole { head, body: KeptBody::Empty } }) if more => {
                Request::from_parts(head.clone(), ReplayBody::empty())
            }
            Some(KeptRequest { state: KeptState::Whole { head, body: KeptBody::Recorded(body) } }) if more => {
                Request::from_parts(head.clone(), ReplayBody::recorded(Recording::read(body, more)))
            }
            _ => last(kept, |head| self.http.last_origin(head, plan.attempt)),
        }
    }

    fn is_idempotent(&self, kept: &Self::Kept) -> bool {
        match &kept.state {
            KeptState::Whole { head, body: _ } => self.http.idempotency.is_idempotent(head),
            KeptState::Sent { .. } => false,
        }
    }

    fn has_failed(&self, kept: &Self::Kept, verdict: &Verdict) -> bool {
        let recording = match &kept.state {
            KeptState::Whole { head: _, body: KeptBody::Recorded(recording) } => Some(recording),
            KeptState::Whole { head: _, body: KeptBody::Empty | KeptBody::Once(_) } => None,
            KeptState::Sent { origin: _, recording } => recording.as_ref(),
        };
        recording.map_or_else(|| says_own_body_failed(verdict), |recording| recording.has_failed())
    }

    fn rewind(&self, kept: &Self::Kept, answered: bool) -> Result<(), GiveUp> {
        match &kept.state {
            KeptState::Whole { head: _, body: KeptBody::Recorded(body) } => body.rewind(answered),
            KeptState::Whole { head: _, body: KeptBody::Empty | KeptBody::Once(_) } => Ok(()),
            KeptState::Sent { .. } => Err(GiveUp::Exhausted),
        }
    }

    fn origin(&self, kept: &Self::Kept) -> Origin {
        match &kept.state {
            KeptState::Whole { head, body: _ } => self.http.origin(head),
            KeptState::Sent { origin, recording: _ } => origin.clone().unwrap_or_default(),
        }
    }

    fn is_grpc(&self) -> bool {
        self.http.is_grpc
    }
}

impl<I> Sealed for ReplayBodies<I> {}

impl<B, I> Report<Response<B>> for ReplayBodies<I> {
    fn leave(&self, report: RetryReport, response: &mut Response<B>) {
        leave_in_extensions(report, response);
    }
}

/// The head may hold credentials, and the body is the caller's.
impl<B> fmt::Debug for KeptRequest<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRequest").finish_non_exhaustive()
    }
}

/// The request of the last attempt. What a report needs stays behind.
#[cold]
fn last<B: Body>(
    kept: &mut Option<KeptRequest<B>>,
    origin: impl FnOnce(&Parts) -> Option<Origin>,
) -> Request<ReplayBody<B>> {
    let KeptState::Whole { head, body } = taken(kept).state else { unreachable!("nothing follows the last attempt") };
    let origin = origin(&head);
    let (body, recording) = match body {
        KeptBody::Empty => (ReplayBody::empty(), None),
        KeptBody::Once(body) => (ReplayBody::direct(body.into_inner().unwrap_or_else(PoisonError::into_inner)), None),
        KeptBody::Recorded(body) => (ReplayBody::recorded(Recording::read(&body, false)), Some(body)),
    };
    *kept = Some(KeptRequest { state: KeptState::Sent { origin, recording } });
    Request::from_parts(head, body)
}
