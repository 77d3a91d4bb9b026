//! The decision to retry, without clock or state: the caller passes in what it knows.
//!
//! Two parts of the decision live beside it: [`Budget`], which limits the share of retries over all calls, and
//! [`Idempotency`], which decides what may be sent again although the server may have acted on it.

mod attempt_timeout;
mod budget;
mod give_up;
mod idempotency;

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::backoff::{Backoff, Retry};
use crate::classify::{Class, Reason, Verdict};

pub(in crate::retry) use self::attempt_timeout::AttemptTimeout;
pub use self::budget::Budget;
pub(in crate::retry) use self::budget::{Account, Bucket, HedgeToken, Kind, Source};
pub use self::give_up::GiveUp;
pub(in crate::retry) use self::idempotency::has_key;
pub use self::idempotency::{AlwaysIdempotent, GrpcIdempotency, HttpIdempotency, Idempotency};

/// The settings that decide on a retry.
#[derive(Clone, Debug)]
pub(in crate::retry) struct Decider {
    pub(in crate::retry) backoff: Backoff,
    pub(in crate::retry) max_retry_after: Duration,
    /// Whether a longer hint is cut to `max_retry_after`.
    pub(in crate::retry) clamp_retry_after: bool,
    pub(in crate::retry) retry_circuit_open: bool,
}

/// The time that a call has left, and the part of it that another attempt needs.
#[derive(Clone, Copy, Debug)]
pub(in crate::retry) struct TimeLeft {
    /// Until the deadline.
    pub(in crate::retry) remaining: Duration,
    /// The time that the last answer took. Dropping that answer for an attempt with less time would most likely lose
    /// both.
    pub(in crate::retry) needed: Duration,
}

/// A timer can fire a millisecond late, and an attempt that starts at the deadline is cut at once.
pub(in crate::retry) const SHORTEST_ATTEMPT: Duration = Duration::from_millis(2);

impl Decider {
    /// Decides whether another attempt could help. What the server asks for overrides the class.
    ///
    /// # Errors
    ///
    /// Returns why another attempt could not help.
    pub(in crate::retry) fn wants(&self, verdict: &Verdict) -> Result<(), GiveUp> {
        let wanted = match (verdict.should_retry(), verdict.reason() == Reason::CIRCUIT_OPEN) {
            (Some(wanted), _) => wanted,
            (None, true) if !self.retry_circuit_open => return Err(GiveUp::CircuitOpen),
            (None, true) => true,
            (None, false) => match verdict.class() {
                Class::Transient => true,
                Class::Success | Class::Terminal | Class::Ambiguous => false,
            },
        };
        if wanted { Ok(()) } else { Err(GiveUp::NotRetryable) }
    }

    /// Returns the wait before a retry.
    ///
    /// # Errors
    ///
    /// Returns an error if the hint is too long or the wait does not fit the deadline.
    pub(in crate::retry) fn wait(
        &self,
        retry: &Retry,
        left: Option<TimeLeft>,
        rng: &mut impl Rng,
    ) -> Result<Duration, GiveUp> {
        let spare = match left {
            Some(left) => Some(left.spare().ok_or(GiveUp::Deadline)?),
            None => None,
        };
        let fits = |wait| spare.is_none_or(|spare| wait <= spare);
        let Some(hint) = retry.verdict.and_then(|verdict| verdict.retry_after()) else {
            let wait = self.backoff.wait(retry, rng);
            return if fits(wait) { Ok(wait) } else { Err(GiveUp::Deadline) };
        };
        if hint > self.max_retry_after && !self.clamp_retry_after {
            return Err(GiveUp::RetryAfterTooLong);
        }
        let hint = hint.min(self.max_retry_after);
        if !fits(hint) {
            return Err(GiveUp::Deadline);
        }
        // Without jitter all clients that received the same hint would return at once. It takes at most half of the
        // time that the hint leaves.
        let spread = self.spread(hint, retry);
        let spread = spare.map_or(spread, |spare| spread.min((spare - hint) / 2));
        Ok(hint.saturating_add(rng.random_range(Duration::ZERO..=spread)))
    }

    /// The most jitter that is added to a hint. A fixed or custom backoff without jitter asks for steady waits, so it
    /// gets only enough to spread clients.
    fn spread(&self, hint: Duration, retry: &Retry) -> Duration {
        let ceiling = self.backoff.longest(retry);
        if self.backoff.is_steady() { ceiling.min(hint) / 10 } else { ceiling }
    }
}

impl TimeLeft {
    /// Returns the longest wait that leaves enough time for another attempt.
    fn spare(self) -> Option<Duration> {
        self.remaining.checked_sub(self.needed.max(SHORTEST_ATTEMPT))
    }
}

