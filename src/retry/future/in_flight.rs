use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tower_service::Service;

use super::timer::Timer;
use crate::call::cut;
use crate::call::deadline::Deadline;
use crate::classify::Classifier;
use crate::retry::call::{AttemptOutcome, Call};
use crate::retry::config::Shared;
use crate::retry::error::TimedOut;
use crate::retry::observe::OnRetry;
use crate::retry::replay::Replay;

/// What is in flight while a call is in `Calling`: an attempt alone, or an attempt and its hedge.
pub(in crate::retry) trait InFlight<S, Req, SharedT>
where
    S: Service<<SharedT::Replay as Replay<Req>>::Request>,
    SharedT: Shared<Replay: Replay<Req>>,
{
    /// The attempt that began first. `None` once it has ended.
    fn first(self: Pin<&mut Self>) -> Pin<&mut Option<S::Future>>;

    /// The first attempt has begun.
    fn begin(self: Pin<&mut Self>, _: &Call<SharedT>) {}

    /// The first attempt has ended with a success.
    fn first_won(self: Pin<&mut Self>, _: PartsOf<'_, S, Req, SharedT>) {}

    /// The first attempt has ended otherwise. Returns its outcome unless the hedge goes on.
    fn first_failed(
        self: Pin<&mut Self>,
        _: PartsOf<'_, S, Req, SharedT>,
        outcome: AttemptOutcome<S::Response>,
    ) -> Option<AttemptOutcome<S::Response>> {
        Some(outcome)
    }

    /// Polls everything else: the time limits, and the hedge.
    fn poll_rest(
        self: Pin<&mut Self>,
        parts: PartsOf<'_, S, Req, SharedT>,
        cx: &mut Context<'_>,
    ) -> Poll<AttemptOutcome<S::Response>>;
}

/// What attempts in flight need of their call.
pub(in crate::retry) struct CallParts<'a, S, Kept, SharedT: Shared> {
    pub(in crate::retry) kept: Option<&'a Kept>,
    pub(in crate::retry) timer: Pin<&'a mut Timer>,
    pub(in crate::retry) service: &'a mut Option<S>,
    pub(in crate::retry) call: &'a mut Call<SharedT>,
}

/// The same by the type of the request.
pub(in crate::retry) type PartsOf<'a, S, Req, SharedT> =
    CallParts<'a, S, <<SharedT as Shared>::Replay as Replay<Req>>::Kept, SharedT>;

/// Without hedges.
impl<S, Req, SharedT> InFlight<S, Req, SharedT> for Option<S::Future>
where
    S: Service<<SharedT::Replay as Replay<Req>>::Request>,
    SharedT: Shared<Replay: Replay<Req>, Classifier: Classifier<S::Response>, OnRetry: OnRetry>,
{
    #[inline(always)]
    fn first(self: Pin<&mut Self>) -> Pin<&mut Option<S::Future>> {
        self
    }

    fn poll_rest(
        mut self: Pin<&mut Self>,
        parts: PartsOf<'_, S, Req, SharedT>,
        cx: &mut Context<'_>,
    ) -> Poll<AttemptOutcome<S::Response>> {
        let limit = ready!(poll_limits(parts.timer, parts.call, cx));
        let entered = parts.call.enter_span(false);
        let sent = cut::cut(|| self.set(None));
        drop(entered);
        let outcome = match limit {
            Limit::Attempt(limit) => parts.call.failed(TimedOut::attempt(limit, sent).into()),
            Limit::Deadline => parts.call.cut(TimedOut::deadline(sent)),
        };
        parts.call.end_span(false, &outcome.verdict);
        Poll::Ready(outcome)
    }
}

/// A time limit that has expired.
enum Limit {
    /// The attempt timeout, of this length.
    Attempt(Duration),
    Deadline,
}

/// Returns the time limit that has expired while the attempt is pending.
fn poll_limits<SharedT: Shared>(timer: Pin<&mut Timer>, call: &Call<SharedT>, cx: &mut Context<'_>) -> Poll<Limit> {
    let attempt_ends = call.attempt_ends();
    let deadline = call.deadline.map(Deadline::instant);
    let moment = || attempt_ends.into_iter().chain(deadline).min();
    timer.poll_until(moment, cx).map(|moment| match call.attempt_timeout() {
        Some(limit) if deadline.is_none_or(|deadline| moment < deadline) => Limit::Attempt(limit),
        _ => Limit::Deadline,
    })
}
