use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::call::cut::Sent;
use crate::classify::{self, Health, Processed, Reason, Verdict};

/// A time limit of the retry layer cut an attempt or prevented it.
///
/// It is in the source chain of a [`RetryError`](crate::retry::RetryError), and the classifiers recognise it.
///
/// ```
/// use std::time::Duration;
/// use tower_rampart::retry::{self, RetryPolicy, TimedOut};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let policy = RetryPolicy::new().max_attempts(2).attempt_timeout(Duration::from_secs(1));
/// let error = retry::call(&policy, std::future::pending::<std::io::Result<()>>).await.unwrap_err();
/// assert_eq!(TimedOut::find(&error).unwrap().attempt_timeout(), Some(Duration::from_secs(1)));
/// # }
/// ```
#[derive(Debug)]
pub struct TimedOut {
    // None for the deadline, which is a point in time.
    limit: Option<Duration>,
    verdict: Verdict,
    // Created when the chain is walked, because most errors never reach a generated client.
    #[cfg(feature = "tonic")]
    status: std::sync::OnceLock<tonic::Status>,
}

const CUT: Verdict = Verdict::transient().with_reason(Reason::TIMEOUT);
/// The request still waited for readiness: the upstream is slow and has not seen the request.
const CUT_UNSENT: Verdict = CUT.with_processed(Processed::No);
const NEVER_BEGUN: Verdict = CUT_UNSENT.with_health(Health::Neutral);

impl TimedOut {
    /// The attempt timeout expired.
    pub(in crate::retry) fn attempt(limit: Duration, sent: Sent) -> Self {
        Self::new(Some(limit), verdict_of_cut(sent))
    }

    /// The deadline passed while an attempt was in flight.
    pub(in crate::retry) fn deadline(sent: Sent) -> Self {
        Self::new(None, verdict_of_cut(sent))
    }

    /// The deadline passed while no attempt was in flight. `last` is the verdict on the last attempt, if there was one.
    pub(in crate::retry) fn before_attempt(last: Option<Verdict>) -> Self {
        Self::new(None, last.unwrap_or(NEVER_BEGUN))
    }

    fn new(limit: Option<Duration>, verdict: Verdict) -> Self {
        Self {
            limit,
            verdict,
            #[cfg(feature = "tonic")]
            status: std::sync::OnceLock::new(),
        }
    }

    /// Returns the outermost `TimedOut` in the source chain of an error.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        classify::find(error)
    }

    /// Returns the attempt timeout, or `None` if the deadline of the whole call passed.
    #[must_use]
    pub const fn attempt_timeout(&self) -> Option<Duration> {
        self.limit
    }

    pub(crate) const fn verdict(&self) -> Verdict {
        self.verdict
    }
}

const fn verdict_of_cut(sent: Sent) -> Verdict {
    match sent {
        Sent::Maybe => CUT,
        Sent::No => CUT_UNSENT,
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "the attempt took longer than {limit:?}"),
            None => f.write_str("the deadline passed"),
        }
    }
}

impl Error for TimedOut {
    #[cfg(feature = "tonic")]
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.status.get_or_init(|| tonic::Status::deadline_exceeded(self.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_transient_and_unprocessed_only_if_it_was_not_sent() {
        let facts = |error: &TimedOut| {
            let verdict = Verdict::of_error(error);
            (verdict.class(), verdict.processed(), verdict.health(), verdict.reason())
        };
        use crate::classify::Class::Transient;
        let limit = Duration::from_secs(2);
        let maybe = (Transient, Processed::Maybe, Health::Failure, Reason::TIMEOUT);
        let unsent = (Transient, Processed::No, Health::Failure, Reason::TIMEOUT);
        assert_eq!(facts(&TimedOut::attempt(limit, Sent::Maybe)), maybe);
        assert_eq!(facts(&TimedOut::deadline(Sent::Maybe)), maybe);
        assert_eq!(facts(&TimedOut::attempt(limit, Sent::No)), unsent);
        assert_eq!(facts(&TimedOut::before_attempt(None)).2, Health::Neutral);
        let last = Verdict::terminal();
        assert_eq!(Verdict::of_error(&TimedOut::before_attempt(Some(last))), last);
    }
}
