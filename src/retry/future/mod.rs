mod response;
pub(super) mod timer;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tower_service::Service;

use self::timer::Timer;
use super::call::{Action, AttemptOutcome, Call, NextSend};
use super::config::Shared;
use super::error::{RetryError, TimedOut};
use super::observe::{OnRetry, Report};
use super::replay::Replay;
use crate::BoxError;
use crate::classify::Classifier;
use crate::cut::{self, Sent};
use crate::deadline::Deadline;
use crate::registry::partition::Partition;

pub use self::response::ResponseFuture;

pin_project! {
    /// One call, from its first attempt to its end. The types of its fields say nothing about the request and the
    /// response, so that a future can hold it without bounds.
    #[project = Projection]
    pub(in crate::retry) struct Attempts<S, F, Kept, SharedT: Shared> {
        #[pin]
        state: State<F>,
        // The request, until the call has ended. Not part of the states: it is large, and moving it between them costs.
        kept: Option<Kept>,
        #[pin]
        timer: Timer,
        // Dropped as soon as the call has ended: a ready service may hold a permit that other calls wait for.
        service: Option<S>,
        call: Call<SharedT>,
        // Whether this call is the whole attempt of an outer retry layer.
        is_attempt: bool,
    }

    impl<S, F, Kept, SharedT: Shared> PinnedDrop for Attempts<S, F, Kept, SharedT> {
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

impl<S, F, Kept, SharedT: Shared> Attempts<S, F, Kept, SharedT> {
    /// The service must be ready. It is called on the first poll, so that a future that is dropped before was never
    /// sent.
    #[inline]
    pub(in crate::retry) fn new<Req>(service: S, shared: SharedT, request: Req) -> Self
    where
        SharedT::Replay: Replay<Req, Kept = Kept>,
        SharedT::Partition: Partition<Req>,
    {
        let deadline = shared.replay().deadline(&request, shared.policy().config.deadline);
        let is_attempt = shared.replay().claims_attempt(&request);
        let bucket = shared.bucket(&request);
        let call = Call::new(shared, deadline, bucket);
        let kept = call.shared.replay().keep(request, call.has_more(), deadline);
        Self {
            state: State::Ready,
            kept: Some(kept),
            timer: Timer::default(),
            service: Some(service),
            call,
            is_attempt,
        }
    }

    /// `into_error` makes the error of the future. Mapping the output instead would move every response once more.
    #[inline]
    pub(in crate::retry) fn poll<Req, Error>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into_error: impl FnOnce(Box<RetryError>) -> Error,
    ) -> Poll<Result<S::Response, Error>>
    where
        S: Service<<SharedT::Replay as Replay<Req>>::Request, Future = F>,
        S::Error: Into<BoxError>,
        F: Future<Output = Result<S::Response, S::Error>>,
        SharedT::Classifier: Classifier<S::Response>,
        SharedT::Replay: Replay<Req, Kept = Kept> + Report<S::Response>,
        SharedT::OnRetry: OnRetry,
    {
        let mut this = self.project();
        loop {
            let output = match this.state.as_mut().project() {
                // Checks the clock, because the service can become ready after the deadline and before the timer fires.
                StateProj::Ready if this.call.is_past_deadline() => Err(this.call.too_late(this.kept.as_ref())),
                StateProj::Ready => {
                    this.call.check_timer();
                    this.timer.as_mut().stop();
                    // Enter `Done` first: if a closure of the user or `call` panics, polling again must not resend the
                    // request.
                    this.state.set(State::Done);
                    let plan = this.call.begin_attempt();
                    let request = this.call.shared.replay().request(this.kept, plan);
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
                            // Drops the attempt, and with it an unsent body, before anything is decided.
                            this.state.set(State::Done);
                            AttemptOutcome { result: Ok(response), verdict, is_cut: false }
                        }
                        Poll::Ready(Err(error)) => {
                            this.state.set(State::Done);
                            this.call.failed(error.into())
                        }
                        Poll::Pending => {
                            let limit = ready!(poll_limits(this.timer.as_mut(), this.call, cx));
                            let sent = cut::cut(|| this.state.set(State::Done));
                            match limit {
                                Limit::Attempt(limit) => this.call.failed(TimedOut::attempt(limit, sent).into()),
                                Limit::Deadline => this.call.cut(TimedOut::deadline(sent)),
                            }
                        }
                    };
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
                                // Yields between attempts that fail at once, so that other tasks run and an outer
                                // timeout can cut the call.
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
                StateProj::Done => panic!("the future of a call was polled after its end"),
            };
            this.state.set(State::Done);
            this.call.close();
            *this.kept = None;
            *this.service = None;
            return Poll::Ready(output.map_err(into_error));
        }
    }
}

/// A time limit that has expired.
enum Limit {
    /// The attempt timeout, of this length.
    Attempt(Duration),
    Deadline,
}

impl<S, F, Kept, SharedT: Shared> Projection<'_, S, F, Kept, SharedT> {
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
fn poll_limits<SharedT: Shared>(timer: Pin<&mut Timer>, call: &Call<SharedT>, cx: &mut Context<'_>) -> Poll<Limit> {
    let attempt_ends = call.attempt_ends();
    let deadline = call.deadline.map(Deadline::instant);
    let moment = || attempt_ends.into_iter().chain(deadline).min();
    timer.poll_until(moment, cx).map(|moment| match call.attempt_timeout() {
        Some(limit) if deadline.is_none_or(|deadline| moment < deadline) => Limit::Attempt(limit),
        _ => Limit::Deadline,
    })
}

/// Names the future that holds it.
impl<S, F, Kept, SharedT: Shared> Attempts<S, F, Kept, SharedT> {
    pub(in crate::retry) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name).field("attempt", &self.call.attempt).finish_non_exhaustive()
    }
}
