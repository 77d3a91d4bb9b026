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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::classify::{ClassifiedError, Health, Processed, Reason, Verdict, cause};

    #[test]
    fn rule_4_a_failed_request_body_ends_the_walk() {
        let unprocessed = Verdict::transient().with_processed(Processed::No);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let body = RequestBodyFailed::new(ClassifiedError::with_source(unprocessed, reset));
        let own_fault = Verdict::terminal().with_processed(Processed::Maybe).with_health(Health::Neutral);
        let error = io::Error::other(io::Error::other(body));
        assert_eq!(Verdict::of_error(&error), own_fault.with_reason(Reason::USER));
        assert_eq!(cause(&error), Some("request body failed"));
    }
}
