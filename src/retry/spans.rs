//! The spans of the attempts in flight.

use super::call::{AttemptId, Call};
use super::config::Shared;
use super::observe::{AttemptSpan, AttemptStart, OnRetry, SLOW};
use super::replay::Replay;
use crate::call::attempt_span::Entered;
use crate::classify::Verdict;

impl<SharedT, OnRetryT: OnRetry> Call<SharedT>
where
    SharedT: Shared<OnRetry = OnRetryT>,
{
    /// Opens the span of an attempt that begins, if the layer opens any.
    #[inline(always)]
    pub(super) fn open_span<Req>(&mut self, id: AttemptId, kept: Option<&<SharedT::Replay as Replay<Req>>::Kept>)
    where
        SharedT::Replay: Replay<Req>,
    {
        if OnRetryT::OPENS_SPANS {
            self.open(id, kept);
        }
    }

    #[cold]
    fn open<Req>(
        &mut self,
        AttemptId { attempt, is_hedge }: AttemptId,
        kept: Option<&<SharedT::Replay as Replay<Req>>::Kept>,
    ) where
        SharedT::Replay: Replay<Req>,
    {
        let failures = self.failures.as_deref();
        let last = failures.map(|failures| (failures.history.last_reason(), failures.history.last_wait()));
        let (reason, wait) = match is_hedge {
            true => (Some(SLOW), None),
            false => last.unwrap_or_default(),
        };
        let attempt = attempt.number();
        let sends = attempt - 1 + u32::from(failures.is_some_and(|failures| failures.was_resent));
        let name = &self.shared.policy().config.name;
        let start = AttemptStart { name, attempt, is_hedge, reason, wait, sends };
        let Some(span) = AttemptSpan::open(&start, || self.origin(kept)) else { return };
        let alone = self.failures.is_none();
        let spans = &mut self.failures.get_or_insert_default().spans;
        spans.alone |= alone;
        if let (true, Some(first)) = (is_hedge, &spans.open[0]) {
            span.follows_from(first);
        }
        spans.open[usize::from(is_hedge)] = Some(span);
    }

    /// Enters the span of an attempt, if it has one, until the result is dropped.
    // A guard, because a request that moves into a closure is copied once more.
    #[inline(always)]
    pub(super) fn enter_span(&self, is_hedge: bool) -> Option<Entered<'_>> {
        if !OnRetryT::OPENS_SPANS {
            return None;
        }
        self.failures.as_ref()?.spans.open[usize::from(is_hedge)].as_ref().map(AttemptSpan::enter)
    }

    /// Records the verdict on an attempt, and closes its span.
    #[inline(always)]
    pub(super) fn end_span(&mut self, is_hedge: bool, verdict: &Verdict) {
        if OnRetryT::OPENS_SPANS {
            self.close_span(is_hedge, Some(verdict));
        }
    }

    /// Closes the span of an attempt that is dropped because the other one ended the call.
    pub(super) fn drop_span(&mut self, is_hedge: bool) {
        if OnRetryT::OPENS_SPANS {
            self.close_span(is_hedge, None);
        }
    }

    #[cold]
    fn close_span(&mut self, is_hedge: bool, verdict: Option<&Verdict>) {
        let Some(failures) = &mut self.failures else { return };
        if let (Some(span), Some(verdict)) = (failures.spans.open[usize::from(is_hedge)].take(), verdict) {
            span.end(verdict);
        }
        if failures.spans.alone && failures.spans.open.iter().all(Option::is_none) {
            self.failures = None;
        }
    }
}
