//! An attempt and its hedge.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;
use tower_service::Service;

use super::call::{REJECTED, is_final, was_rejected};
use super::slot::Slot;
use crate::BoxError;
use crate::call::cut;
use crate::call::deadline::{Deadline, after};
use crate::classify::Classifier;
use crate::retry::call::{AttemptClock, AttemptId, AttemptOutcome};
use crate::retry::config::Shared;
use crate::retry::error::TimedOut;
use crate::retry::future::{PartsOf, ready_service};
use crate::retry::observe::OnRetry;
use crate::retry::policy::HedgeToken;
use crate::retry::replay::Replay;

/// The attempts of a call that are in flight: the first and, if it is slow, its hedge.
pub(super) struct Race<'a, S, Req, SharedT>
where
    S: Service<<SharedT::Replay as Replay<Req>>::Request>,
    SharedT: Shared<Replay: Replay<Req>>,
{
    pub(super) first: Pin<&'a mut Slot<S::Future>>,
    pub(super) hedge: Pin<&'a mut Slot<S::Future>>,
    pub(super) hedging: &'a mut Hedging,
    pub(super) parts: PartsOf<'a, S, Req, SharedT>,
}

/// Whether the first attempt is hedged.
pub(super) enum Hedging {
    /// It has not been pending yet.
    Undecided,
    /// It will be, if it is still in flight at this moment.
    DueAt(Instant),
    /// The budget has granted it, and the service is not ready.
    Granted(HedgeToken),
    Sent {
        _token: HedgeToken,
    },
    /// There is no hedge, or none any more.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Hedge,
}

