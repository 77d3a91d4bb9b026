pub(super) mod timer;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tower_service::Service;

use self::timer::Timer;
use super::call::{Action, AttemptOutcome, Call, NextSend};
use super::config::SharedConfig;
use super::error::TimedOut;
use super::observe::{OnRetry, Report};
use super::replay::Replay;
use crate::BoxError;
use crate::classify::Classifier;
use crate::cut::{self, Sent};
use crate::deadline::Deadline;

pin_project! {
    /// The future of [`Retry`](super::Retry).
    ///
    /// # Panics
    ///
    /// On the first poll, before anything is sent, if tokio's time driver is not enabled. A layer whose
    /// [`max_attempts`](crate::RetryLayer::max_attempts) is 1 and that has no time limit does not need it. Also if it is
    /// polled after it has completed.
    // The fields name associated types of both traits, hence the bounds.
    #[project = Projection]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT>
    where
        S: Service<ReplayT::Request>,
        ReplayT: Replay<Req>,
    {
        #[pin]
        state: State<S::Future>,
        // The request, until the call has ended. Not part of the states: it is large, and moving it between them costs.
        kept: Option<ReplayT::Kept>,
        #[pin]
        timer: Timer,
        // Dropped as soon as the call has ended: a ready service may hold a permit that other calls wait for.
        service: Option<S>,
        call: Call<ClassifierT, ReplayT, OnRetryT>,
        // Whether this call is the whole attempt of an outer retry layer.
        is_attempt: bool,
    }

    impl<S, Req, ClassifierT, ReplayT, OnRetryT> PinnedDrop for ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT>
    where
        S: Service<ReplayT::Request>,
        ReplayT: Replay<Req>,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.call.close();
            if cut::is_cutting() {
                this.report_to_outer_cut();
            }
        }
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // The service is ready; the next poll starts an attempt.
        Ready,
        // An attempt is in flight.
        Calling { #[pin] future: F },
        // The backoff timer is running.
        Waiting,
        // The service is polled ready for the next attempt.
        Readying,
        Done,
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT> ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
{
    /// The service must be ready. It is called on the first poll, so that a future that is dropped before was never sent.
    #[inline]
    pub(super) fn new(service: S, shared: Arc<SharedConfig<ClassifierT, ReplayT, OnRetryT>>, request: Req) -> Self {
        let deadline = shared.replay.deadline(&request, shared.policy.config.deadline);
        let outer_ends = shared.policy.config.attempt_timeout.and_then(|_| shared.replay.outer_attempt_ends(&request));
        let call = Call::new(shared, deadline, outer_ends);
        let kept = call.shared.replay.keep(request, call.has_more(), deadline);
        Self {
            state: State::Ready,
            kept: Some(kept),
            timer: Timer::default(),
            service: Some(service),
            call,
            is_attempt: cut::claim_attempt(),
        }
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT> Future for ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT>
where
    S: Service<ReplayT::Request>,
    S::Error: Into<BoxError>,
    ClassifierT: Classifier<S::Response>,
    ReplayT: Replay<Req> + Report<S::Response>,
    OnRetryT: OnRetry,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let output = match this.state.as_mut().project() {
                // Checks the clock, because the service can become ready after the deadline and before the timer fires.
                StateProj::Ready if this.call.is_past_deadline() => Err(this.call.too_late(this.kept.as_ref())),
                StateProj::Ready => {
                    this.call.check_timer();
                    this.timer.as_mut().stop();
                    let plan = this.call.begin_attempt();
                    let request = this.call.shared.replay.request(this.kept, plan);
                    // Enter `Done` first: if `call` panics, polling again must not resend the request.
                    this.state.set(State::Done);
                    let service = ready_service(this.service);
                    let future = match *this.is_attempt || this.call.is_timed() {
                        true => cut::begin(|| service.call(request)),
                        // No time limit can cut it, so nothing asks whether it was sent.
                        false => service.call(request),
                    };
                    this.state.set(State::Calling { future });
                    continue;
                }
                StateProj::Calling { future } => {
                    let outcome = match future.poll(cx) {
                        Poll::Ready(Ok(mut response)) => {
                            let verdict = this.call.judge(&response);
                            if this.call.is_success(&verdict) {
                                // The hot path.
                                this.state.set(State::Done);
                                *this.kept = None;
                                *this.service = None;
                                this.call.succeed(&mut response, &verdict);
                                return Poll::Ready(Ok(response));
                            }
                            AttemptOutcome::Answered(response, verdict)
                        }
                        Poll::Ready(Err(error)) => AttemptOutcome::Failed(error.into()),
                        Poll::Pending => {
                            let limit = ready!(poll_limits(this.timer.as_mut(), this.call, cx));
                            let sent = cut::cut(|| this.state.set(State::Done));
                            match limit {
                                Limit::Attempt(limit) => AttemptOutcome::Failed(TimedOut::attempt(limit, sent).into()),
                                Limit::Deadline => AttemptOutcome::Cut(TimedOut::deadline(sent).into()),
                            }
                        }
                    };
                    // Drops the attempt, and with it an unsent body, before anything is decided.
                    this.state.set(State::Done);
                    match this.call.settle(outcome, this.kept.as_ref()) {
                        Action::Return(output) => output,
                        Action::Send(NextSend::Resend) => {
                            this.timer.as_mut().stop();
                            this.state.set(State::Readying);
                            continue;
                        }
                        Action::Send(NextSend::After(wait)) => {
                            this.state.set(State::Waiting);
                            if wait.is_zero() {
                                // Yields between attempts that fail at once, so that other tasks run and an outer timeout
                                // can cut the call.
                                this.timer.as_mut().stop();
                                cx.waker().wake_by_ref();
                                return Poll::Pending;
                            }
                            this.timer.as_mut().set_to(wait);
                            continue;
                        }
                    }
                }
                StateProj::Waiting => {
                    ready!(this.timer.as_mut().poll_wait(cx));
                    this.state.set(State::Readying);
                    continue;
                }
                StateProj::Readying => match ready_service(this.service).poll_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        this.state.set(State::Ready);
                        continue;
                    }
                    Poll::Ready(Err(error)) => {
                        Err(this.call.not_ready::<Req, S::Response>(error.into(), this.kept.as_ref()))
                    }
                    Poll::Pending => {
                        let deadline = this.call.deadline.map(Deadline::instant);
                        ready!(this.timer.as_mut().poll_until(|| deadline, cx));
                        Err(this.call.too_late(this.kept.as_ref()))
                    }
                },
                StateProj::Done => panic!("ResponseFuture was polled after its end"),
            };
            this.state.set(State::Done);
            this.call.close();
            *this.kept = None;
            *this.service = None;
            return Poll::Ready(output);
        }
    }
}

