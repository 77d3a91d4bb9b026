//! One call, with one attempt at a time or with hedges.

mod in_flight;
mod response;
pub(super) mod timer;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use self::timer::Timer;
use super::call::{Action, AttemptId, AttemptOutcome, Call, NextSend};
use super::config::Shared;
use super::error::RetryError;
use super::observe::{OnRetry, Report};
use super::replay::Replay;
use crate::BoxError;
use crate::call::cut::{self, Sent};
use crate::call::deadline::Deadline;
use crate::classify::Classifier;
use crate::registry::partition::Partition;

pub(super) use self::in_flight::{CallParts, InFlight, PartsOf};
pub use self::response::ResponseFuture;

pin_project! {
    /// One call, from its first attempt to its end. The types of its fields say nothing about the request and the
    /// response, so that a future can hold it without bounds.
    #[project = Projection]
    pub(in crate::retry) struct Attempts<S, A, Kept, SharedT: Shared> {
        stage: Stage,
        #[pin]
        in_flight: A,
        // The request, until the call has ended.
        kept: Option<Kept>,
        #[pin]
        timer: Timer,
        // Dropped as soon as the call has ended: a ready service may hold a permit that other calls wait for.
        service: Option<S>,
        call: Call<SharedT>,
        // Whether this call is the whole attempt of an outer retry layer.
        is_attempt: bool,
    }

    impl<S, A, Kept, SharedT: Shared> PinnedDrop for Attempts<S, A, Kept, SharedT> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.call.close();
            if cut::is_cutting() {
                this.report_to_outer_cut();
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Stage {
    /// The service is ready; the next poll starts an attempt.
    Ready,
    /// Attempts are in flight.
    Calling,
    /// The backoff timer is running.
    Waiting,
    /// The service is polled ready for the next attempt.
    Readying,
    Done,
}

impl<S, A, Kept, SharedT: Shared> Attempts<S, A, Kept, SharedT> {
    /// The service must be ready. It is called on the first poll, so that a future that is dropped before was never
    /// sent.
    #[inline]
    pub(in crate::retry) fn new<Req>(service: S, shared: SharedT, request: Req) -> Self
    where
        A: Default,
        SharedT::Replay: Replay<Req, Kept = Kept>,
        SharedT::Partition: Partition<Req>,
    {
        let is_attempt = shared.replay().claims_attempt(&request);
        let bucket = shared.bucket(&request);
        let tuning = shared.policy().config.current();
        let deadline = shared.replay().deadline(&request, tuning.deadline);
        let limits = tuning.limits;
        let call = Call::new(shared, limits, deadline, bucket);
        let kept = call.shared.replay().keep(request, call.has_more(), deadline);
        Self {
            stage: Stage::Ready,
            in_flight: A::default(),
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
        S: Service<<SharedT::Replay as Replay<Req>>::Request>,
        S::Error: Into<BoxError>,
        A: InFlight<S, Req, SharedT>,
        SharedT::Classifier: Classifier<S::Response>,
        SharedT::Replay: Replay<Req, Kept = Kept> + Report<S::Response>,
        SharedT::OnRetry: OnRetry,
    {
        let mut this = self.project();
        loop {
            let output = match *this.stage {
                // Checks the clock, because the service can become ready after the deadline and before the timer fires.
                Stage::Ready if this.call.is_past_deadline() => Err(this.call.too_late(this.kept.as_ref())),
                Stage::Ready => {
                    this.call.check_timer();
                    this.timer.as_mut().stop();
                    // Enter `Done` first: if a closure of the user or `call` panics, polling again must not resend the
                    // request.
                    *this.stage = Stage::Done;
                    let plan = this.call.begin_attempt();
                    this.call.open_span(AttemptId { attempt: plan.attempt, is_hedge: false }, this.kept.as_ref());
                    let request = this.call.shared.replay().request(this.kept, plan);
                    let service = ready_service(this.service);
                    let entered = this.call.enter_span(false);
                    let attempt = match *this.is_attempt || this.call.is_timed() {
                        true => cut::begin(|| service.call(request)),
                        // No time limit can cut it, so nothing asks whether it was sent.
                        false => service.call(request),
                    };
                    drop(entered);
                    this.in_flight.as_mut().first().set(Some(attempt));
                    this.in_flight.as_mut().begin(this.call);
                    *this.stage = Stage::Calling;
                    continue;
                }
                Stage::Calling => {
                    let ended = match this.in_flight.as_mut().first().as_pin_mut() {
                        None => None,
                        Some(attempt) => match in_span(this.call, attempt, cx) {
                            Poll::Ready(Ok(mut response)) => {
                                // Enter `Done` first: if a closure of the user panics, polling again must not hang.
                                *this.stage = Stage::Done;
                                let verdict = this.call.judge(&response);
                                this.call.end_span(false, &verdict);
                                // Drops the attempt, and with it an unsent body, before anything is decided.
                                this.in_flight.as_mut().first().set(None);
                                let (in_flight, parts) = this.split();
                                if parts.call.is_success(&verdict) {
                                    // The hot path.
                                    in_flight.first_won(parts);
                                    *this.kept = None;
                                    *this.service = None;
                                    this.call.succeed(&mut response, &verdict);
                                    return Poll::Ready(Ok(response));
                                }
                                let outcome = AttemptOutcome { result: Ok(response), verdict, is_cut: false };
                                in_flight.first_failed(parts, outcome)
                            }
                            Poll::Ready(Err(error)) => {
                                *this.stage = Stage::Done;
                                this.in_flight.as_mut().first().set(None);
                                let outcome = this.call.failed(error.into());
                                this.call.end_span(false, &outcome.verdict);
                                let (in_flight, parts) = this.split();
                                in_flight.first_failed(parts, outcome)
                            }
                            Poll::Pending => None,
                        },
                    };
                    let outcome = match ended {
                        Some(outcome) => outcome,
                        None => {
                            *this.stage = Stage::Calling;
                            let (in_flight, parts) = this.split();
                            ready!(in_flight.poll_rest(parts, cx))
                        }
                    };
                    *this.stage = Stage::Done;
                    match outcome {
                        AttemptOutcome { result: Ok(mut response), verdict, .. } if this.call.is_success(&verdict) => {
                            this.call.succeed(&mut response, &verdict);
                            Ok(response)
                        }
                        outcome => match this.call.settle(outcome, this.kept.as_ref()) {
                            Action::Return(output) => output,
                            Action::Send(next) => {
                                this.timer.as_mut().stop();
                                match next {
                                    NextSend::Resend => *this.stage = Stage::Readying,
                                    NextSend::After(wait) => {
                                        *this.stage = Stage::Waiting;
                                        if wait.is_zero() {
                                            // Yields between attempts that fail at once, so that other tasks run and an
                                            // outer timeout can cut the call.
                                            cx.waker().wake_by_ref();
                                            return Poll::Pending;
                                        }
                                        this.timer.as_mut().set_to(wait);
                                    }
                                }
                                continue;
                            }
                        },
                    }
                }
                Stage::Waiting => {
                    ready!(this.timer.as_mut().poll_wait(cx));
                    *this.stage = Stage::Readying;
                    continue;
                }
                Stage::Readying => match ready_service(this.service).poll_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        *this.stage = Stage::Ready;
                        let left = this.kept.as_ref().and_then(|kept| this.call.left_outside(kept));
                        if left.is_some_and(|left| left.is_zero()) {
                            // Yields to the retry layer outside, which then cuts this call. Goes on if there is none.
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
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
                Stage::Done => panic!("the future of a call was polled after its end"),
            };
            *this.stage = Stage::Done;
            this.call.close();
            *this.kept = None;
            *this.service = None;
            return Poll::Ready(output.map_err(into_error));
        }
    }
}

impl<S, A, Kept, SharedT: Shared> Projection<'_, S, A, Kept, SharedT> {
    fn split(&mut self) -> (Pin<&mut A>, CallParts<'_, S, Kept, SharedT>) {
        let parts =
            CallParts { kept: self.kept.as_ref(), timer: self.timer.as_mut(), service: self.service, call: self.call };
        (self.in_flight.as_mut(), parts)
    }

    /// Reports to the outer retry layer that is cutting this call whether the request was sent. While an attempt is in
    /// flight, the layers inside report on it; they know nothing of earlier attempts.
    fn report_to_outer_cut(self) {
        if !*self.is_attempt || self.call.was_maybe_processed() {
            return cut::report(Sent::Maybe);
        }
        match self.stage {
            Stage::Ready | Stage::Waiting | Stage::Readying => cut::report(Sent::No),
            Stage::Calling | Stage::Done => {}
        }
    }
}

/// Polls the first attempt in its span.
#[inline(always)]
fn in_span<F, SharedT>(call: &Call<SharedT>, attempt: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output>
where
    F: Future,
    SharedT: Shared<OnRetry: OnRetry>,
{
    let _entered = call.enter_span(false);
    attempt.poll(cx)
}

pub(super) fn ready_service<S>(service: &mut Option<S>) -> &mut S {
    let Some(service) = service else { unreachable!("the service is kept until the call has ended") };
    service
}

/// Names the future that holds it.
impl<S, A, Kept, SharedT: Shared> Attempts<S, A, Kept, SharedT> {
    pub(in crate::retry) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name).field("attempt", &self.call.attempt).finish_non_exhaustive()
    }
}
