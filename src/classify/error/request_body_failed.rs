use std::error::Error;
use std::fmt;

use crate::BoxError;

/// A request body that failed, in the chain of the error that the client makes of it.
///
/// Clients use one kind of error for a body that failed and for a request that they dropped for reasons of their own.
/// This link tells them apart.
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

/// In the words of the body: a client that reads the body sees its own error.
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