/// A time limit that has expired.
enum Limit {
    /// The attempt timeout, of this length.
    Attempt(Duration),
    Deadline,
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT> Projection<'_, S, Req, ClassifierT, ReplayT, OnRetryT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
{
    /// Reports to the outer retry layer that is cutting this call whether the request was sent. While an attempt is in
    /// flight, the layers inside report on it; they know nothing of earlier attempts.
    fn report_to_outer_cut(self) {
        if !*self.is_attempt || self.call.was_maybe_processed() {
            return cut::report(Sent::Maybe);
        }
        match self.state.project() {
            StateProj::Ready | StateProj::Waiting | StateProj::Readying => cut::report(Sent::No),
            StateProj::Calling { .. } | StateProj::Done => {}
        }
    }
}

pub(super) fn ready_service<S>(service: &mut Option<S>) -> &mut S {
    let Some(service) = service else { unreachable!("the service is kept until the call has ended") };
    service
}

/// Returns the time limit that has expired while the attempt is pending.
fn poll_limits<ClassifierT, ReplayT, OnRetryT>(
    timer: Pin<&mut Timer>,
    call: &Call<ClassifierT, ReplayT, OnRetryT>,
    cx: &mut Context<'_>,
) -> Poll<Limit> {
    let attempt_ends = call.attempt_ends();
    let deadline = call.deadline.map(Deadline::instant);
    let moment = || attempt_ends.into_iter().chain(deadline).min();
    timer.poll_until(moment, cx).map(|moment| match call.shared.policy.config.attempt_timeout {
        Some(limit) if deadline.is_none_or(|deadline| moment < deadline) => Limit::Attempt(limit),
        _ => Limit::Deadline,
    })
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT> fmt::Debug for ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("attempt", &self.call.attempt).finish_non_exhaustive()
    }
}
