use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::call::{Action, AttemptOutcome, Call};
use super::config::SharedConfig;
use super::error::TimedOut;
use super::observe::OnRetry;
use super::replay::Replay;
use super::report::Report;
use crate::BoxError;
use crate::classify::Classifier;
use crate::cut::{self, Sent};
use crate::deadline::Deadline;

pin_project! {
    /// The future of [`Retry`](super::Retry).
    ///
    /// # Panics
    ///
    /// When it is first polled, before anything is sent, outside a tokio runtime whose time driver is enabled; not if
    /// [`max_attempts`](crate::RetryLayer::max_attempts) is 1 and there is no time limit. Also when it is polled after it
    /// was ready.
    // The bounds are here because the parts of a call are what the two traits say they are.
    #[project = Projection]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT>
    where
        S: Service<ReplayT::Request>,
        ReplayT: Replay<Req>,
    {
        #[pin]
        state: State<S::Future>,
        // What the attempts are made of, until the call has ended. Not in the states, because it is large: it stays in its
        // place from one to the next.
        kept: Option<ReplayT::Kept>,
        #[pin]
        timer: Timer,
        // Until the call has ended: a service that is ready may hold a permit that others wait for.
        service: Option<S>,
        call: Call<ClassifierT, ReplayT, OnRetryT>,
        // Whether this call is all there is to the attempt of another retry layer outside.
        is_attempt: bool,
    }

    impl<S, Req, ClassifierT, ReplayT, OnRetryT> PinnedDrop for ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT>
    where
        S: Service<ReplayT::Request>,
        ReplayT: Replay<Req>,
    {
        fn drop(this: Pin<&mut Self>) {
            if cut::is_cutting() {
                this.project().report_to_outer_cut();
            }
        }
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // The service is ready for an attempt.
        Ready,
        // An attempt is under way.
        Calling { #[pin] future: F },
        // The timer runs until the next attempt.
        Waiting,
        // The service is asked to get ready for the next attempt.
        Readying,
        Done,
    }
}

pin_project! {
    // What ends the present state by time. Not set before something has to be waited for.
    struct Timer {
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT> ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
{
    /// Of a service that is ready. It is called when this is first polled: the request then stays in its place, and what
    /// is dropped before was never sent.
    #[inline]
    pub(super) fn new(service: S, shared: Arc<SharedConfig<ClassifierT, ReplayT, OnRetryT>>, request: Req) -> Self {
        let deadline = shared.replay.deadline(&request, shared.config.deadline);
        let outer_ends = shared.config.attempt_timeout.and_then(|_| shared.replay.outer_attempt_ends(&request));
        let call = Call::new(shared, deadline, outer_ends);
        let kept = call.shared.replay.keep(request, call.has_more(), deadline);
        Self {
            state: State::Ready,
            kept: Some(kept),
            timer: Timer { sleep: None },
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
                // By the clock: a service that gets ready too late may do so before the timer rings.
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
                        // Nothing can cut it that asks what was sent.
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
                                // The common way out.
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
                                Limit::Deadline => AttemptOutcome::Cut(sent),
                            }
                        }
                    };
                    // Drops the attempt, and with it a body that was not sent, before anything is decided.
                    this.state.set(State::Done);
                    match this.call.settle(outcome, this.kept.as_ref()) {
                        Action::Return(output) => output,
                        Action::Resend => {
                            this.timer.as_mut().stop();
                            this.state.set(State::Readying);
                            continue;
                        }
                        Action::Retry { wait } => {
                            this.state.set(State::Waiting);
                            if wait.is_zero() {
                                // Lets other tasks run, and a timeout outside cut the call: all attempts may fail at once.
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
            *this.kept = None;
            *this.service = None;
            return Poll::Ready(output);
        }
    }
}

/// A time limit that has come.
enum Limit {
    /// The attempt timeout, which is this long.
    Attempt(Duration),
    Deadline,
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT> Projection<'_, S, Req, ClassifierT, ReplayT, OnRetryT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
{
    /// Tells a retry layer further outside, which is cutting this call, whether the request was ever sent. While an attempt
    /// is in flight the layers inside know better, but not of the attempts before.
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

fn ready_service<S>(service: &mut Option<S>) -> &mut S {
    let Some(service) = service else { unreachable!("the service stays until the call has ended") };
    service
}

/// The attempt is not ready: whether a time limit has come.
fn poll_limits<ClassifierT, ReplayT, OnRetryT>(
    timer: Pin<&mut Timer>,
    call: &Call<ClassifierT, ReplayT, OnRetryT>,
    cx: &mut Context<'_>,
) -> Poll<Limit> {
    let attempt_ends = call.attempt_ends();
    let deadline = call.deadline.map(Deadline::instant);
    let moment = || attempt_ends.into_iter().chain(deadline).min();
    timer.poll_until(moment, cx).map(|moment| match call.shared.config.attempt_timeout {
        Some(limit) if deadline.is_none_or(|deadline| moment < deadline) => Limit::Attempt(limit),
        _ => Limit::Deadline,
    })
}

impl Timer {
    fn stop(self: Pin<&mut Self>) {
        self.project().sleep.set(None);
    }

    fn set_to(self: Pin<&mut Self>, wait: Duration) {
        self.project().sleep.set(Some(tokio::time::sleep(wait)));
    }

    /// Ready when the time that was set is over.
    fn poll_wait(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut sleep = self.project().sleep;
        if let Some(timer) = sleep.as_mut().as_pin_mut() {
            ready!(timer.poll(cx));
        }
        sleep.set(None);
        Poll::Ready(())
    }

    /// Ready, with that moment, when a moment has come which is chosen the first time. Without one it never is.
    fn poll_until(
        self: Pin<&mut Self>,
        moment: impl FnOnce() -> Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<Instant> {
        let mut sleep = self.project().sleep;
        if sleep.is_none() {
            sleep.set(moment().map(tokio::time::sleep_until));
        }
        let Some(mut timer) = sleep.as_pin_mut() else {
            return Poll::Pending;
        };
        // A future that uses up the task's cooperative budget in every poll would keep the timer from ever ringing.
        if timer.as_mut().poll(cx).is_ready() || timer.deadline() <= Instant::now() {
            Poll::Ready(timer.deadline())
        } else {
            Poll::Pending
        }
    }
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
