use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;

use super::recording::Recording;
use super::{AlwaysIdempotent, Deadline, GiveUp, HttpIdempotency, Idempotency, ReplayBody, Report, RetryReport};
use crate::attempt::Attempt;
use crate::classify::{Processed, Verdict};

/// How a request is kept for its attempts: chosen by the constructor of the layer.
///
/// Sealed: [`ReplayBodies`] and [`CloneRequests`] are the two ways there are.
pub trait Replay<Req>: sealed::Sealed {
    /// What the inner service is called with.
    type Request;
    /// What the attempts are made of. Stays until the last of them begins.
    type Kept;

    /// The deadline that the request itself carries.
    fn deadline(&self, request: &Req) -> Option<Deadline>;

    /// Keeps a request from before its first attempt. Nothing of its body is kept if there will be no other.
    fn keep(&self, request: Req, more: bool) -> Self::Kept;

    /// The request for an attempt. A copy of what is kept if there may be more, else what was kept itself.
    fn request(&self, kept: &mut Option<Self::Kept>, attempt: Attempt, more: bool) -> Self::Request;

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

/// An HTTP request that is yet to be sent, or may be sent again.
pub struct KeptRequest<B> {
    head: Parts,
    body: KeptBody<B>,
}

enum KeptBody<B> {
    Empty,
    /// For the only attempt there will be. Never locked, but a call is to be `Sync` whatever the body is.
    Once(Mutex<B>),
    Recorded(Arc<Recording<B>>),
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
    fn keep(&self, request: Request<B>, more: bool) -> Self::Kept {
        let (head, body) = request.into_parts();
        let body = match more {
            _ if body.is_end_stream() => KeptBody::Empty,
            true => KeptBody::Recorded(Recording::new(body, self.max_bytes)),
            false => KeptBody::Once(Mutex::new(body)),
        };
        KeptRequest { head, body }
    }

    // Each way out makes its own request: they are large, and every move of them shows.
    #[inline(always)]
    fn request(&self, kept: &mut Option<Self::Kept>, attempt: Attempt, more: bool) -> Self::Request {
        if attempt.is_retry() {
            if let Some(KeptRequest { head, body: _ }) = kept {
                head.extensions.insert(attempt);
            }
        }
        match kept {
            Some(KeptRequest { head, body: KeptBody::Empty }) if more => {
                Request::from_parts(head.clone(), ReplayBody::empty())
            }
            Some(KeptRequest { head, body: KeptBody::Recorded(body) }) if more => {
                Request::from_parts(head.clone(), ReplayBody::recorded(Recording::read(body, more)))
            }
            _ => taken(kept).into_last(),
        }
    }

    fn is_idempotent(&self, kept: &Self::Kept) -> bool {
        self.idempotency.is_idempotent(&kept.head)
    }

    fn has_failed(&self, kept: &Self::Kept) -> bool {
        match &kept.body {
            KeptBody::Recorded(body) => body.has_failed(),
            KeptBody::Empty | KeptBody::Once(_) => false,
        }
    }

    fn take_back(&self, kept: &Self::Kept, answered: bool) -> Result<(), GiveUp> {
        match &kept.body {
            KeptBody::Recorded(body) => body.take_back(answered),
            KeptBody::Empty | KeptBody::Once(_) => Ok(()),
        }
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
    fn keep(&self, request: Req, _: bool) -> Req {
        request
    }

    #[inline]
    fn request(&self, kept: &mut Option<Req>, _: Attempt, more: bool) -> Req {
        match kept {
            Some(request) if more => request.clone(),
            _ => taken(kept),
        }
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

#[cold]
fn taken<T>(kept: &mut Option<T>) -> T {
    let Some(kept) = kept.take() else { unreachable!("what an attempt is made of stays until the last one") };
    kept
}

impl<B: Body> KeptRequest<B> {
    #[cold]
    fn into_last(self) -> Request<ReplayBody<B>> {
        let Self { head, body } = self;
        let body = match body {
            KeptBody::Empty => ReplayBody::empty(),
            KeptBody::Once(body) => ReplayBody::direct(body.into_inner().unwrap_or_else(PoisonError::into_inner)),
            KeptBody::Recorded(body) => ReplayBody::recorded(Recording::read(&body, false)),
        };
        Request::from_parts(head, body)
    }
}

/// The head may hold credentials, and the body is nobody's business.
impl<B> fmt::Debug for KeptRequest<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRequest").finish_non_exhaustive()
    }
}

mod sealed {
    #[allow(unnameable_types)]
    pub trait Sealed {}

    impl<I> Sealed for super::ReplayBodies<I> {}
    impl<I> Sealed for super::CloneRequests<I> {}
}
