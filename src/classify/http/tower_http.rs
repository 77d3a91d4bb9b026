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
pub struct FromTowerHttp<Theirs, Map> {
    theirs: Theirs,
    map: Map,
}

/// What judges the end of a body by a classifier of tower-http.
#[derive(Clone, Copy, Debug)]
pub struct FromTowerHttpEos<Theirs, Map> {
    head: Verdict,
    // None if the head was enough for them; the body can still break off.
    theirs: Option<Theirs>,
    map: Map,
}

/// A classifier of ours for `TraceLayer` and whatever else takes one of tower-http. Its failure class is a [`Verdict`].
#[derive(Clone, Copy, Debug)]
pub struct IntoTowerHttp<Ours> {
    ours: Ours,
}

/// What judges the end of a body for tower-http.
#[derive(Clone, Copy, Debug)]
pub struct IntoTowerHttpEos<Ours> {
    ours: Ours,
}

impl<MakeTheirs, Map> ClassifyLayer<(), (), HeadOnly, FromTowerHttp<MakeTheirs, Map>> {
    /// Judges by a `MakeClassifier` of tower-http, which sees the request, and a word on what each of its failures means.
    ///
    /// Whatever it calls no failure is a success. With [`judge_body`](ClassifyLayer::judge_body) its `ClassifyEos` has its
    /// say, too. Of an error it sees only the words, as it always does; one that says its verdict itself (a
    /// [`ClassifiedError`] in its chain) is not asked about.
    #[must_use]
    pub fn from_tower_http(make: MakeTheirs, map: Map) -> Self
    where
        MakeTheirs: MakeClassifier,
        Map: Fn(MakeTheirs::FailureClass) -> Verdict,
    {
        ClassifyLayer::new(()).routed_by(FromTowerHttp::new(make, map))
    }
}

impl<Theirs, Map> FromTowerHttp<Theirs, Map> {
    /// A classifier of ours from a `ClassifyResponse` of theirs (or a way to make such from a `MakeClassifier`).
    pub const fn new(theirs: Theirs, map: Map) -> Self {
        Self { theirs, map }
    }
}

impl<Ours> IntoTowerHttp<Ours> {
    /// A `ClassifyResponse`.
    pub const fn new(ours: Ours) -> Self {
        Self { ours }
    }

    /// A `MakeClassifier`, as `TraceLayer::new` takes it.
    pub fn make_classifier(ours: Ours) -> SharedClassifier<Self>
    where
        Ours: ClassifyHttp + Clone,
    {
        SharedClassifier::new(Self::new(ours))
    }
}

impl<MakeTheirs, Map, B, Default> Route<Request<B>, Default> for FromTowerHttp<MakeTheirs, Map>
where
    MakeTheirs: MakeClassifier,
    Map: Clone,
{
    type Classifier = FromTowerHttp<MakeTheirs::Classifier, Map>;

    fn route(&self, _: &Default, request: &Request<B>) -> Self::Classifier {
        FromTowerHttp::new(self.theirs.make_classifier(request), self.map.clone())
    }

    fn without_request(&self, _: &Default) -> Option<Self::Classifier> {
        None
    }
}

impl<Theirs, Map> FromTowerHttp<Theirs, Map>
where
    Theirs: ClassifyResponse + Clone,
    Map: Fn(Theirs::FailureClass) -> Verdict,
{
    fn judge<B>(&self, response: &Response<B>) -> Verdict {
        match self.theirs.clone().classify_response(response) {
            ClassifiedResponse::Ready(Err(failure)) => (self.map)(failure),
            ClassifiedResponse::Ready(Ok(())) | ClassifiedResponse::RequiresEos(_) => Verdict::success(),
        }
    }
}

impl<Theirs, Map, B> Classifier<Response<B>> for FromTowerHttp<Theirs, Map>
where
    Theirs: ClassifyResponse + Clone,
    Map: Fn(Theirs::FailureClass) -> Verdict,
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

impl<Theirs, Map> ClassifyHttp for FromTowerHttp<Theirs, Map>
where
    Theirs: ClassifyResponse + Clone,
    Map: Fn(Theirs::FailureClass) -> Verdict + Clone,
{
    type Eos = FromTowerHttpEos<Theirs::ClassifyEos, Map>;

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

impl<Theirs, Map> ClassifyEos for FromTowerHttpEos<Theirs, Map>
where
    Theirs: TheirClassifyEos,
    Map: Fn(Theirs::FailureClass) -> Verdict,
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

impl<Ours: ClassifyHttp> ClassifyResponse for IntoTowerHttp<Ours> {
    type FailureClass = Verdict;
    type ClassifyEos = IntoTowerHttpEos<Ours::Eos>;

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

impl<Ours: ClassifyEos> TheirClassifyEos for IntoTowerHttpEos<Ours> {
    type FailureClass = Verdict;

    fn classify_eos(self, trailers: Option<&HeaderMap>) -> Result<(), Verdict> {
        failure(self.ours.classify_eos(Eos::Complete(trailers)))
    }

    fn classify_error<E: fmt::Display + 'static>(self, error: &E) -> Verdict {
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
