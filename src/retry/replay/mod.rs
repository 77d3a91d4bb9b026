mod body;
mod buffer;
mod grpc_timeout;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;

use self::buffer::Recording;
use super::observe::{Origin, PartitionLabel};
use super::policy::{AlwaysIdempotent, GiveUp, HttpIdempotency, Idempotency};
use super::report::{Report, RetryReport};
use crate::attempt::Attempt;
use crate::classify::{Health, Processed, Reason, Verdict};
use crate::deadline::{AttemptDeadline, Deadline};

pub use self::body::ReplayBody;

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

/// Keeps an HTTP request by its head and by a copy of its body that is made while the body is sent.
///
/// The inner service sees a `Request<ReplayBody<B>>`; see [`ReplayBody`]. The default of the layer.
#[derive(Clone, Debug)]
pub struct ReplayBodies<I = HttpIdempotency> {
    pub(in crate::retry) max_bytes: usize,
    pub(in crate::retry) http: Http<I>,
}

/// Keeps an HTTP request by cloning it, body included: see
/// [`RetryLayer::clone_bodies`](crate::RetryLayer::clone_bodies).
#[derive(Clone, Debug)]
pub struct CloneBodies<I = HttpIdempotency> {
    pub(in crate::retry) http: Http<I>,
}

/// What the layer knows of HTTP, however bodies are kept.
#[derive(Clone, Debug)]
pub(in crate::retry) struct Http<I> {
    pub(in crate::retry) idempotency: I,
    pub(in crate::retry) is_grpc: bool,
    pub(in crate::retry) partition_label: Option<PartitionLabel>,
}

/// Keeps a request by cloning it.
#[derive(Clone, Debug)]
pub struct CloneRequests<I = AlwaysIdempotent> {
    pub(in crate::retry) idempotency: I,
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

/// An HTTP request that is kept as it is.
pub struct KeptClone<B> {
    state: CloneState<B>,
}

#[allow(clippy::large_enum_variant)]
enum CloneState<B> {
    Whole {
        head: Parts,
        body: B,
    },
    /// The last attempt has it.
    Sent {
        origin: Option<Origin>,
    },
}

impl<I> Http<I> {
    pub(in crate::retry) const fn new(idempotency: I, is_grpc: bool) -> Self {
        Self { idempotency, is_grpc, partition_label: None }
    }

    pub(in crate::retry) fn idempotency<P>(self, idempotency: P) -> Http<P> {
        let Self { idempotency: _, is_grpc, partition_label } = self;
        Http { idempotency, is_grpc, partition_label }
    }

    fn deadline<B>(&self, request: &Request<B>, of_layer: Option<Duration>) -> Option<Deadline> {
        let carried = if request.extensions().is_empty() { None } else { request.extensions().get().copied() };
        let deadline = carried.or_else(|| of_layer.map(Deadline::within));
        if !self.is_grpc {
            return deadline;
        }
        let asked = grpc_timeout::read(request.headers()).map(Deadline::within);
        deadline.into_iter().chain(asked).min()
    }

    /// Writes into a request until when its call has to end.
    #[inline]
    fn write_deadline(head: &mut Parts, deadline: Option<Deadline>) {
        if let Some(deadline) = deadline {
            head.extensions.insert(deadline);
        }
    }

    /// Writes into a request which attempt it is, and what is left of its time.
    #[inline]
    fn write_attempt(&self, head: &mut Parts, plan: AttemptPlan) {
        let AttemptPlan { attempt, more: _, deadline, ends } = plan;
        if attempt.is_retry() {
            head.extensions.insert(attempt);
        }
        if let Some(ends) = ends {
            head.extensions.insert(AttemptDeadline::at(ends));
        }
        if let Some(deadline) = deadline.filter(|_| self.is_grpc) {
            grpc_timeout::write(&mut head.headers, deadline.remaining());
        }
    }

    fn origin(&self, head: &Parts) -> Origin {
        Origin::of(head, self.partition_label.as_ref())
    }

