//! The decisions of a call that concern two attempts in flight.

use std::time::Duration;

use tokio::time::Instant;

use crate::BoxError;
use crate::call::deadline::{Deadline, after};
use crate::classify::{Class, Health, Reason, Verdict};
use crate::retry::call::{AttemptClock, AttemptId, Call};
use crate::retry::config::Shared;
use crate::retry::observe::{AttemptReport, OnRetry, RetryEvent, SLOW};
use crate::retry::policy::{HedgeToken, SHORTEST_ATTEMPT};
use crate::retry::replay::{AttemptPlan, Replay};

/// The verdict, in the event of a hedge, on the attempt that it joins.
const HEDGED: Verdict = Verdict::transient().with_health(Health::Neutral).with_reason(SLOW);

/// The verdict, in its span, on a hedge that a breaker has rejected.
pub(super) const REJECTED: Verdict = Verdict::terminal().with_reason(Reason::CIRCUIT_OPEN);

/// The verdict on an attempt that is dropped because the other one ended the call.
const DROPPED: Verdict = Verdict::transient().with_health(Health::Neutral).with_reason(Reason::ABANDONED);

impl<SharedT, ReplayT, OnRetryT> Call<SharedT>
where
    SharedT: Shared<Replay = ReplayT, OnRetry = OnRetryT>,
{
    /// Whether the attempt in flight may be hedged now, except for the budget.
    pub(super) fn may_hedge<Req>(&self, kept: &ReplayT::Kept) -> bool
    where
        ReplayT: Replay<Req>,
    {
        let replay = self.shared.replay();
        let has_time = |left: Option<Duration>| left.is_none_or(|left| left > SHORTEST_ATTEMPT);
        self.has_more()
            && has_time(self.deadline.map(Deadline::remaining))
            && has_time(self.left_outside(kept))
            && !self.was_told_when_to_retry()
            && replay.is_idempotent(kept)
            // The server would answer 409 (draft-ietf-httpapi-idempotency-key-header), and that would end the call.
            && !replay.has_key(kept)
            && replay.is_complete(kept)
            && !replay.is_retried_above(kept)
    }

    /// A server that says when or whether to retry wants no more than one attempt at a time.
    fn was_told_when_to_retry(&self) -> bool {
        self.failures.as_ref().is_some_and(|failures| failures.history.was_told_when_to_retry())
    }

    /// The parameters and the time of a hedge that begins now.
    pub(super) fn plan_hedge(&self, now: Instant) -> (AttemptPlan, AttemptClock) {
        let attempt = self.attempt.next();
        let clock = self.clock_of(attempt, now);
        (AttemptPlan { attempt, is_first: false, more: true, deadline: self.deadline, ends: clock.ends() }, clock)
    }

    /// Asks the budget for a hedge.
    pub(super) fn withdraw_hedge(&self) -> Option<HedgeToken> {
        HedgeToken::withdraw(self.bucket.source(&self.shared.policy().config.budget))
    }

    /// Counts an attempt that has failed beside the other one, as that of a call without hedges.
    pub(super) fn charge_lost(&self, verdict: &Verdict) {
        if !self.is_free(verdict) {
            self.account.fail(self.bucket.or(&self.shared.policy().config.budget));
        }
    }

    /// Counts and reports a hedge that was sent.
    pub(super) fn hedge_sent<Req>(&mut self, kept: Option<&ReplayT::Kept>)
    where
        ReplayT: Replay<Req>,
        OnRetryT: OnRetry,
    {
        let slow = self.attempt.number();
        self.attempt = self.attempt.next();
        self.failures();
        let origin = self.origin(kept);
        let event = RetryEvent {
            attempt: slow,
            wait: Duration::ZERO,
            is_resend: false,
            is_hedge: true,
            verdict: HEDGED,
            origin: &origin,
        };
        self.shared.policy().report_retry(&event);
    }

    /// Records an attempt that has failed while the other one goes on.
    pub(super) fn lose(&mut self, AttemptId { attempt, is_hedge }: AttemptId, verdict: Verdict) {
        let failures = self.failures();
        failures.history.push(AttemptReport { attempt: attempt.number(), is_hedge, verdict, wait: None });
        failures.maybe_processed |= !verdict.is_unprocessed();
        failures.not_before = verdict.retry_after().map(|wait| after(Instant::now(), wait));
    }

    /// Records an attempt that is dropped because the other one ended the call.
    pub(super) fn drop_loser(&mut self, id: AttemptId) {
        self.lose(id, DROPPED);
    }

    /// Makes an attempt the one that is settled, reported and followed by a retry.
    pub(super) fn end_with(&mut self, id: AttemptId, clock: Option<AttemptClock>) {
        if let Some(failures) = &mut self.failures {
            failures.ended = Some(id);
        }
        self.clock = clock;
    }

    /// Adds what the server asked for in the attempt of the same pair that ended first.
    pub(in crate::retry) fn with_earlier_hint(&self, verdict: &Verdict) -> Verdict {
        let Some(failures) = &self.failures else { return *verdict };
        let mut verdict = *verdict;
        if failures.ended.is_some() && failures.history.any(|earlier| earlier.should_retry() == Some(false)) {
            verdict = verdict.with_should_retry(false);
        }
        if let Some(not_before) = failures.not_before {
            let wait = not_before.saturating_duration_since(Instant::now());
            if wait > verdict.retry_after().unwrap_or_default() {
                verdict = verdict.with_retry_after(wait);
            }
        }
        verdict
    }
}

/// Whether an outcome ends the call although another attempt is in flight: a success, or a failure that will not go
/// away.
pub(super) fn is_final(verdict: &Verdict) -> bool {
    match (verdict.should_retry(), verdict.reason()) {
        (Some(true), _) => false,
        // The breaker was asked twice, and may have admitted the other attempt.
        (_, Reason::CIRCUIT_OPEN) => false,
        _ => verdict.class() != Class::Transient,
    }
}

/// Whether a breaker has rejected an attempt, whatever the user's classifier makes of that.
pub(super) fn was_rejected<Res>(result: &Result<Res, BoxError>) -> bool {
    matches!(result, Err(error) if Verdict::of_error(&**error).reason() == Reason::CIRCUIT_OPEN)
}
