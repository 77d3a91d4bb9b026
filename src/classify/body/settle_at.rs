use http::Response;
use http_body::Body;

use super::{JudgedBody, Settle};
use crate::BoxError;
use crate::classify::{ClassifyHttp, OnVerdict, Verdict};

/// How far a layer looks before it settles on a verdict, and what becomes of the response.
///
/// Implemented by [`HeadOnly`] and [`WholeBody`], for [`ClassifyLayer`](crate::ClassifyLayer) and
/// [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) alike.
pub trait SettleAt<Res, C, T> {
    /// The response that the caller gets.
    type Response;
    /// What is left to be done when the head has been judged.
    type Pending;

    /// Settles with the verdict on the head, or leaves that for later.
    fn judged(&self, verdict: Verdict, settle: T) -> Self::Pending;

    /// The response on its way out. A step of its own, so that a response which is passed on as it is moves once.
    fn respond(&self, response: Res, classifier: &C, pending: Self::Pending) -> Self::Response;
}

/// The response as it comes from the inner service is enough, and is passed on as it is. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadOnly;

/// A success is settled only when the body has ended: see [`ClassifyLayer::judge_body`](crate::ClassifyLayer::judge_body)
/// and [`CircuitBreakerLayer::judge_body`](crate::CircuitBreakerLayer::judge_body).
#[derive(Clone, Copy, Debug, Default)]
pub struct WholeBody;

/// Tells an observer of the verdict.
#[derive(Clone, Debug)]
pub struct Notify<O>(pub(in crate::classify) O);

impl<Res, C, T: Settle> SettleAt<Res, C, T> for HeadOnly {
    type Response = Res;
    type Pending = ();

    #[inline(always)]
    fn judged(&self, verdict: Verdict, settle: T) {
        settle.settle(&verdict);
    }

    #[inline(always)]
    fn respond(&self, response: Res, _: &C, (): ()) -> Res {
        response
    }
}

impl<B, C, T> SettleAt<Response<B>, C, T> for WholeBody
where
    B: Body,
    B::Error: Into<BoxError>,
    C: ClassifyHttp,
    T: Settle,
{
    type Response = Response<JudgedBody<B, C::Eos, T>>;
    type Pending = (Verdict, T);

    fn judged(&self, verdict: Verdict, settle: T) -> Self::Pending {
        (verdict, settle)
    }

    fn respond(&self, response: Response<B>, classifier: &C, (verdict, settle): Self::Pending) -> Self::Response {
        JudgedBody::wrap(response, verdict, classifier, settle)
    }
}

impl<O: OnVerdict> Settle for Notify<O> {
    fn settle(self, verdict: &Verdict) {
        self.0.on_verdict(verdict);
    }
}
