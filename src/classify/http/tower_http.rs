//! Classifiers of [tower-http] as ours, and ours in its `TraceLayer`. Behind the feature `tower-http`.
//!
//! ```
//! use tower_http::classify::{ServerErrorsAsFailures, ServerErrorsFailureClass};
//! use tower_http::trace::TraceLayer;
//! use tower_rampart::ClassifyLayer;
//! use tower_rampart::classify::tower_http::IntoTowerHttp;
//! use tower_rampart::classify::{HttpClassifier, Verdict};
//!
//! // Theirs, with a word on what each of its failures means here.
//! let theirs = ClassifyLayer::from_tower_http(ServerErrorsAsFailures::make_classifier(), |failure| match failure {
//!     ServerErrorsFailureClass::StatusCode(status) if status == 501 => Verdict::terminal(),
//!     ServerErrorsFailureClass::StatusCode(_) => Verdict::transient(),
//!     ServerErrorsFailureClass::Error(_) => Verdict::ambiguous(),
//! });
//!
//! // Ours: the trace says "transient (status 503)".
//! let ours = TraceLayer::new(IntoTowerHttp::make_classifier(HttpClassifier::new()));
//! # let _ = (theirs, ours);
//! ```
//!
//! [tower-http]: https://docs.rs/tower-http

use std::any::Any;
use std::error::Error;
use std::fmt;

use http::{HeaderMap, Request, Response};
use tower_http::classify::{
    ClassifiedResponse, ClassifyEos as TheirClassifyEos, ClassifyResponse, MakeClassifier, SharedClassifier,
};

use crate::BoxError;
use crate::classify::body::{ClassifyEos, Eos};
use crate::classify::{ClassifiedError, Classifier, ClassifyHttp, ClassifyLayer, HeadOnly, Route, Verdict};

/// A classifier of tower-http, with what its failures mean.
#[derive(Clone, Copy, Debug)]
pub struct FromTowerHttp<T, F> {
    theirs: T,
    map: F,
}

/// What judges the end of a body by a classifier of tower-http.
#[derive(Clone, Copy, Debug)]
pub struct FromTowerHttpEos<T, F> {
    head: Verdict,
    // None if the head was enough for them; the body can still break off.
    theirs: Option<T>,
    map: F,
}

/// A classifier of ours for `TraceLayer` and whatever else takes one of tower-http. Its failure class is a [`Verdict`].
#[derive(Clone, Copy, Debug)]
pub struct IntoTowerHttp<C> {
    ours: C,
}

/// What judges the end of a body for tower-http.
#[derive(Clone, Copy, Debug)]
pub struct IntoTowerHttpEos<E> {
    ours: E,
}

impl<M, F> ClassifyLayer<(), (), HeadOnly, FromTowerHttp<M, F>> {
    /// Judges by a `MakeClassifier` of tower-http, which sees the request, and a word on what each of its failures means.
    ///
    /// Whatever it calls no failure is a success. With [`judge_body`](ClassifyLayer::judge_body) its `ClassifyEos` has its
    /// say, too. Of an error it sees only the words, as it always does; one that says its verdict itself (a
    /// [`ClassifiedError`] in its chain) is not asked about.
    #[must_use]
    pub fn from_tower_http(make: M, map: F) -> Self
    where
        M: MakeClassifier,
        F: Fn(M::FailureClass) -> Verdict,
    {
        ClassifyLayer::new(()).routed_by(FromTowerHttp::new(make, map))
    }
}

impl<T, F> FromTowerHttp<T, F> {
    /// A classifier of ours from a `ClassifyResponse` of theirs (or a way to make such from a `MakeClassifier`).
    pub const fn new(theirs: T, map: F) -> Self {
        Self { theirs, map }
    }
}

impl<C> IntoTowerHttp<C> {
    /// A `ClassifyResponse`.
    pub const fn new(ours: C) -> Self {
        Self { ours }
    }

    /// A `MakeClassifier`, as `TraceLayer::new` takes it.
    pub fn make_classifier(ours: C) -> SharedClassifier<Self>
    where
        C: ClassifyHttp + Clone,
    {
        SharedClassifier::new(Self::new(ours))
    }
}

impl<M, F, B, C> Route<Request<B>, C> for FromTowerHttp<M, F>
where
    M: MakeClassifier,
    F: Clone,
{
    type Classifier = FromTowerHttp<M::Classifier, F>;

    fn route(&self, _: &C, request: &Request<B>) -> Self::Classifier {
        FromTowerHttp::new(self.theirs.make_classifier(request), self.map.clone())
    }

    fn without_request(&self, _: &C) -> Option<Self::Classifier> {
        None
    }
}

impl<T, F> FromTowerHttp<T, F>
where
    T: ClassifyResponse + Clone,
    F: Fn(T::FailureClass) -> Verdict,
{
    fn judge<B>(&self, response: &Response<B>) -> Verdict {
        match self.theirs.clone().classify_response(response) {
            ClassifiedResponse::Ready(Err(failure)) => (self.map)(failure),
            ClassifiedResponse::Ready(Ok(())) | ClassifiedResponse::RequiresEos(_) => Verdict::success(),
        }
    }
}

