use std::error::Error;
use std::fmt;

use super::find;
use crate::BoxError;
use crate::classify::Verdict;

/// An error with a verdict. It ends the walk of the default classifiers along a chain of errors.
///
/// [`ClassifyLayer`](crate::ClassifyLayer) wraps every error in one. Your own error type can return one as its source
/// to set its verdict.
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
    /// Creates an error without a source, for the end of a chain.
    #[must_use]
    pub const fn new(verdict: Verdict) -> Self {
        Self { verdict, source: None }
    }

    /// Creates an error with a verdict on its source.
    #[must_use]
    pub fn with_source(verdict: Verdict, source: impl Into<BoxError>) -> Self {
        Self { verdict, source: Some(source.into()) }
    }

    /// Wraps an error, unless it has this verdict already.
    pub(crate) fn wrap(verdict: Verdict, error: BoxError) -> BoxError {
        match Self::find(&*error) {
            Some(classified) if classified.verdict == verdict => error,
            _ => Box::new(Self::with_source(verdict, error)),
        }
    }

    /// Returns the outermost one in the chain of an error's sources.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find(error)
    }

    /// Returns the verdict.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns the error that was judged.
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