/// Returns true if an established connection gave the request back instead of answering it (gRPC proposal A6,
/// "transparent retries"). A refused connect does not count, because it is a failure of the server.
pub(in crate::retry) fn was_given_back(verdict: &Verdict) -> bool {
    [Reason::REFUSED_STREAM, Reason::GOAWAY, Reason::CANCELED, Reason::DISPATCH_GONE].contains(&verdict.reason())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::backoff::Jitter;

    const MS: Duration = Duration::from_millis(1);

    fn policy() -> Decider {
        Decider {
            backoff: Backoff::default(),
            max_retry_after: 60_000 * MS,
            clamp_retry_after: false,
            retry_circuit_open: false,
        }
    }

    fn after(verdict: Verdict, retry: u32) -> Retry {
        Retry { verdict: Some(verdict), ..Retry::new(retry) }
    }

    fn waits(
        policy: Decider,
        verdict: Verdict,
        retry: u32,
        remaining: Option<Duration>,
    ) -> Vec<Result<Duration, GiveUp>> {
        let mut rng = SmallRng::seed_from_u64(7);
        let left = remaining.map(|remaining| TimeLeft { remaining, needed: Duration::ZERO });
        (0..1_000).map(|_| policy.wait(&after(verdict, retry), left, &mut rng)).collect()
    }

    #[test]
    fn only_what_is_transient_is_wanted_unless_the_server_says_otherwise() {
        let policy = policy();
        for (class, wanted) in
            [(Class::Success, false), (Class::Transient, true), (Class::Terminal, false), (Class::Ambiguous, false)]
        {
            let verdict = Verdict::new(class);
            assert_eq!(policy.wants(&verdict).is_ok(), wanted, "{class}");
            assert_eq!(policy.wants(&verdict.with_should_retry(true)), Ok(()), "{class}");
            assert_eq!(policy.wants(&verdict.with_should_retry(false)), Err(GiveUp::NotRetryable), "{class}");
        }
    }

    #[test]
    fn an_open_circuit_is_wanted_only_if_asked_for() {
        for class in [Class::Transient, Class::Terminal] {
            let open = Verdict::new(class).with_reason(Reason::CIRCUIT_OPEN);
            assert_eq!(policy().wants(&open), Err(GiveUp::CircuitOpen), "{class}");
            assert_eq!(Decider { retry_circuit_open: true, ..policy() }.wants(&open), Ok(()), "{class}");
        }
    }

    #[test]
    fn a_hint_is_never_cut_short_and_always_spread() {
        let hint = Verdict::transient().with_retry_after(3_000 * MS);
        let waits: Vec<_> = waits(policy(), hint, 2, None).into_iter().map(Result::unwrap).collect();
        assert!(waits.iter().all(|wait| (3_000 * MS..=3_400 * MS).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < 3_100 * MS) && waits.iter().any(|wait| *wait > 3_300 * MS));
    }

    #[test]
    fn the_spread_shrinks_to_fit_the_deadline() {
        let hint = Verdict::transient().with_retry_after(3_000 * MS);
        let waits = waits(policy(), hint, 2, Some(3_010 * MS));
        assert!(waits.iter().all(|wait| (3_000 * MS..=3_004 * MS).contains(wait.as_ref().unwrap())));
    }

    #[test]
    fn a_hint_over_steady_waits_gets_a_tenth_of_it_or_of_the_ceiling_at_most() {
        for (fixed, hint, most) in [(5_000, 1_000, 1_100), (500, 1_000, 1_050), (0, 1_000, 1_000)] {
            let steady = Decider { backoff: Backoff::fixed(fixed * MS), ..policy() };
            let hint = hint * MS;
            let waits = waits(steady, Verdict::transient().with_retry_after(hint), 0, None);
            let longest = waits.iter().map(|wait| wait.unwrap()).max().unwrap();
            assert!(waits.iter().all(|wait| wait.unwrap() >= hint) && longest <= most * MS, "{longest:?}");
            assert!(longest >= (most - (most - 1_000) / 10) * MS, "{longest:?}: spread over all that is allowed");
        }
        // A backoff with jitter spreads a hint further.
        let spread = Decider { backoff: Backoff::fixed(5_000 * MS).jitter(Jitter::Full), ..policy() };
        let waits = waits(spread, Verdict::transient().with_retry_after(1_000 * MS), 0, None);
        assert!(waits.iter().any(|wait| wait.unwrap() > 5_000 * MS));
    }

    #[test]
    fn a_wait_leaves_as_much_time_as_the_last_answer_took() {
        let steady = Decider { backoff: Backoff::fixed(500 * MS), ..policy() };
        let wait = |remaining, needed| {
            let left = TimeLeft { remaining: remaining * MS, needed: needed * MS };
            steady.wait(&after(Verdict::transient(), 0), Some(left), &mut SmallRng::seed_from_u64(7))
        };
        assert_eq!(wait(800, 300), Ok(500 * MS));
        assert_eq!(wait(799, 300), Err(GiveUp::Deadline));
        assert_eq!(wait(502, 0), Ok(500 * MS));
        assert_eq!(wait(501, 0), Err(GiveUp::Deadline));
        assert_eq!(wait(1, 0), Err(GiveUp::Deadline));
    }

    #[test]
    fn what_is_over_the_cap_or_past_the_deadline_ends_it() {
        let hint = |ms| Verdict::transient().with_retry_after(ms * MS);
        let wait = |verdict, remaining| waits(policy(), verdict, 0, remaining).swap_remove(0);
        assert!(wait(hint(60_000), None).is_ok());
        assert_eq!(wait(hint(60_001), None), Err(GiveUp::RetryAfterTooLong));
        assert_eq!(wait(hint(1_000), Some(1_000 * MS)), Err(GiveUp::Deadline));
        assert_eq!(wait(Verdict::transient(), Some(Duration::ZERO)), Err(GiveUp::Deadline));
        let longest = Decider { max_retry_after: Duration::MAX, ..policy() };
        let endless = Verdict::transient().with_retry_after(Duration::MAX);
        let wait = waits(longest, endless, u32::MAX, None).swap_remove(0).unwrap();
        assert!((Verdict::LONGEST_RETRY_AFTER..=Verdict::LONGEST_RETRY_AFTER + 5_000 * MS).contains(&wait), "{wait:?}");
    }
}