impl<T, F, B> Classifier<Response<B>> for FromTowerHttp<T, F>
where
    T: ClassifyResponse + Clone,
    F: Fn(T::FailureClass) -> Verdict,
{
    fn classify(&self, outcome: Result<&Response<B>, &(dyn Error + 'static)>) -> Verdict {
        match outcome {
            Ok(response) => Verdict::left_in(response.extensions()).unwrap_or_else(|| self.judge(response)),
            Err(error) => match ClassifiedError::find(error) {
                Some(said) => said.verdict(),
                None => (self.map)(self.theirs.clone().classify_error(&error.to_string())),
            },
        }
    }

    fn annotate(&self, response: &mut Response<B>, verdict: Verdict) {
        verdict.leave_in(response);
    }
}

impl<T, F> ClassifyHttp for FromTowerHttp<T, F>
where
    T: ClassifyResponse + Clone,
    F: Fn(T::FailureClass) -> Verdict + Clone,
{
    type Eos = FromTowerHttpEos<T::ClassifyEos, F>;

    fn classify_response<B>(&self, response: &Response<B>) -> Verdict {
        self.classify(Ok(response))
    }

    fn eos<B>(&self, response: &Response<B>, head: Verdict) -> Option<Self::Eos> {
        let theirs = match self.theirs.clone().classify_response(response) {
            ClassifiedResponse::RequiresEos(eos) => Some(eos),
            ClassifiedResponse::Ready(_) => None,
        };
        head.is_success().then(|| FromTowerHttpEos { head, theirs, map: self.map.clone() })
    }
}

impl<T, F> ClassifyEos for FromTowerHttpEos<T, F>
where
    T: TheirClassifyEos,
    F: Fn(T::FailureClass) -> Verdict,
{
    fn classify_eos(self, eos: Eos<'_>) -> Verdict {
        let Self { head, theirs, map } = self;
        match (theirs, eos) {
            (Some(theirs), Eos::Complete(trailers)) => theirs.classify_eos(trailers).map_or_else(map, |()| head),
            (Some(theirs), Eos::Failed(error)) if ClassifiedError::find(error).is_none() => {
                map(theirs.classify_error(&error.to_string()))
            }
            // They have no word for the other ends.
            (_, eos) => eos.after(head),
        }
    }
}

impl<C: ClassifyHttp> ClassifyResponse for IntoTowerHttp<C> {
    type FailureClass = Verdict;
    type ClassifyEos = IntoTowerHttpEos<C::Eos>;

    fn classify_response<B>(self, response: &Response<B>) -> ClassifiedResponse<Verdict, Self::ClassifyEos> {
        let verdict = self.ours.classify_response(response);
        match self.ours.eos(response, verdict) {
            Some(ours) => ClassifiedResponse::RequiresEos(IntoTowerHttpEos { ours }),
            None => ClassifiedResponse::Ready(failure(verdict)),
        }
    }

    /// Judged by its chain, if it is a [`BoxError`] or of a type that this crate knows; the words of any
    /// other tell nothing.
    fn classify_error<E: fmt::Display + 'static>(self, error: &E) -> Verdict {
        chain_of(error).map_or(Verdict::transient(), Verdict::of_error)
    }
}

impl<E: ClassifyEos> TheirClassifyEos for IntoTowerHttpEos<E> {
    type FailureClass = Verdict;

    fn classify_eos(self, trailers: Option<&HeaderMap>) -> Result<(), Verdict> {
        failure(self.ours.classify_eos(Eos::Complete(trailers)))
    }

    fn classify_error<T: fmt::Display + 'static>(self, error: &T) -> Verdict {
        self.ours.classify_eos(Eos::Failed(chain_of(error).unwrap_or(&fmt::Error)))
    }
}

fn failure(verdict: Verdict) -> Result<(), Verdict> {
    if verdict.is_success() { Ok(()) } else { Err(verdict) }
}

/// They promise only that an error can be displayed, so what else it is has to be guessed.
fn chain_of<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    let any: &dyn Any = error;
    match any.downcast_ref::<BoxError>() {
        Some(error) => Some(&**error),
        None => KNOWN.iter().find_map(|known| known(any)),
    }
}

type Known = fn(&dyn Any) -> Option<&(dyn Error + 'static)>;

/// What clients fail with that is not boxed.
const KNOWN: &[Known] = &[
    known::<ClassifiedError>,
    known::<std::io::Error>,
    #[cfg(feature = "hyper")]
    known::<hyper::Error>,
    #[cfg(feature = "hyper")]
    known::<hyper_util::client::legacy::Error>,
    #[cfg(feature = "reqwest")]
    known::<reqwest::Error>,
];

fn known<E: Error + 'static>(any: &dyn Any) -> Option<&(dyn Error + 'static)> {
    any.downcast_ref::<E>().map(|error| error as _)
}
