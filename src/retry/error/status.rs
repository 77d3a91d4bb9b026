//! Puts a `tonic::Status` in the source chain of an error, so that a generated client returns its code.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tonic::Status;

use crate::BoxError;

/// The error of the last attempt, with a status in front of it.
pub(super) struct WithStatus {
    status: Status,
    original: Arc<Original>,
}

/// Shared with the status, whose source it is.
struct Original(BoxError);

impl WithStatus {
    pub(super) fn new(mut status: Status, error: BoxError) -> Self {
        let original = Arc::new(Original(error));
        status.set_source(original.clone());
        Self { status, original }
    }

    pub(super) fn status(&self) -> &Status {
        &self.status
    }

    pub(super) fn into_original(self) -> BoxError {
        let Self { status, original } = self;
        drop(status);
        // Still shared if the caller has cloned the status out of the chain.
        match Arc::try_unwrap(original) {
            Ok(Original(error)) => error,
            Err(shared) => Box::new(shared),
        }
    }
}

/// Omits the error, which may contain a URL: the `Display` of the status prints this.
impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Original(..)")
    }
}

impl fmt::Display for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the last attempt failed")
    }
}

impl Error for Original {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