    /// The origin of a request that is sent for the last time, if it can still be of interest: with a single attempt
    /// nothing is reported.
    fn last_origin(&self, head: &Parts, attempt: Attempt) -> Option<Origin> {
        attempt.is_retry().then(|| self.origin(head))
    }
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

impl<B, I> Replay<Request<B>> for CloneBodies<I>
where
    B: Clone,
    I: Idempotency<Parts>,
{
    type Request = Request<B>;
    type Kept = KeptClone<B>;

    fn deadline(&self, request: &Request<B>, of_layer: Option<Duration>) -> Option<Deadline> {
        self.http.deadline(request, of_layer)
    }

    fn outer_attempt_ends(&self, request: &Request<B>) -> Option<Instant> {
        outer_attempt_ends(request)
    }

    fn keep(&self, request: Request<B>, _: bool, deadline: Option<Deadline>) -> Self::Kept {
        let (mut head, body) = request.into_parts();
        Http::<I>::write_deadline(&mut head, deadline);
        KeptClone { state: CloneState::Whole { head, body } }
    }

    fn request(&self, kept: &mut Option<Self::Kept>, plan: AttemptPlan) -> Self::Request {
        match kept {
            Some(KeptClone { state: CloneState::Whole { head, body } }) if plan.more => {
                self.http.write_attempt(head, plan);
                Request::from_parts(head.clone(), body.clone())
            }
            _ => {
                let CloneState::Whole { mut head, body } = taken(kept).state else {
                    unreachable!("nothing follows the last attempt")
                };
                let origin = self.http.last_origin(&head, plan.attempt);
                *kept = Some(KeptClone { state: CloneState::Sent { origin } });
                self.http.write_attempt(&mut head, plan);
                Request::from_parts(head, body)
            }
        }
    }

    fn is_idempotent(&self, kept: &Self::Kept) -> bool {
        match &kept.state {
            CloneState::Whole { head, body: _ } => self.http.idempotency.is_idempotent(head),
            CloneState::Sent { .. } => false,
        }
    }

    fn has_failed(&self, _: &Self::Kept, verdict: &Verdict) -> bool {
        says_own_body_failed(verdict)
    }

    fn rewind(&self, _: &Self::Kept, _: bool) -> Result<(), GiveUp> {
        Ok(())
    }

    fn origin(&self, kept: &Self::Kept) -> Origin {
        match &kept.state {
            CloneState::Whole { head, body: _ } => self.http.origin(head),
            CloneState::Sent { origin } => origin.clone().unwrap_or_default(),
        }
    }

    fn is_grpc(&self) -> bool {
        self.http.is_grpc
    }
}

impl<Req, I> Replay<Req> for CloneRequests<I>
where
    Req: Clone,
    I: Idempotency<Req>,
{
    type Request = Req;
    type Kept = Req;

    fn deadline(&self, _: &Req, of_layer: Option<Duration>) -> Option<Deadline> {
        of_layer.map(Deadline::within)
    }

    fn outer_attempt_ends(&self, _: &Req) -> Option<Instant> {
        None
    }

    #[inline]
    fn keep(&self, request: Req, _: bool, _: Option<Deadline>) -> Req {
        request
    }

    #[inline]
    fn request(&self, kept: &mut Option<Req>, plan: AttemptPlan) -> Req {
        match kept {
            Some(request) if plan.more => request.clone(),
            _ => taken(kept),
        }
    }

    fn is_idempotent(&self, kept: &Req) -> bool {
        self.idempotency.is_idempotent(kept)
    }

    fn has_failed(&self, _: &Req, _: &Verdict) -> bool {
        false
    }

    fn rewind(&self, _: &Req, _: bool) -> Result<(), GiveUp> {
        Ok(())
    }

    fn origin(&self, _: &Req) -> Origin {
        Origin::default()
    }

    fn is_grpc(&self) -> bool {
        false
    }
}

impl<B, I> Report<Response<B>> for ReplayBodies<I> {
    fn leave(&self, report: RetryReport, response: &mut Response<B>) {
        leave_in_extensions(report, response);
    }
}

impl<B, I> Report<Response<B>> for CloneBodies<I> {
    fn leave(&self, report: RetryReport, response: &mut Response<B>) {
        leave_in_extensions(report, response);
    }
}

/// A response of any kind has no place for a report.
impl<Res, I> Report<Res> for CloneRequests<I> {
    fn leave(&self, _: RetryReport, _: &mut Res) {}
}

fn outer_attempt_ends<B>(request: &Request<B>) -> Option<Instant> {
    request.extensions().get().copied().map(AttemptDeadline::instant)
}

fn leave_in_extensions<B>(report: RetryReport, response: &mut Response<B>) {
    // A layer further outside must not take the word of the last attempt for that of the call.
    if let Some(last) = report.history().last().map(|last| last.verdict()) {
        if last.is_unprocessed() && report.processed() != Processed::No {
            last.with_processed(report.processed()).leave_in(response);
        }
    }
    response.extensions_mut().insert(report);
}

/// Whether an error was judged to be the failure of the caller's own body, where nothing watched the body.
fn says_own_body_failed(verdict: &Verdict) -> bool {
    (verdict.reason(), verdict.processed(), verdict.health()) == (Reason::USER, Processed::Maybe, Health::Neutral)
}

#[cold]
fn taken<T>(kept: &mut Option<T>) -> T {
    let Some(kept) = kept.take() else { unreachable!("what an attempt is made of stays until the last one") };
    kept
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

/// The head may hold credentials, and the body is the caller's.
impl<B> fmt::Debug for KeptRequest<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRequest").finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for KeptClone<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptClone").finish_non_exhaustive()
    }
}

mod sealed {
    #[allow(unnameable_types)]
    pub trait Sealed {}

    impl<I> Sealed for super::ReplayBodies<I> {}
    impl<I> Sealed for super::CloneBodies<I> {}
    impl<I> Sealed for super::CloneRequests<I> {}
}
