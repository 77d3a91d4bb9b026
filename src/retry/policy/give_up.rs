use std::fmt;

/// Why there was no further attempt.
///
/// ```
/// use tower_rampart::retry::{self, Budget, GiveUp, RetryPolicy};
///
/// let policy = RetryPolicy::new().budget(Budget::ratio(0.0).reserve(0));
/// let error = retry::call_blocking(&policy, || Err::<(), _>("busy")).unwrap_err();
/// assert_eq!((error.kind(), error.kind().as_str()), (GiveUp::Budget, "budget"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// The attempts were used up.
    Exhausted,
    /// The deadline passed, or would have passed before another attempt could have been answered.
    Deadline,
    /// The budget had no token left.
    Budget,
    /// Another attempt would not help, or the server asked not to retry.
    NotRetryable,
    /// Another attempt would help, but the server may have acted on the request, which is not idempotent.
    NotIdempotent,
    /// The body was larger than the replay buffer, or was still being sent when the answer came.
    BodyNotReplayable,
    /// The caller's own request body failed.
    BodyFailed,
    /// The server asked for a wait longer than [`max_retry_after`](crate::RetryLayer::max_retry_after), and
    /// [`clamp_retry_after`](crate::RetryLayer::clamp_retry_after) is not set.
    RetryAfterTooLong,
    /// The inner service failed to become ready for another attempt.
    NotReady,
    /// A circuit breaker rejected the call, and
    /// [`retry_circuit_open`](crate::RetryLayer::retry_circuit_open) is not set.
    CircuitOpen,
    /// Tiers above retry the call: see [`RetryLayer::guard`](crate::RetryLayer::guard).
    RetriedAbove,
}

impl GiveUp {
    /// All variants in the order of their declaration.
    pub(in crate::retry) const ALL: [Self; 11] = [
        Self::Exhausted,
        Self::Deadline,
        Self::Budget,
        Self::NotRetryable,
        Self::NotIdempotent,
        Self::BodyNotReplayable,
        Self::BodyFailed,
        Self::RetryAfterTooLong,
        Self::NotReady,
        Self::CircuitOpen,
        Self::RetriedAbove,
    ];

    /// Returns a short word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.words().0
    }

    pub(in crate::retry) const fn explained(self) -> &'static str {
        self.words().1
    }

    /// The short word, and the explanation in the text of an error.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Exhausted => ("exhausted", "no attempts left"),
            Self::Deadline => ("deadline", "the deadline leaves no time"),
            Self::Budget => ("budget", "the retry budget is empty"),
            Self::NotRetryable => ("not_retryable", "another attempt would not help"),
            Self::NotIdempotent => ("not_idempotent", "the request may have been processed and is not idempotent"),
            Self::BodyNotReplayable => ("body_not_replayable", "the request body cannot be sent again"),
            Self::BodyFailed => ("body_failed", "the request body failed"),
            Self::RetryAfterTooLong => ("retry_after_too_long", "the server asks for too long a wait"),
            Self::NotReady => ("not_ready", "the service did not become ready"),
            Self::CircuitOpen => ("circuit_open", "the circuit is open"),
            Self::RetriedAbove => ("retried_above", "tiers above retry the call"),
        }
    }

    /// Returns true if another attempt was wanted and a limit forbade it. Only those are reported.
    pub(in crate::retry) const fn forbids_a_wanted_retry(self) -> bool {
        !matches!(self, Self::NotRetryable | Self::BodyFailed | Self::CircuitOpen)
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_the_variants_in_order_and_each_has_its_own_word() {
        let words: std::collections::HashSet<_> = GiveUp::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), GiveUp::ALL.len());
        assert!(GiveUp::ALL.iter().enumerate().all(|(place, kind)| *kind as usize == place));
    }
}
