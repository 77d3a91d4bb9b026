use std::error::Error;
use std::fmt;
use std::io;

/// The connection was refused or reset. Its source is the [`io::Error`] that a client would see.
#[derive(Debug)]
pub struct UpstreamError(io::Error);

impl From<io::ErrorKind> for UpstreamError {
    fn from(kind: io::ErrorKind) -> Self {
        Self(kind.into())
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request failed")
    }
}

impl Error for UpstreamError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
