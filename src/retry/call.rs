use std::sync::Arc;
use std::time::Duration;

use super::event::{trace_give_up, trace_retry};
use super::layer::Shared;
use super::{Deadline, GiveUp, OnRetry, Replay, Report, RetryError, RetryEvent, RetryReport, TimedOut};
use crate::BoxError;
use crate::attempt::Attempt;
use crate::classify::{Classifier, Health, Processed, Reason, Verdict};

/// What one call knows, and what it decides between its attempts.
pub(super) struct Call<C, K, N> {
    pub(super) shared: Arc<Shared<C, K, N>>,
    pub(super) deadline: Option<Deadline>,
    pub(super) attempt: Attempt,
    past: Option<Past>,
}

/// How an attempt ended.
pub(super) enum Ended<Res> {
    Answered(Res, Verdict),
    Failed(BoxError),
    /// By the deadline of the call.
    Cut,
}

/// What comes after an attempt.
pub(super) enum Next<Res> {
    Return(Result<Res, BoxError>),
    Again { wait: Duration },
}

/// What is remembered of the attempts that failed.
struct Past {
    /// The verdict on the last of them.
    verdict: Verdict,
    /// The error of the last of them, if it was one.
    error: Option<BoxError>,
    /// Whether any of them may have been acted on.
    processed: bool,
}

/// The caller's own doing, which says nothing about the server.
const OWN_BODY: Verdict =
    Verdict::terminal().with_processed(Processed::Maybe).with_health(Health::Neutral).with_reason(Reason::USER);

impl<C, K, N> Call<C, K, N> {
    pub(super) fn new(shared: Arc<Shared<C, K, N>>, deadline: Option<Deadline>) -> Self {
        Self { shared, deadline, attempt: Attempt::FIRST, past: None }
    }

    /// The first attempt pays for the retries of others, and each later one has been paid for.
    #[inline]
    pub(super) fn begin_attempt(&mut self) {
        match self.past {
            None => self.shared.settings.budget.deposit(),
            Some(_) => self.attempt = self.attempt.next(),
        }
    }

    /// Whether the present attempt may be followed by another.
    pub(super) fn has_more(&self) -> bool {
        self.attempt.number() < self.shared.settings.max_attempts.get()
    }

