use http::Response;
use http_body::Body;

use super::{JudgedBody, Settle};
use crate::BoxError;
use crate::classify::{ClassifyHttp, OnVerdict, Verdict};

/// When a layer settles the verdict on a response: at its head or at the end of its body.
///
/// Implemented by [`HeadOnly`] and [`WholeBody`]. Used by [`ClassifyLayer`](crate::ClassifyLayer) and
/// [`CircuitBreakerLayer`](crate::CircuitBreakerLayer).
pub trait SettleAt<Res, Classifier, Settle> {
    /// The response that the caller receives.
    type Response;
    /// What remains to be done after the head.
    type Pending;

    /// Settles the verdict on the head, or defers that to the end of the body.
    fn judged(&self, verdict: Verdict, settle: Settle) -> Self::Pending;

    /// Returns the response for the caller. Separate from [`judged`](Self::judged), so that an unchanged response moves
    /// only once.
    fn respond(&self, response: Res, classifier: &Classifier, pending: Self::Pending) -> Self::Response;
}

/// Settles at the head and passes the response on unchanged. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadOnly;

/// Settles a success at the end of its body: see [`ClassifyLayer::judge_body`](crate::ClassifyLayer::judge_body)
/// and [`CircuitBreakerLayer::judge_body`](crate::CircuitBreakerLayer::judge_body).
#[derive(Clone, Copy, Debug, Default)]
pub struct WholeBody;

/// Reports the settled verdict to an observer.
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
