use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;

use super::recording::Recording;
use super::{AlwaysIdempotent, Deadline, GiveUp, HttpIdempotency, Idempotency, ReplayBody, Report, RetryReport};
use crate::attempt::Attempt;
use crate::classify::{Processed, Verdict};

/// How a request is kept for another attempt: chosen by the constructor of the layer.
///
/// Sealed: [`ReplayBodies`] and [`CloneRequests`] are the two ways there are.
pub trait Replay<Req>: sealed::Sealed {
    /// What the inner service is called with.
    type Request;
    /// What stays behind while an attempt is under way that may be followed by another.
    type Kept;

    /// The deadline that the request itself carries.
    fn deadline(&self, request: &Req) -> Option<Deadline>;

    /// The request for the first attempt. What stays behind is put into `kept`; nothing is kept or copied if there will
    /// be no other attempt.
    fn first(&self, request: Req, more: bool, kept: &mut Option<Self::Kept>) -> Self::Request;

    /// The request for a further attempt, moved rather than copied if it is the last one.
    fn next(&self, last: Self::Kept, attempt: Attempt, more: bool, kept: &mut Option<Self::Kept>) -> Self::Request;

    /// Whether the request may be sent again although the server may have acted on it.
    fn is_idempotent(&self, kept: &Self::Kept) -> bool;

    /// Whether the body of the request has failed.
    fn has_failed(&self, kept: &Self::Kept) -> bool;

    /// Takes the body back from the attempt that had it, so that the next one can read it from the start.
    ///
    /// # Errors
    ///
    /// If the body cannot be read from the start, or is still being sent although the answer is there.
    fn take_back(&self, kept: &Self::Kept, answered: bool) -> Result<(), GiveUp>;
}

/// Keeps an HTTP request by its head and by a copy of its body that is made while the body is sent.
///
/// The inner service sees a `Request<ReplayBody<B>>`; see [`ReplayBody`]. The default of the layer.
#[derive(Clone, Debug)]
pub struct ReplayBodies<I = HttpIdempotency> {
    pub(super) max_bytes: usize,
    pub(super) idempotency: I,
}

impl<I> ReplayBodies<I> {
    pub(super) const fn new(idempotency: I) -> Self {
        Self { max_bytes: 64 * 1024, idempotency }
    }
}

/// Keeps a request by cloning it.
#[derive(Clone, Debug)]
pub struct CloneRequests<I = AlwaysIdempotent> {
    pub(super) idempotency: I,
}

/// An HTTP request that may be sent again.
pub struct KeptRequest<B> {
    head: Parts,
    // None is an empty body.
    body: Option<Arc<Recording<B>>>,
}

impl<B, I> Replay<Request<B>> for ReplayBodies<I>
where
    B: Body,
    I: Idempotency<Parts>,
{
    type Request = Request<ReplayBody<B>>;
    type Kept = KeptRequest<B>;

    fn deadline(&self, request: &Request<B>) -> Option<Deadline> {
        request.extensions().get().copied()
    }

    #[inline]
    fn first(&self, request: Request<B>, more: bool, kept: &mut Option<Self::Kept>) -> Self::Request {
        if !more {
            return request.map(ReplayBody::direct);
        }
        let (head, body) = request.into_parts();
        let body = (!body.is_end_stream()).then(|| Recording::new(body, self.max_bytes));
        let sent = attempt_body(body.as_ref(), more);
        let KeptRequest { head, body: _ } = kept.insert(KeptRequest { head, body });
        Request::from_parts(head.clone(), sent)
    }

    fn next(&self, last: Self::Kept, attempt: Attempt, more: bool, kept: &mut Option<Self::Kept>) -> Self::Request {
        let KeptRequest { mut head, body } = last;
        head.extensions.insert(attempt);
        let sent = attempt_body(body.as_ref(), more);
        if more {
            *kept = Some(KeptRequest { head: head.clone(), body });
        }
        Request::from_parts(head, sent)
    }

    fn is_idempotent(&self, kept: &Self::Kept) -> bool {
        self.idempotency.is_idempotent(&kept.head)
    }

    fn has_failed(&self, kept: &Self::Kept) -> bool {
        kept.body.as_ref().is_some_and(|body| body.has_failed())
    }

    fn take_back(&self, kept: &Self::Kept, answered: bool) -> Result<(), GiveUp> {
        kept.body.as_ref().map_or(Ok(()), |body| body.take_back(answered))
    }
}

impl<Req, I> Replay<Req> for CloneRequests<I>
where
    Req: Clone,
    I: Idempotency<Req>,
{
    type Request = Req;
    type Kept = Req;

    fn deadline(&self, _: &Req) -> Option<Deadline> {
        None
    }

    #[inline]
    fn first(&self, request: Req, more: bool, kept: &mut Option<Req>) -> Req {
        if more { kept.insert(request).clone() } else { request }
    }

    fn next(&self, last: Req, _: Attempt, more: bool, kept: &mut Option<Req>) -> Req {
        self.first(last, more, kept)
    }

    fn is_idempotent(&self, kept: &Req) -> bool {
        self.idempotency.is_idempotent(kept)
    }

    fn has_failed(&self, _: &Req) -> bool {
        false
    }

    fn take_back(&self, _: &Req, _: bool) -> Result<(), GiveUp> {
        Ok(())
    }
}

impl<B, I> Report<Response<B>> for ReplayBodies<I> {
    fn leave(&self, report: RetryReport, response: &mut Response<B>) {
        // Whoever is further outside must not take the word of the last attempt for that of the call.
        let last = Verdict::of(response);
        if last.is_unprocessed() && report.processed() != Processed::No {
            last.with_processed(report.processed()).leave_in(response);
        }
        response.extensions_mut().insert(report);
    }
}

/// A response of any kind has no place for a report.
impl<Res, I> Report<Res> for CloneRequests<I> {
    fn leave(&self, _: RetryReport, _: &mut Res) {}
}

fn attempt_body<B: Body>(body: Option<&Arc<Recording<B>>>, more: bool) -> ReplayBody<B> {
    body.map_or_else(ReplayBody::empty, |body| ReplayBody::recorded(Recording::read(body, more)))
}

impl<B> fmt::Debug for KeptRequest<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The head may hold credentials.
        let Self { head: _, body } = self;
        f.debug_struct("KeptRequest").field("body", body).finish_non_exhaustive()
    }
}

mod sealed {
    #[allow(unnameable_types)]
    pub trait Sealed {}

    impl<I> Sealed for super::ReplayBodies<I> {}
    impl<I> Sealed for super::CloneRequests<I> {}
}
