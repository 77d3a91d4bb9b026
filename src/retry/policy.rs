use std::time::Duration;

use rand::{Rng, RngExt};

use super::GiveUp;
use crate::backoff::Backoff;
use crate::classify::{Class, Reason, Verdict};

/// The part of the settings that decides on a retry. No clock, no state: what is known goes in, the decision comes out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) backoff: Backoff,
    pub(super) max_retry_after: Duration,
    pub(super) retry_circuit_open: bool,
}

impl Policy {
    /// Whether another attempt could help. The server's word counts more than the class.
    pub(super) fn wants(&self, verdict: &Verdict) -> bool {
        verdict.should_retry().unwrap_or_else(|| {
            if verdict.reason() == Reason::CIRCUIT_OPEN {
                return self.retry_circuit_open;
            }
            match verdict.class() {
                Class::Transient => true,
                Class::Success | Class::Terminal | Class::Ambiguous => false,
            }
        })
    }

    /// How long to wait before retry number `retry`, counted from 0, when so much time remains until the deadline.
    ///
    /// # Errors
    ///
    /// If the wait does not fit.
    pub(super) fn wait(
        &self,
        verdict: &Verdict,
        retry: u32,
        remaining: Option<Duration>,
        rng: &mut impl Rng,
    ) -> Result<Duration, GiveUp> {
        let Some(hint) = verdict.retry_after() else {
            let wait = self.backoff.wait(retry, rng);
            return if fits(wait, remaining) { Ok(wait) } else { Err(GiveUp::Deadline) };
        };
        if hint > self.max_retry_after {
            return Err(GiveUp::RetryAfterTooLong);
        }
        if !fits(hint, remaining) {
            return Err(GiveUp::Deadline);
        }
        // All who were told the same wait would return at the same moment. What the deadline leaves is shared: half of
        // it at most is spent on spreading, half is there for the attempt.
        let spread = self.backoff.ceiling(retry);
        let spread = remaining.map_or(spread, |remaining| spread.min((remaining - hint) / 2));
        Ok(hint.saturating_add(rng.random_range(Duration::ZERO..=spread)))
    }
}

/// An attempt that could only begin at the deadline is none.
fn fits(wait: Duration, remaining: Option<Duration>) -> bool {
    remaining.is_none_or(|remaining| wait < remaining)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn policy() -> Policy {
        Policy { backoff: Backoff::default(), max_retry_after: 60_000 * MS, retry_circuit_open: false }
    }

    fn waits(
        policy: Policy,
        verdict: Verdict,
        retry: u32,
        remaining: Option<Duration>,
    ) -> Vec<Result<Duration, GiveUp>> {
        let mut rng = SmallRng::seed_from_u64(7);
        (0..1_000).map(|_| policy.wait(&verdict, retry, remaining, &mut rng)).collect()
    }

    #[test]
    fn only_what_is_transient_is_wanted_unless_the_server_says_otherwise() {
        let policy = policy();
        for (class, wanted) in
            [(Class::Success, false), (Class::Transient, true), (Class::Terminal, false), (Class::Ambiguous, false)]
        {
            let verdict = Verdict::new(class);
            assert_eq!(policy.wants(&verdict), wanted, "{class}");
            assert!(policy.wants(&verdict.with_should_retry(true)), "{class}");
            assert!(!policy.wants(&verdict.with_should_retry(false)), "{class}");
        }
    }

    #[test]
    fn an_open_circuit_is_wanted_only_if_asked_for() {
        for class in [Class::Transient, Class::Terminal] {
            let open = Verdict::new(class).with_reason(Reason::CIRCUIT_OPEN);
            assert!(!policy().wants(&open), "{class}");
            assert!(Policy { retry_circuit_open: true, ..policy() }.wants(&open), "{class}");
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
        assert!(waits.iter().all(|wait| (3_000 * MS..=3_005 * MS).contains(wait.as_ref().unwrap())));
    }

    #[test]
    fn what_is_over_the_cap_or_past_the_deadline_ends_it() {
        let hint = |ms| Verdict::transient().with_retry_after(ms * MS);
        let wait = |verdict, remaining| waits(policy(), verdict, 0, remaining).swap_remove(0);
        assert!(wait(hint(60_000), None).is_ok());
        assert_eq!(wait(hint(60_001), None), Err(GiveUp::RetryAfterTooLong));
        assert_eq!(wait(hint(1_000), Some(1_000 * MS)), Err(GiveUp::Deadline));
        assert_eq!(wait(Verdict::transient(), Some(Duration::ZERO)), Err(GiveUp::Deadline));
        let longest = Policy { max_retry_after: Duration::MAX, ..policy() };
        let endless = Verdict::transient().with_retry_after(Duration::MAX);
        assert_eq!(waits(longest, endless, u32::MAX, None)[0], Ok(Duration::MAX));
    }
}