    pub(super) fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(Deadline::has_passed)
    }

    /// What a response means.
    pub(super) fn judge<Res>(&self, response: &Res) -> Verdict
    where
        C: Classifier<Res>,
    {
        self.shared.classifier.classify(Ok(response))
    }

    /// Whether a response of this verdict is what the caller hoped for.
    pub(super) fn is_success(&self, verdict: &Verdict) -> bool {
        verdict.is_success() && !self.shared.settings.policy.wants(verdict)
    }

    /// The present attempt has ended, and not in a success.
    pub(super) fn settle<Req, Res>(&mut self, ended: Ended<Res>, kept: Option<&K::Kept>) -> Next<Res>
    where
        C: Classifier<Res>,
        K: Replay<Req> + Report<Res>,
        N: OnRetry,
    {
        let Shared { settings: _, classifier, replay, on_retry } = &*self.shared;
        let is_cut = matches!(ended, Ended::Cut);
        let (outcome, mut verdict) = match ended {
            Ended::Answered(response, verdict) => (Ok(response), verdict),
            Ended::Failed(error) => {
                let verdict = classifier.classify(Err(&*error));
                (Err(error), verdict)
            }
            Ended::Cut => {
                let error: BoxError = TimedOut::deadline().into();
                let verdict = classifier.classify(Err(&*error));
                (Err(error), verdict)
            }
        };
        let decision = if outcome.is_err() && kept.is_some_and(|kept| replay.has_failed(kept)) {
            // The transport may have turned it into a reset that looks like the server's.
            verdict = OWN_BODY;
            Err(GiveUp::BodyFailed)
        } else if is_cut {
            Err(GiveUp::Deadline)
        } else {
            self.decide(&verdict, kept, outcome.is_ok())
        };
        match decision {
            Ok(wait) => {
                // A failed response goes here, before the wait.
                self.past = Some(Past { verdict, error: outcome.err(), processed: self.maybe_processed(&verdict) });
                let event = RetryEvent { attempt: self.attempt.number(), wait, verdict };
                trace_retry(&event);
                on_retry.on_retry(&event);
                Next::Again { wait }
            }
            Err(kind) => Next::Return(match outcome {
                Ok(mut response) => {
                    self.trace_give_up(kind, self.attempt.number(), &verdict);
                    self.report(&mut response, &verdict, Some(kind));
                    Ok(response)
                }
                Err(error) => Err(self.give_up(kind, verdict, error)),
            }),
        }
    }

    /// The deadline has come while no attempt was under way.
    pub(super) fn too_late(&mut self) -> BoxError {
        let Some(Past { verdict, error, processed }) = self.past.take() else {
            let error = TimedOut::before_attempt(None);
            self.trace_give_up(GiveUp::Deadline, 0, &error.verdict());
            return RetryError::boxed(GiveUp::Deadline, 0, error.verdict(), false, error.into());
        };
        self.trace_give_up(GiveUp::Deadline, self.attempt.number(), &verdict);
        let error = error.unwrap_or_else(|| TimedOut::before_attempt(Some(verdict)).into());
        RetryError::boxed(GiveUp::Deadline, self.attempt.number(), verdict, processed, error)
    }

    /// The service could not be made ready for a further attempt.
    pub(super) fn not_ready<Res>(&mut self, error: BoxError) -> BoxError
    where
        C: Classifier<Res>,
    {
        let verdict = self.shared.classifier.classify(Err(&*error));
        self.give_up(GiveUp::NotReady, verdict, error)
    }

    /// Whether, how and after what wait there is another attempt. The budget is asked last, so that nothing else wastes
    /// a token.
    fn decide<Req>(&self, verdict: &Verdict, kept: Option<&K::Kept>, answered: bool) -> Result<Duration, GiveUp>
    where
        K: Replay<Req>,
    {
        let Shared { settings, classifier: _, replay, on_retry: _ } = &*self.shared;
        if !settings.policy.wants(verdict) {
            return Err(GiveUp::NotRetryable);
        }
        // Only the last attempt keeps nothing.
        let kept = kept.ok_or(GiveUp::Exhausted)?;
        if !verdict.is_unprocessed() && !replay.is_idempotent(kept) {
            return Err(GiveUp::NotIdempotent);
        }
        replay.take_back(kept, answered)?;
        let retry = self.attempt.number() - 1;
        let wait = settings.policy.wait(verdict, retry, self.deadline.map(Deadline::remaining), &mut rand::rng())?;
        if settings.budget.withdraw() { Ok(wait) } else { Err(GiveUp::Budget) }
    }

    fn give_up(&self, kind: GiveUp, verdict: Verdict, error: BoxError) -> BoxError {
        self.trace_give_up(kind, self.attempt.number(), &verdict);
        RetryError::boxed(kind, self.attempt.number(), verdict, self.was_maybe_processed(), error)
    }

    /// Leaves a report of what was done to get this response, if it was retried for.
    #[inline]
    pub(super) fn report<Res>(&self, response: &mut Res, verdict: &Verdict, gave_up: Option<GiveUp>)
    where
        K: Report<Res>,
    {
        if self.attempt.is_retry() {
            let processed = match verdict.processed() {
                Processed::No if self.was_maybe_processed() => Processed::Maybe,
                processed => processed,
            };
            let report = RetryReport { attempts: self.attempt.number(), gave_up, processed };
            self.shared.replay.leave(report, response);
        }
    }

    /// A retry was wanted only where there could be one.
    fn trace_give_up(&self, kind: GiveUp, attempts: u32, verdict: &Verdict) {
        if self.shared.settings.max_attempts.get() > 1 {
            trace_give_up(kind, attempts, verdict);
        }
    }

    fn maybe_processed(&self, verdict: &Verdict) -> bool {
        !verdict.is_unprocessed() || self.was_maybe_processed()
    }

    fn was_maybe_processed(&self) -> bool {
        self.past.as_ref().is_some_and(|past| past.processed)
    }
}
