use http::Response;
use http_body::Body;

use super::body::{JudgedBody, Settle};
use super::{ClassifyHttp, OnVerdict, Verdict};
use crate::BoxError;

/// How far a [`ClassifyLayer`](crate::ClassifyLayer) looks before it tells its verdict, and what becomes of the response.
///
/// Implemented by [`HeadOnly`] and [`WholeBody`].
pub trait Scope<Res, C, O> {
    /// The response that the caller gets.
    type Response;

    /// Tells the observer of the verdict, now or later.
    fn respond(&self, response: Res, verdict: Verdict, classifier: &C, observer: &O) -> Self::Response;
}

/// The response as it comes from the inner service is enough, and is passed on as it is. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadOnly;

/// A success is told of only when the body has ended: see [`ClassifyLayer::judge_body`](crate::ClassifyLayer::judge_body).
#[derive(Clone, Copy, Debug, Default)]
pub struct WholeBody;

/// Tells an observer of the verdict that a body ended with.
#[derive(Clone, Debug)]
pub struct Tell<O>(O);

impl<Res, C, O: OnVerdict> Scope<Res, C, O> for HeadOnly {
    type Response = Res;

    fn respond(&self, response: Res, verdict: Verdict, _: &C, observer: &O) -> Res {
        observer.on_verdict(&verdict);
        response
    }
}

impl<B, C, O> Scope<Response<B>, C, O> for WholeBody
where
    B: Body,
    B::Error: Into<BoxError>,
    C: ClassifyHttp,
    O: OnVerdict + Clone,
{
    type Response = Response<JudgedBody<B, C::Ending, Tell<O>>>;

    fn respond(&self, response: Response<B>, verdict: Verdict, classifier: &C, observer: &O) -> Self::Response {
        JudgedBody::wrap(response, verdict, classifier, Tell(observer.clone()))
    }
}

impl<O: OnVerdict> Settle for Tell<O> {
    fn settle(self, verdict: &Verdict) {
        self.0.on_verdict(verdict);
    }
}
