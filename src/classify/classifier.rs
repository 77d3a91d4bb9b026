use std::error::Error;

use super::Verdict;

/// Says what the outcome of an attempt means.
///
/// A closure from an outcome to a [`Verdict`] is a classifier; [`classifier_fn`] helps the compiler with its types.
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
    /// The verdict on a response or an error.
    ///
    /// Asked once for every attempt and on the caller's time: do no more here than look.
    fn classify(&self, outcome: Result<&Res, &(dyn Error + 'static)>) -> Verdict;

    /// Leaves the verdict with the response, where such a response has a place for it.
    ///
    /// [`ClassifyLayer`](crate::ClassifyLayer) calls it for every verdict that the default classifiers of the layers
    /// outside it could not know. Does nothing by default: a closure, for one, cannot tell whether its response has such
    /// a place. For HTTP put your rule in front of [`HttpClassifier`](super::HttpClassifier) instead.
    fn annotate(&self, response: &mut Res, verdict: Verdict) {
        let _ = (response, verdict);
    }
}

impl<F, Res> Classifier<Res> for F
where
    F: Fn(Result<&Res, &(dyn Error + 'static)>) -> Verdict,
{
    fn classify(&self, outcome: Result<&Res, &(dyn Error + 'static)>) -> Verdict {
        self(outcome)
    }
}

/// Returns the closure as it is. The signature tells the compiler what the closure takes, so that only the response
/// type has to be written out: see [`Classifier`].
pub fn classifier_fn<F, Res>(classifier: F) -> F
where
    F: Fn(Result<&Res, &(dyn Error + 'static)>) -> Verdict,
{
    classifier
}
