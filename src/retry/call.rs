use std::time::Duration;

use tokio::time::Instant;

use super::budgets::CallBucket;
use super::config::Shared;
use super::error::{RetryError, TimedOut};
use super::observe::{AttemptReport, GiveUpEvent, History, OnRetry, Origin, Report, RetryEvent, RetryReport, Spans};
use super::policy::{Account, GiveUp, SHORTEST_ATTEMPT, TimeLeft, was_given_back};
use super::replay::{AttemptPlan, Replay};
use super::settings::{Limits, Tuning};
use crate::BoxError;
use crate::backoff::Retry;
use crate::call::attempt::Attempt;
use crate::call::deadline::{AttemptDeadline, Deadline, after};
use crate::classify::{Classifier, Health, Processed, Reason, Verdict};

/// The state of one call, and the decisions between its attempts.
pub(super) struct Call<SharedT: Shared> {
    pub(super) shared: SharedT,
    /// Those that it began with, kept to its end.
    limits: Limits,
    pub(super) deadline: Option<Deadline>,
    pub(super) attempt: Attempt,
    /// `None` without a time limit, so that no clock is read.
    pub(super) clock: Option<AttemptClock>,
    /// Boxed because most calls succeed at once. There also once an attempt is hedged, and while one has a span.
    pub(super) failures: Option<Box<Failures>>,
    pub(super) bucket: CallBucket<SharedT::Partition>,
    /// What this call holds of its budget, apart from hedges.
    pub(super) account: Account,
}

/// The time of the current attempt.
#[derive(Clone, Copy)]
pub(super) struct AttemptClock {
    pub(super) began: Instant,
    pub(super) timeout: Option<Duration>,
}

/// How an attempt ended.
pub(super) struct AttemptOutcome<Res> {
    pub(super) result: Result<Res, BoxError>,
    pub(super) verdict: Verdict,
    /// Whether the deadline cut it.
    pub(super) is_cut: bool,
}

/// What the future does after an attempt.
pub(super) enum Action<Res> {
    Return(Result<Res, Box<RetryError>>),
    Send(NextSend),
}

/// How the request is sent again.
#[derive(Clone, Copy)]
pub(super) enum NextSend {
    /// A transparent retry: the same attempt again, at once.
    Resend,
    After(Duration),
}

/// The failed attempts of a call.
#[derive(Default)]
pub(super) struct Failures {
    pub(super) history: History,
    /// The error of the last attempt. None if it ended in a response.
    last_error: Option<BoxError>,
    /// Whether the server may have acted on any of them.
    pub(super) maybe_processed: bool,
    /// Whether the same holds of a request with an `Idempotency-Key`: a server that rejects the next attempt may still
    /// act on that one.
    maybe_in_progress: bool,
    /// Whether a transparent retry was made. The first one is free, a second is a retry like any other.
    pub(super) was_resent: bool,
    /// Whether the next send belongs to the same attempt.
    is_resending: bool,
    /// The attempt that ended last, if it is a hedge or was hedged. Otherwise it is the latest attempt.
    pub(super) ended: Option<AttemptId>,
    /// The end of the wait that a server asked for, of two attempts the one that ended first.
    pub(super) not_before: Option<Instant>,
    pub(super) spans: Spans,
}

/// An attempt in a report.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptId {
    pub(super) attempt: Attempt,
    pub(super) is_hedge: bool,
}

impl AttemptClock {
    /// When the attempt timeout cuts the attempt.
    pub(super) fn ends(self) -> Option<Instant> {
        Some(after(self.began, self.timeout?))
    }
}

/// The caller's own body failed, which proves nothing about the server.
const OWN_BODY: Verdict =
    Verdict::terminal().with_processed(Processed::Maybe).with_health(Health::Neutral).with_reason(Reason::USER);

impl<SharedT: Shared> Call<SharedT> {
    /// Returns the settings of this call.
    #[inline]
    fn tuning(&self) -> &Tuning {
        self.shared.policy().config.tuning(self.limits.era)
    }
}

