use std::error::Error;
use std::fmt;

use http::Response;

use super::Verdict;
use super::body::ClassifyEos;

/// Decides what the outcome of an attempt means.
///
/// A closure from an outcome to a [`Verdict`] is a classifier. Wrap it in [`classifier_fn`], which lets the compiler
/// infer its types and allows its use in a spawned task.
///
/// ```
/// use tower_rampart::classify::{Classifier, Verdict, classifier_fn};
///
/// struct Rows(usize);
///
/// let classifier = classifier_fn(|outcome: Result<&Rows, _>| match outcome {
///     Ok(Rows(0)) => Verdict::ambiguous(),
///     Ok(_) => Verdict::success(),
///     Err(error) => Verdict::of_error(error),
/// });
/// assert!(classifier.classify(Ok(&Rows(1))).is_success());
/// ```
pub trait Classifier<Res> {
    /// Returns the verdict on a response or an error.
    ///
    /// Called once for every attempt, on the caller's task: it must not block.
    fn classify(&self, outcome: Result<&Res, &(dyn Error + 'static)>) -> Verdict;

    /// Attaches the verdict to the response, if this type of response can carry one.
    ///
    /// [`ClassifyLayer`](crate::ClassifyLayer) calls this for every response. The default does nothing, because a
    /// closure, for example, does not know whether its response can carry a verdict. For HTTP, use
    /// [`HttpClassifier::when`](super::HttpClassifier::when) instead of a closure.
    fn annotate(&self, response: &mut Res, verdict: Verdict) {
        let _ = (response, verdict);
    }
}

/// Classifies HTTP responses with any type of body, and how the body ends.
///
/// Implemented by [`HttpClassifier`](super::HttpClassifier) and [`GrpcClassifier`](super::GrpcClassifier). Judging
/// [bodies](super::body) requires it.
pub trait ClassifyHttp {
    /// Classifies the end of a body.
    type Eos: ClassifyEos;

    /// Returns the verdict on the head of a response.
    fn classify_response<B>(&self, response: &Response<B>) -> Verdict;

    /// Returns the classifier for the end of this response's body, or `None` if the end cannot change the verdict on
    /// the head.
    fn eos<B>(&self, response: &Response<B>, head: Verdict) -> Option<Self::Eos>;
}

impl<F, Res> Classifier<Res> for F
where
    F: Fn(Result<&Res, &(dyn Error + 'static)>) -> Verdict,
{
    fn classify(&self, outcome: Result<&Res, &(dyn Error + 'static)>) -> Verdict {
        self(outcome)
    }
}

/// A closure as a classifier. Created by [`classifier_fn`].
pub struct ClassifierFn<F, Res> {
    closure: F,
    // A function pointer, so that no later bound names the closure. In a spawned task the compiler forgets the
    // lifetimes in such a bound, `'static` among them, and cannot prove it (rust-lang/rust issue 102211).
    classify: Classify<F, Res>,
}

type Classify<F, Res> = fn(&F, Result<&Res, &(dyn Error + 'static)>) -> Verdict;

/// Creates a classifier from a closure. Only the response type has to be written out: see [`Classifier`].
///
/// A bare closure is a classifier too, but `tokio::spawn` rejects a service that holds one: "implementation of `FnOnce`
/// is not general enough".
pub fn classifier_fn<F, Res>(closure: F) -> ClassifierFn<F, Res>
where
    F: Fn(Result<&Res, &(dyn Error + 'static)>) -> Verdict,
{
    ClassifierFn { closure, classify: |closure, outcome| closure(outcome) }
}

impl<F, Res> Classifier<Res> for ClassifierFn<F, Res> {
    fn classify(&self, outcome: Result<&Res, &(dyn Error + 'static)>) -> Verdict {
        (self.classify)(&self.closure, outcome)
    }
}

impl<F: Clone, Res> Clone for ClassifierFn<F, Res> {
    fn clone(&self) -> Self {
        Self { closure: self.closure.clone(), classify: self.classify }
    }
}

impl<F: Copy, Res> Copy for ClassifierFn<F, Res> {}

impl<F, Res> fmt::Debug for ClassifierFn<F, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassifierFn").finish_non_exhaustive()
    }
}
