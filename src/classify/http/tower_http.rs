//! Converts classifiers from and to those of [tower-http]. Requires the feature `tower-http`.
//!
//! ```
//! use tower_http::classify::{ServerErrorsAsFailures, ServerErrorsFailureClass};
//! use tower_http::trace::TraceLayer;
//! use tower_rampart::ClassifyLayer;
//! use tower_rampart::classify::tower_http::IntoTowerHttp;
//! use tower_rampart::classify::{HttpClassifier, Verdict};
//!
//! // From tower-http, with a verdict for each failure class.
//! let theirs = ClassifyLayer::from_tower_http(ServerErrorsAsFailures::make_classifier(), |failure| match failure {
//!     ServerErrorsFailureClass::StatusCode(status) if status == 501 => Verdict::terminal(),
//!     ServerErrorsFailureClass::StatusCode(_) => Verdict::transient(),
//!     ServerErrorsFailureClass::Error(_) => Verdict::ambiguous(),
//! });
//!
//! // To tower-http: the trace shows "transient (status 503)".
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

/// A classifier of tower-http, with a map from its failure classes to verdicts.
#[derive(Clone, Copy, Debug)]
pub struct FromTowerHttp<Theirs, Map> {
    theirs: Theirs,
    map: Map,
}

/// Classifies the end of a body with a classifier of tower-http.
#[derive(Clone, Copy, Debug)]
pub struct FromTowerHttpEos<Theirs, Map> {
    head: Verdict,
    // None if tower-http decided at the head. The body can still be cut off.
    theirs: Option<Theirs>,
    map: Map,
}

/// A classifier of this crate for `TraceLayer` and other users of tower-http's. Its failure class is a [`Verdict`].
#[derive(Clone, Copy, Debug)]
pub struct IntoTowerHttp<Ours> {
    ours: Ours,
}

/// Classifies the end of a body for tower-http.
#[derive(Clone, Copy, Debug)]
pub struct IntoTowerHttpEos<Ours> {
    ours: Ours,
}

impl<MakeTheirs, Map> ClassifyLayer<(), (), HeadOnly, FromTowerHttp<MakeTheirs, Map>> {
    /// Creates a layer from a `MakeClassifier` of tower-http, which sees the request, and a map from its failure
    /// classes to verdicts.
    ///
    /// Everything that is not a failure is a success. With [`judge_body`](ClassifyLayer::judge_body), its `ClassifyEos`
    /// is used too. It sees only the text of an error. It is not used for an error with a [`ClassifiedError`] in its
    /// chain.
    #[must_use]
    pub fn from_tower_http(make: MakeTheirs, map: Map) -> Self
    where
        MakeTheirs: MakeClassifier,
        Map: Fn(MakeTheirs::FailureClass) -> Verdict,
    {
        ClassifyLayer::new(()).map_routes(|()| FromTowerHttp::new(make, map))
    }
}

impl<Theirs, Map> FromTowerHttp<Theirs, Map> {
    /// Converts a `ClassifyResponse` (or a `MakeClassifier`) of tower-http.
    pub const fn new(theirs: Theirs, map: Map) -> Self {
        Self { theirs, map }
    }
}

impl<Ours> IntoTowerHttp<Ours> {
    /// Creates a `ClassifyResponse`.
    pub const fn new(ours: Ours) -> Self {
        Self { ours }
    }

    /// Creates a `MakeClassifier` for `TraceLayer::new`.
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
                Some(classified) => classified.verdict(),
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
            // Tower-http has no notion of the other ends.
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

    /// Judges the chain of a [`BoxError`] and of error types that this crate knows. Any other error is transient.
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

/// Returns the error as `dyn Error`. Tower-http only guarantees `Display`, so this tries the known types.
fn chain_of<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    let any: &dyn Any = error;
    match any.downcast_ref::<BoxError>() {
        Some(error) => Some(&**error),
        None => KNOWN.iter().find_map(|known| known(any)),
    }
}

type Known = fn(&dyn Any) -> Option<&(dyn Error + 'static)>;

/// The error types of clients that are not boxed.
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
