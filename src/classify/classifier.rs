use std::error::Error;
use std::fmt;

use http::Response;

use super::Verdict;
use super::body::ClassifyEos;

/// Says what the outcome of an attempt means.
///
/// A closure from an outcome to a [`Verdict`] is a classifier. Wrap it in [`classifier_fn`], which helps the compiler with
/// its types, and without which it cannot go into a spawned task.
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

/// A classifier of HTTP answers that does not ask what type their body is, and that can judge how the body ends.
///
/// [`HttpClassifier`](super::HttpClassifier) and [`GrpcClassifier`](super::GrpcClassifier) are such. Judging [at the end of the body](super::body) needs one.
pub trait ClassifyHttp {
    /// What judges the end of a body.
    type Eos: ClassifyEos;

    /// The verdict on a head.
    fn classify_response<B>(&self, response: &Response<B>) -> Verdict;

    /// What is to judge the end of this response's body, whose head was judged so. `None` if the end cannot change the
    /// verdict any more.
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

/// A closure as a classifier: made by [`classifier_fn`].
pub struct ClassifierFn<F, Res> {
    closure: F,
    // Known when it was made, so that no bound on the closure is left to be proven later. Inside a spawned task the
    // compiler forgets the lifetimes in such a bound, `'static` among them, and then cannot prove it (rust-lang/rust
    // issue 102211).
    ask: Ask<F, Res>,
}

type Ask<F, Res> = fn(&F, Result<&Res, &(dyn Error + 'static)>) -> Verdict;

/// Makes a classifier of a closure, of which only the response type has to be written out: see [`Classifier`].
///
/// A closure that is not wrapped is a classifier too, but a service that holds one cannot go into `tokio::spawn`: the
/// compiler says "implementation of `FnOnce` is not general enough".
pub fn classifier_fn<F, Res>(closure: F) -> ClassifierFn<F, Res>
where
    F: Fn(Result<&Res, &(dyn Error + 'static)>) -> Verdict,
{
    ClassifierFn { closure, ask: |closure, outcome| closure(outcome) }
}

impl<F, Res> Classifier<Res> for ClassifierFn<F, Res> {
    fn classify(&self, outcome: Result<&Res, &(dyn Error + 'static)>) -> Verdict {
        (self.ask)(&self.closure, outcome)
    }
}

impl<F: Clone, Res> Clone for ClassifierFn<F, Res> {
    fn clone(&self) -> Self {
        Self { closure: self.closure.clone(), ask: self.ask }
    }
}

impl<F: Copy, Res> Copy for ClassifierFn<F, Res> {}

impl<F, Res> fmt::Debug for ClassifierFn<F, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassifierFn").finish_non_exhaustive()
    }
}
