//! Why nothing could be pulled at all.

use std::fmt;

/// One line for the user; the process ends with exit code 2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure(String);

impl Failure {
    /// Keeps it one line and free of control characters, whatever a flag or an error message brought in.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        let message = message.to_string();
        let printable = message.chars().map(|c| if c.is_control() { ' ' } else { c });
        Self(printable.collect())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}
