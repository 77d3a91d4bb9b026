use http::Response;
use http_body::Body;

use super::{JudgedBody, Settle};
use crate::BoxError;
use crate::classify::{ClassifyHttp, OnVerdict, Verdict};

/// How far a layer looks before it settles on a verdict, and what becomes of the response.
///
/// Implemented by [`HeadOnly`] and [`WholeBody`], for [`ClassifyLayer`](crate::ClassifyLayer) and
/// [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) alike.
pub trait SettleAt<Res, Classifier, Settle> {
    /// The response that the caller gets.
    type Response;
    /// What is left to be done when the head has been judged.
    type Pending;

    /// Settles with the verdict on the head, or leaves that for later.
    fn judged(&self, verdict: Verdict, settle: Settle) -> Self::Pending;

    /// The response on its way out. A step of its own, so that a response which is passed on as it is moves once.
    fn respond(&self, response: Res, classifier: &Classifier, pending: Self::Pending) -> Self::Response;
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
pub struct Notify<OnVerdict>(pub(in crate::classify) OnVerdict);

impl<Res, Classifier, SettleT: Settle> SettleAt<Res, Classifier, SettleT> for HeadOnly {
    type Response = Res;
    type Pending = ();

    #[inline(always)]
    fn judged(&self, verdict: Verdict, settle: SettleT) {
        settle.settle(&verdict);
    }

    #[inline(always)]
    fn respond(&self, response: Res, _: &Classifier, (): ()) -> Res {
        response
    }
}

impl<B, Classifier, SettleT> SettleAt<Response<B>, Classifier, SettleT> for WholeBody
where
    B: Body,
    B::Error: Into<BoxError>,
    Classifier: ClassifyHttp,
    SettleT: Settle,
{
    type Response = Response<JudgedBody<B, Classifier::Eos, SettleT>>;
    type Pending = (Verdict, SettleT);

    fn judged(&self, verdict: Verdict, settle: SettleT) -> Self::Pending {
        (verdict, settle)
    }

    fn respond(
        &self,
        response: Response<B>,
        classifier: &Classifier,
        (verdict, settle): Self::Pending,
    ) -> Self::Response {
        JudgedBody::wrap(response, verdict, classifier, settle)
    }
}

impl<OnVerdictT: OnVerdict> Settle for Notify<OnVerdictT> {
    fn settle(self, verdict: &Verdict) {
        self.0.on_verdict(verdict);
    }
}