impl<S, Req, SharedT> Race<'_, S, Req, SharedT>
where
    S: Service<<SharedT::Replay as Replay<Req>>::Request> + Clone,
    S::Error: Into<BoxError>,
    SharedT: Shared<Classifier: Classifier<S::Response>, Replay: Replay<Req>, OnRetry: OnRetry>,
{
    /// Polls what is in flight beside the first attempt, which has been polled. Ready with the outcome of the attempt
    /// that ends the race.
    pub(super) fn poll(mut self, cx: &mut Context<'_>) -> Poll<AttemptOutcome<S::Response>> {
        if let Poll::Ready(result) = self.poll_in_span(cx) {
            if let Some(outcome) = self.hedge_ended(result.map_err(Into::into)) {
                return Poll::Ready(outcome);
            }
        }
        self.decide_when();
        loop {
            if let Some(outcome) = self.poll_hedge(cx) {
                return Poll::Ready(outcome);
            }
            let next = || {
                let due = if let Hedging::DueAt(due) = *self.hedging { Some(due) } else { None };
                let deadline = self.parts.call.deadline.map(Deadline::instant);
                [self.first.ends(), self.hedge.ends(), deadline, due].into_iter().flatten().min()
            };
            let now = ready!(self.parts.timer.as_mut().poll_until(next, cx));
            self.parts.timer.as_mut().stop();
            if let Some(outcome) = self.at(now) {
                return Poll::Ready(outcome);
            }
        }
    }

    /// Begins to measure the first attempt once it is pending.
    fn decide_when(&mut self) {
        if !matches!(self.hedging, Hedging::Undecided) {
            return;
        }
        let began = self.first.as_mut().date();
        *self.hedging = match self.parts.call.shared.pace().delay(began).filter(|_| self.parts.call.has_more()) {
            Some(delay) => Hedging::DueAt(after(began, delay)),
            None => Hedging::Over,
        };
    }

    /// Sends a hedge that was granted, once the service is ready.
    fn poll_hedge(&mut self, cx: &mut Context<'_>) -> Option<AttemptOutcome<S::Response>> {
        if !matches!(self.hedging, Hedging::Granted(_)) {
            return None;
        }
        let is_ready = match ready_service(self.parts.service).poll_ready(cx) {
            Poll::Pending => return None,
            // If the first attempt has to be retried, another instance is asked.
            Poll::Ready(outcome) => outcome.is_ok(),
        };
        // Over also if the call of the service panics: polling again must not send another hedge.
        let granted = std::mem::replace(self.hedging, Hedging::Over);
        // Asked again: the service may have become ready at the deadline.
        let kept = self.parts.kept.filter(|kept| is_ready && self.parts.call.may_hedge(kept));
        let planned = kept.and_then(|kept| {
            let (plan, clock) = self.parts.call.plan_hedge(Instant::now());
            Some((plan, clock, self.parts.call.shared.replay().hedge(kept, plan)?))
        });
        let (Hedging::Granted(mut token), Some((plan, clock, request))) = (granted, planned) else {
            self.discard_service();
            return None;
        };
        token.sent(true);
        let service = ready_service(self.parts.service);
        self.parts.call.open_span(AttemptId { attempt: plan.attempt, is_hedge: true }, kept);
        let entered = self.parts.call.enter_span(true);
        let attempt = cut::begin_hedge(|| service.call(request));
        drop(entered);
        self.hedge.as_mut().future().set(Some(attempt));
        self.hedge.as_mut().begin(AttemptId { attempt: plan.attempt, is_hedge: true }, Some(clock));
        self.parts.timer.as_mut().stop();
        let ended = match cut::hedging(|| self.poll_in_span(cx)) {
            Poll::Ready(result) => Some(result.map_err(Into::into)),
            Poll::Pending => None,
        };
        if ended.as_ref().is_some_and(was_rejected) {
            // The breaker is not closed. The hedge has not reached the upstream, and is no attempt.
            self.parts.call.end_span(true, &REJECTED);
            self.hedge.as_mut().empty();
            token.sent(false);
            return None;
        }
        self.parts.call.hedge_sent(self.parts.kept);
        *self.hedging = Hedging::Sent { _token: token };
        self.hedge_ended(ended?)
    }

    /// The first attempt has been answered well.
    #[inline]
    pub(super) fn first_won(&mut self) {
        self.record_first();
        if !self.hedge.is_empty() {
            self.drop_other(Which::Hedge);
        }
        self.settle(Which::First);
    }

    /// The hedge has ended.
    fn hedge_ended(&mut self, result: Result<S::Response, BoxError>) -> Option<AttemptOutcome<S::Response>> {
        // Drops it, and with it an unsent body, before anything is decided.
        self.hedge.as_mut().empty();
        let outcome = match result {
            Ok(response) => {
                let verdict = self.parts.call.judge(&response);
                AttemptOutcome { result: Ok(response), verdict, is_cut: false }
            }
            Err(error) => self.parts.call.failed(error),
        };
        self.parts.call.end_span(true, &outcome.verdict);
        self.end(Which::Hedge, outcome)
    }

    fn poll_in_span(&mut self, cx: &mut Context<'_>) -> Poll<Result<S::Response, S::Error>> {
        let _entered = self.parts.call.enter_span(true);
        self.hedge.as_mut().poll(cx)
    }

    /// An attempt has ended. Returns its outcome unless the other one goes on.
    pub(super) fn end(
        &mut self,
        which: Which,
        outcome: AttemptOutcome<S::Response>,
    ) -> Option<AttemptOutcome<S::Response>> {
        let verdict = outcome.verdict;
        let other = which.other();
        let goes_on = !self.slot(other).is_empty();
        if goes_on && !is_final(&verdict) {
            let id = self.slot(which).id();
            self.parts.call.lose(id, verdict);
            self.parts.call.charge_lost(&verdict);
            if which == Which::Hedge {
                // Frees its place of the budget.
                *self.hedging = Hedging::Over;
            }
            self.parts.timer.as_mut().stop();
            return None;
        }
        if goes_on {
            self.drop_other(other);
        }
        self.settle(which);
        Some(outcome)
    }

    /// Drops an attempt because the other one has ended the race. This is no cut: to the layers inside, the call was
    /// abandoned.
    fn drop_other(&mut self, other: Which) {
        self.slot(other).empty();
        self.parts.call.drop_span(other == Which::Hedge);
        let id = self.slot(other).id();
        self.parts.call.drop_loser(id);
        if other == Which::First {
            self.record_first();
        }
    }

    fn empty_in_span(&mut self, which: Which) {
        let _entered = self.parts.call.enter_span(which == Which::Hedge);
        match which {
            Which::First => self.first.as_mut().empty(),
            Which::Hedge => self.hedge.as_mut().empty(),
        }
    }

    /// Records how long the first attempt took.
    fn record_first(&self) {
        match self.first.clock() {
            Some(AttemptClock { began, .. }) if !matches!(self.hedging, Hedging::Undecided) => {
                self.parts.call.shared.pace().record(began)
            }
            _ => self.parts.call.shared.pace().record_none(),
        }
    }

    /// Makes an attempt the one that ends the race.
    fn settle(&mut self, which: Which) {
        if let Hedging::Granted(_) = self.hedging {
            self.discard_service();
        }
        // Gives back the token of a hedge that was not sent.
        *self.hedging = Hedging::Over;
        let slot = self.slot(which);
        let (id, clock) = (slot.id(), slot.clock());
        self.parts.call.end_with(id, clock);
    }

    /// Replaces the service, which was polled for a hedge that is not sent. It may have failed, or hold a place, be it
    /// in a queue, until the next attempt.
    fn discard_service(&mut self) {
        *self.parts.service = self.parts.service.clone();
    }

    fn slot(&mut self, which: Which) -> Pin<&mut Slot<S::Future>> {
        match which {
            Which::First => self.first.as_mut(),
            Which::Hedge => self.hedge.as_mut(),
        }
    }

    /// Does what is due at this moment.
    fn at(&mut self, now: Instant) -> Option<AttemptOutcome<S::Response>> {
        if self.parts.call.deadline.is_some_and(|deadline| deadline.instant() <= now) {
            return Some(self.cut_at_deadline());
        }
        for which in [Which::First, Which::Hedge] {
            if self.slot(which).has_expired(now) {
                let sent = cut::cut(|| self.empty_in_span(which));
                if which == Which::First {
                    self.record_first();
                }
                let limit = self.slot(which).clock().and_then(|clock| clock.timeout).unwrap_or_default();
                let outcome = self.parts.call.failed(TimedOut::attempt(limit, sent).into());
                self.parts.call.end_span(which == Which::Hedge, &outcome.verdict);
                return self.end(which, outcome);
            }
        }
        if matches!(self.hedging, Hedging::DueAt(due) if *due <= now) {
            let kept = self.parts.kept.filter(|kept| self.parts.call.may_hedge(kept));
            // Asked last, so that no token is spent on a hedge that another condition forbids.
            let token = kept.and_then(|_| self.parts.call.withdraw_hedge());
            *self.hedging = token.map_or(Hedging::Over, Hedging::Granted);
        }
        None
    }

    fn cut_at_deadline(&mut self) -> AttemptOutcome<S::Response> {
        let in_flight = [Which::First, Which::Hedge].map(|which| !self.slot(which).is_empty());
        let sent = cut::cut(|| {
            self.empty_in_span(Which::First);
            self.empty_in_span(Which::Hedge);
        });
        let error = TimedOut::deadline(sent);
        [false, true].into_iter().for_each(|is_hedge| self.parts.call.end_span(is_hedge, &error.verdict()));
        if let [true, _] = in_flight {
            self.record_first();
        }
        if let [true, true] = in_flight {
            self.parts.call.lose(self.first.id(), error.verdict());
            self.parts.call.charge_lost(&error.verdict());
        }
        self.settle(if let [_, true] = in_flight { Which::Hedge } else { Which::First });
        self.parts.call.cut(error)
    }
}

impl Which {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Hedge,
            Self::Hedge => Self::First,
        }
    }
}
