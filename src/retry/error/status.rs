//! Puts a `tonic::Status` in the source chain of an error, so that a generated client returns its code.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};

use tonic::Status;

use crate::BoxError;

/// Created when the chain is walked, because most errors never reach a generated client.
#[derive(Default)]
pub(super) struct LazyStatus(OnceLock<Status>);

/// The error of the last attempt, with a status in front of it.
pub(super) struct WithStatus {
    status: Status,
    original: Arc<Original>,
}

/// Shared with the status, whose source it is.
struct Original(BoxError);

impl LazyStatus {
    pub(super) fn get(&self, make: impl FnOnce() -> Status) -> &Status {
        self.0.get_or_init(make)
    }
}

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
            Err(shared) => Box::new(SharedOriginal(shared)),
        }
    }
}

/// An original that a clone of the status still shares.
#[derive(Debug)]
struct SharedOriginal(Arc<Original>);

impl fmt::Debug for LazyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LazyStatus")
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

impl fmt::Display for SharedOriginal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for SharedOriginal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