impl<SharedT, ClassifierT, ReplayT, OnRetryT> Call<SharedT>
where
    SharedT: Shared<Classifier = ClassifierT, Replay = ReplayT, OnRetry = OnRetryT>,
{
    pub(super) fn new(
        shared: SharedT,
        limits: Limits,
        deadline: Option<Deadline>,
        bucket: CallBucket<SharedT::Partition>,
    ) -> Self {
        let (attempt, account) = (Attempt::FIRST, Account::Closed);
        Self { shared, limits, deadline, attempt, clock: None, failures: None, bucket, account }
    }

    /// Panics if this call may need a timer and there is none. Without this check it would panic after the first
    /// attempt.
    #[inline]
    pub(super) fn check_timer(&self) {
        if self.retries() || self.is_timed() {
            self.shared.policy().timer_check.run();
        }
    }

    #[inline]
    pub(super) fn begin_attempt(&mut self) -> AttemptPlan {
        if self.failures.as_ref().is_some_and(|failures| !failures.is_resending) {
            self.attempt = self.attempt.next();
        }
        // Before the budget: the closure of the user may panic.
        if self.is_timed() {
            self.clock = Some(self.clock_of(self.attempt, Instant::now()));
        }
        match self.failures {
            None => self.account.open(self.bucket.or(&self.shared.policy().config.budget)),
            // A transparent retry was granted nothing, so for it this changes nothing.
            Some(_) => self.account.begin_retry(),
        }
        AttemptPlan {
            attempt: self.attempt,
            is_first: self.failures.is_none(),
            more: self.has_more(),
            deadline: self.deadline,
            ends: self.attempt_ends(),
        }
    }

    /// Whether a time limit may cut an attempt.
    pub(super) fn is_timed(&self) -> bool {
        self.deadline.is_some() || self.limits.has_attempt_timeout
    }

    /// The time of an attempt that begins at this moment.
    pub(super) fn clock_of(&self, attempt: Attempt, began: Instant) -> AttemptClock {
        let remaining = || Some(self.deadline?.instant().saturating_duration_since(began));
        let timeout = self.tuning().attempt_timeout.as_ref();
        AttemptClock { began, timeout: timeout.map(|timeout| timeout.of(attempt, remaining)) }
    }

    /// The attempt timeout of the current attempt.
    pub(super) fn attempt_timeout(&self) -> Option<Duration> {
        self.clock?.timeout
    }

    /// When the attempt timeout cuts the current attempt.
    pub(super) fn attempt_ends(&self) -> Option<Instant> {
        self.clock?.ends()
    }

    /// Whether attempts are left after the current one.
    pub(super) fn has_more(&self) -> bool {
        self.attempt.number() < self.limits.max_attempts.get()
    }

    pub(super) fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(Deadline::has_passed)
    }

    /// The time until an outer retry layer cuts this call.
    pub(super) fn left_outside<Req>(&self, kept: &ReplayT::Kept) -> Option<Duration>
    where
        ReplayT: Replay<Req>,
    {
        self.shared.replay().outer_limit(kept, self.limits.has_attempt_timeout).map(AttemptDeadline::remaining)
    }

    /// Whether the server may have acted on an earlier attempt.
    pub(super) fn was_maybe_processed(&self) -> bool {
        self.failures.as_ref().is_some_and(|failures| failures.maybe_processed)
    }

    /// Returns the verdict on a response.
    pub(super) fn judge<Res>(&self, response: &Res) -> Verdict
    where
        ClassifierT: Classifier<Res>,
    {
        self.shared.policy().classifier.classify(Ok(response))
    }

    /// Classifies an error. Called once the attempt was dropped, and with it an unsent body.
    pub(super) fn failed<Res>(&self, error: BoxError) -> AttemptOutcome<Res>
    where
        ClassifierT: Classifier<Res>,
    {
        let verdict = self.shared.policy().classifier.classify(Err(&*error));
        AttemptOutcome { result: Err(error), verdict, is_cut: false }
    }

    /// The outcome of an attempt that the deadline cut.
    pub(super) fn cut<Res>(&self, error: TimedOut) -> AttemptOutcome<Res>
    where
        ClassifierT: Classifier<Res>,
    {
        AttemptOutcome { is_cut: true, ..self.failed(error.into()) }
    }

    /// Returns true for a success that the server does not ask to retry.
    pub(super) fn is_success(&self, verdict: &Verdict) -> bool {
        verdict.is_success() && verdict.should_retry() != Some(true)
    }

    /// Leaves a report in the response if it took a retry.
    #[inline]
    pub(super) fn succeed<Res>(&mut self, response: &mut Res, verdict: &Verdict)
    where
        ReplayT: Report<Res>,
    {
        self.account.succeed(self.bucket.or(&self.shared.policy().config.budget));
        if self.failures.is_some() {
            self.shared.policy().tally.count_recovery();
            let report = self.report(verdict, None, true);
            self.shared.replay().leave(report, response);
        }
    }

    /// Gives back what the call holds of its budget. Called when it ends or is dropped.
    #[inline]
    pub(super) fn close(&mut self) {
        self.account.close(self.bucket.or(&self.shared.policy().config.budget));
    }

    /// Decides what follows an attempt that was not a success.
    pub(super) fn settle<Req, Res>(&mut self, outcome: AttemptOutcome<Res>, kept: Option<&ReplayT::Kept>) -> Action<Res>
    where
        ReplayT: Replay<Req> + Report<Res>,
        OnRetryT: OnRetry,
    {
        let AttemptOutcome { result: outcome, mut verdict, is_cut } = outcome;
        let body_failed = outcome.is_err() && kept.is_some_and(|kept| self.shared.replay().has_failed(kept, &verdict));
        let decision = if body_failed {
            // The transport may report it as a reset that looks like one from the server.
            verdict = OWN_BODY;
            Err(GiveUp::BodyFailed)
        } else if is_cut {
            Err(GiveUp::Deadline)
        } else {
            self.decide(&verdict, kept, outcome.is_ok())
        };
        let decision = self.charge(decision, &verdict);
        let origin = self.origin(kept);
        let kind = match decision {
            Ok(next) => {
                // A failed response is dropped here, before the wait.
                self.go_on(next, verdict, outcome.err(), &origin);
                let has_key = kept.is_some_and(|kept| self.shared.replay().has_key(kept));
                self.failures().maybe_in_progress |= has_key && !verdict.is_unprocessed();
                return Action::Send(next);
            }
            Err(kind) => kind,
        };
        Action::Return(match outcome {
            Ok(mut response) => {
                self.observe_give_up(kind, self.attempt.number(), &verdict, &origin);
                if self.failures.is_some() || (self.retries() && kind.forbids_a_wanted_retry()) {
                    let report = self.report(&verdict, Some(kind), true);
                    self.shared.replay().leave(report, &mut response);
                }
                Ok(response)
            }
            Err(error) => Err(self.fail(kind, verdict, error, &origin, true)),
        })
    }

    /// The error of a call whose deadline passed while no attempt was in flight.
    pub(super) fn too_late<Req>(&mut self, kept: Option<&ReplayT::Kept>) -> Box<RetryError>
    where
        ReplayT: Replay<Req>,
        OnRetryT: OnRetry,
    {
        let last = self.failures.as_mut().map(|failures| (failures.history.last_verdict(), failures.last_error.take()));
        let (verdict, error) = match last {
            Some((Some(verdict), Some(error))) => (verdict, error),
            // There was no attempt, or the last one ended in a response.
            last => {
                let error = TimedOut::before_attempt(last.and_then(|(verdict, _)| verdict));
                (error.verdict(), error.into())
            }
        };
        self.fail(GiveUp::Deadline, verdict, error, &self.origin(kept), false)
    }

    /// The error of a call whose service failed to become ready for a further attempt.
    pub(super) fn not_ready<Req, Res>(&mut self, error: BoxError, kept: Option<&ReplayT::Kept>) -> Box<RetryError>
    where
        ClassifierT: Classifier<Res>,
        ReplayT: Replay<Req>,
        OnRetryT: OnRetry,
    {
        // Whatever the error proves about a call, this attempt was not sent.
        let verdict = self.shared.policy().classifier.classify(Err(&*error)).with_processed(Processed::No);
        self.fail(GiveUp::NotReady, verdict, error, &self.origin(kept), false)
    }

    /// Asks the budget. It comes last, so that no token is spent on a retry that another condition forbids.
    fn charge(&mut self, decision: Result<NextSend, GiveUp>, verdict: &Verdict) -> Result<NextSend, GiveUp> {
        let budget = self.bucket.or(&self.shared.policy().config.budget);
        match decision {
            Ok(NextSend::After(_)) if !self.account.withdraw(budget, verdict) => return Err(GiveUp::Budget),
            // What speaks against the server also counts if it is not retried.
            Err(kind) if kind.forbids_a_wanted_retry() || verdict.should_retry() == Some(false) => {
                self.account.fail(budget);
            }
            _ => {}
        }
        decision
    }

    /// Decides whether, how and after what wait the request is sent again, except for the budget.
    fn decide<Req>(&self, verdict: &Verdict, kept: Option<&ReplayT::Kept>, answered: bool) -> Result<NextSend, GiveUp>
    where
        ReplayT: Replay<Req>,
    {
        let decider = &self.tuning().decider;
        let verdict = &self.with_earlier_hint(verdict);
        decider.wants(verdict)?;
        // The last attempt takes the request with it.
        let Some(kept) = kept.filter(|_| self.has_more()) else { return Err(GiveUp::Exhausted) };
        if !verdict.is_unprocessed() && !self.shared.replay().is_idempotent(kept) {
            return Err(GiveUp::NotIdempotent);
        }
        self.shared.replay().rewind(kept, answered)?;
        if !answered && self.is_free(verdict) {
            return Ok(NextSend::Resend);
        }
        // A server that answers, if only to refuse, is under the load that tiers multiply.
        if (answered || !verdict.is_unprocessed()) && self.shared.replay().is_retried_above(kept) {
            return Err(GiveUp::RetriedAbove);
        }
        let left = self.deadline.map(|deadline| TimeLeft {
            remaining: deadline.remaining(),
            needed: self.clock.filter(|_| answered).map_or(Duration::ZERO, |clock| clock.began.elapsed()),
        });
        let retry = Retry {
            number: self.attempt.number() - 1,
            verdict: Some(*verdict),
            last_wait: self.failures.as_ref().and_then(|failures| failures.history.last_wait()),
            spread: self.spread(),
        };
        let config = &self.shared.policy().config;
        config.draw(|mut rng| decider.wait(&retry, left, &mut rng)).map(NextSend::After)
    }

    /// Whether an attempt that failed costs nothing: the upstream gave it back, the call has made no transparent retry
    /// yet, and no hint asks for a wait.
    pub(super) fn is_free(&self, verdict: &Verdict) -> bool {
        let was_resent = self.failures.as_ref().is_some_and(|failures| failures.was_resent);
        !was_resent && was_given_back(verdict) && verdict.retry_after().is_none()
    }

    /// How far the wait after an attempt timeout is spread. An upstream that hangs is overloaded, and retries at once
    /// would double the load within one timeout; waits of that length keep it below one and a half. This wait
    /// costs no attempt its deadline.
    fn spread(&self) -> Duration {
        let Some((limit, ends)) = self.attempt_timeout().zip(self.attempt_ends()) else {
            return Duration::ZERO;
        };
        if Instant::now() < ends {
            return Duration::ZERO;
        }
        let Some(deadline) = self.deadline else { return limit };
        let more = (self.limits.max_attempts.get() - self.attempt.number()).max(1);
        limit.min((deadline.remaining() / more).saturating_sub(limit.saturating_add(SHORTEST_ATTEMPT)))
    }

    /// Records the failed attempt and reports the next one.
    fn go_on(&mut self, next: NextSend, verdict: Verdict, error: Option<BoxError>, origin: &Origin)
    where
        OnRetryT: OnRetry,
    {
        let (wait, is_resend) = match next {
            NextSend::Resend => (Duration::ZERO, true),
            NextSend::After(wait) => (wait, false),
        };
        let AttemptId { attempt, is_hedge } = self.ended();
        let attempt = attempt.number();
        // The next attempt has a time of its own, or none.
        self.clock = None;
        let failures = self.failures();
        failures.history.push(AttemptReport { attempt, is_hedge, verdict, wait: Some(wait) });
        (failures.ended, failures.not_before) = (None, None);
        failures.last_error = error;
        failures.maybe_processed |= !verdict.is_unprocessed();
        failures.was_resent |= is_resend;
        failures.is_resending = is_resend;
        let event = RetryEvent { attempt, wait, is_resend, is_hedge: false, verdict, origin };
        self.shared.policy().report_retry(&event);
    }

    /// The error of a call that ends with this one, in an attempt or while none was in flight.
    fn fail<Req>(
        &mut self,
        kind: GiveUp,
        verdict: Verdict,
        error: BoxError,
        origin: &Origin,
        in_flight: bool,
    ) -> Box<RetryError>
    where
        ReplayT: Replay<Req>,
        OnRetryT: OnRetry,
    {
        let attempts = if in_flight || self.failures.is_some() { self.attempt.number() } else { 0 };
        self.observe_give_up(kind, attempts, &verdict, origin);
        let report = self.report(&verdict, Some(kind), in_flight);
        let error = RetryError::with_report(kind, report, verdict, error);
        #[cfg(feature = "tonic")]
        if self.shared.replay().is_grpc() {
            return Box::new(error.with_status(kind == GiveUp::Deadline && self.is_past_deadline()));
        }
        Box::new(error)
    }

    /// The report of a call that ends in the current attempt or while none is in flight.
    fn report(&mut self, verdict: &Verdict, gave_up: Option<GiveUp>, in_flight: bool) -> RetryReport {
        let AttemptId { attempt, is_hedge } = self.ended();
        let mut failures = self.failures.take();
        if in_flight {
            let last = AttemptReport { attempt: attempt.number(), is_hedge, verdict: *verdict, wait: None };
            failures.get_or_insert_default().history.push(last);
        }
        let Some(failures) = failures else {
            return RetryReport { attempts: 0, gave_up, processed: verdict.processed(), history: History::default() };
        };
        let processed = match verdict.processed() {
            Processed::No if failures.maybe_processed => Processed::Maybe,
            Processed::Yes if failures.maybe_in_progress && !verdict.is_success() => Processed::Maybe,
            processed => processed,
        };
        RetryReport { attempts: self.attempt.number(), gave_up, processed, history: failures.history }
    }

    /// The failures of a call that has any.
    pub(super) fn failures(&mut self) -> &mut Failures {
        let failures = self.failures.get_or_insert_default();
        failures.spans.alone = false;
        failures
    }

    /// The attempt that has ended.
    fn ended(&self) -> AttemptId {
        let hedged = self.failures.as_ref().and_then(|failures| failures.ended);
        hedged.unwrap_or(AttemptId { attempt: self.attempt, is_hedge: false })
    }

    pub(super) fn origin<Req>(&self, kept: Option<&ReplayT::Kept>) -> Origin
    where
        ReplayT: Replay<Req>,
    {
        kept.map_or_else(Origin::default, |kept| self.shared.replay().origin(kept))
    }

    fn observe_give_up(&self, kind: GiveUp, attempts: u32, verdict: &Verdict, origin: &Origin)
    where
        OnRetryT: OnRetry,
    {
        self.shared.policy().tally.count_give_up(kind);
        // With a single attempt no retry was wanted.
        if self.retries() && kind.forbids_a_wanted_retry() {
            let event = GiveUpEvent { kind, attempts, verdict: *verdict, origin };
            self.shared.policy().report_give_up(&event);
        }
    }

    fn retries(&self) -> bool {
        self.limits.max_attempts.get() > 1
    }
}
