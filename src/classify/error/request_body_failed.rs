use std::error::Error;
use std::fmt;

use crate::BoxError;

/// Marks a failed request body in the chain of the client's error.
///
/// Clients use one kind of error for a failed body and for a request that they dropped. This link distinguishes the
/// two.
#[derive(Debug)]
pub(crate) struct RequestBodyFailed {
    source: BoxError,
}

impl RequestBodyFailed {
    /// Wraps the error of the body.
    pub(crate) fn new(source: impl Into<BoxError>) -> Self {
        Self { source: source.into() }
    }
}

/// Shows the text of the inner error, so that a client that reads the body sees that error.
impl fmt::Display for RequestBodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

impl Error for RequestBodyFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
