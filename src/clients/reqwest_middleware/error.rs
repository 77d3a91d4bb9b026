use std::error::Error;
use std::fmt;

use crate::BoxError;

/// The error of a stack. The error of the middleware hides it, but not its source.
#[derive(Debug)]
struct StackError {
    source: BoxError,
}

/// Returns an error that came from inside unchanged, and puts any other in the chain of a new one.
pub(super) fn into_middleware_error(error: BoxError) -> reqwest_middleware::Error {
    match error.downcast::<reqwest_middleware::Error>() {
        Ok(inside) => *inside,
        Err(source) => reqwest_middleware::Error::middleware(StackError { source }),
    }
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

impl Error for StackError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
