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
    // The replay body does not wrap its errors yet.
    #[allow(dead_code)]
    pub(crate) fn new(source: impl Into<BoxError>) -> Self {
        Self { source: source.into() }
    }
}

impl fmt::Display for RequestBodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body failed")
    }
}

impl Error for RequestBodyFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
