use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::classify::{self, Health, Processed, Reason, Verdict};
use crate::cut::Sent;

/// An attempt that a time limit of the retry layer cut short, or that was never made because of one.
///
/// Found in the chain under a [`RetryError`](crate::retry::RetryError). The classifiers know what it means.
#[derive(Debug)]
pub struct TimedOut {
    // None is the deadline, which is a moment and has no length.
    limit: Option<Duration>,
    verdict: Verdict,
    #[cfg(feature = "tonic")]
    status: super::status::LazyStatus,
}

const CUT: Verdict = Verdict::transient().with_reason(Reason::TIMEOUT);
/// The request still waited for a service to become ready: the upstream is slow, and it has not seen the request.
const CUT_UNSENT: Verdict = CUT.with_processed(Processed::No);
const NEVER_BEGUN: Verdict = CUT_UNSENT.with_health(Health::Neutral);

impl TimedOut {
    /// An attempt took too long.
    pub(in crate::retry) fn attempt(limit: Duration, sent: Sent) -> Self {
        Self::new(Some(limit), verdict_of_cut(sent))
    }

    /// The deadline came while an attempt was in flight.
    pub(in crate::retry) fn deadline(sent: Sent) -> Self {
        Self::new(None, verdict_of_cut(sent))
    }

    /// The deadline came while nothing was in flight, after attempts that ended in this verdict, or before the first.
    pub(in crate::retry) fn before_attempt(last: Option<Verdict>) -> Self {
        Self::new(None, last.unwrap_or(NEVER_BEGUN))
    }

    fn new(limit: Option<Duration>, verdict: Verdict) -> Self {
        Self {
            limit,
            verdict,
            #[cfg(feature = "tonic")]
            status: super::status::LazyStatus::default(),
        }
    }

    /// The outermost one in the chain of an error's sources.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        classify::find(error)
    }

    /// The time that one attempt may take, or `None` if it was the deadline of the whole call that passed.
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
        Some(self.status.get(|| tonic::Status::deadline_exceeded(self.to_string())))
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
