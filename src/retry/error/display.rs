//! What a [`RetryError`] shows. In a file of its own: it asks the judge of errors, which itself knows the type of the
//! error.

use std::fmt;

use super::RetryError;
use crate::BoxError;
use crate::classify::{self, Verdict};
use crate::explain::sentence::count;
use crate::retry::observe::{History, RetryReport};
use crate::retry::policy::GiveUp;

impl RetryError {
    /// Creates an error for tests of code that handles it. Its verdict is [`Verdict::of_error`] of the source.
    ///
    /// ```
    /// use tower_rampart::retry::{GiveUp, RetryError};
    ///
    /// let error = RetryError::new(GiveUp::Budget, 1, std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    /// assert_eq!(error.to_string(), "gave up after 1 attempt: the retry budget is empty (connection reset)");
    /// ```
    #[must_use]
    pub fn new(kind: GiveUp, attempts: u32, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        let verdict = Verdict::of_error(&*source);
        let report =
            RetryReport { attempts, gave_up: Some(kind), processed: verdict.processed(), history: History::default() };
        Self::with_report(kind, report, verdict, source)
    }
}

impl fmt::Display for RetryError {
    /// Names the cause in words of this crate, never in those of the source, which may contain a URL or a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, report, verdict: _, source: _ } = self;
        write!(f, "gave up after {}: ", count(report.attempts, "attempt"))?;
        match (kind, classify::cause(self.source_error())) {
            // The kind adds nothing to the cause.
            (GiveUp::NotRetryable, Some(cause)) => f.write_str(cause),
            (GiveUp::CircuitOpen | GiveUp::BodyFailed, _) | (_, None) => f.write_str(kind.explained()),
            (_, Some(cause)) => write!(f, "{} ({cause})", kind.explained()),
        }
    }
}

/// Omits the source, which may contain a URL.
impl fmt::Debug for RetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, report, verdict, source: _ } = self;
        f.debug_struct("RetryError")
            .field("kind", kind)
            .field("report", report)
            .field("verdict", verdict)
            .field("cause", &classify::cause(self.source_error()))
            .finish_non_exhaustive()
    }
}
