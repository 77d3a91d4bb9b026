use std::error::Error;
use std::fmt;

use super::find;
use crate::BoxError;
use crate::classify::Verdict;

/// A verdict in a chain of errors: what is underneath has been judged, and the default classifiers look no further.
///
/// [`ClassifyLayer`](crate::ClassifyLayer) wraps every error in one. An error type of your own can carry one as its
/// source to say what it means, as this crate's `CircuitOpen` does to say that the call was never made.
///
/// ```
/// use tower_rampart::classify::{Class, ClassifiedError, Processed, Verdict};
///
/// let shed = ClassifiedError::new(Verdict::transient().with_processed(Processed::No));
/// assert!(Verdict::of_error(&shed).is_unprocessed());
/// ```
#[derive(Debug)]
pub struct ClassifiedError {
    verdict: Verdict,
    source: Option<BoxError>,
}

impl ClassifiedError {
    /// A verdict alone, for the end of a chain.
    #[must_use]
    pub const fn new(verdict: Verdict) -> Self {
        Self { verdict, source: None }
    }

    /// A verdict on an error, which becomes the source.
    #[must_use]
    pub fn with_source(verdict: Verdict, source: impl Into<BoxError>) -> Self {
        Self { verdict, source: Some(source.into()) }
    }

    /// The error with this verdict on it: as it is if that is what it says already.
    pub(crate) fn wrap(verdict: Verdict, error: BoxError) -> BoxError {
        match Self::find(&*error) {
            Some(said) if said.verdict == verdict => error,
            _ => Box::new(Self::with_source(verdict, error)),
        }
    }

    /// The outermost one in the chain of an error's sources.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find(error)
    }

    /// The verdict.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The error that was judged.
    #[must_use]
    pub fn into_source(self) -> Option<BoxError> {
        self.source
    }
}

impl fmt::Display for ClassifiedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.verdict, f)
    }
}

impl Error for ClassifiedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
