use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::pace::Pace;
use super::race::{Hedging, Race, Which};
use super::slot::Slot;
use crate::BoxError;
use crate::classify::Classifier;
use crate::cut::{self, Sent};
use crate::deadline::Deadline;
use crate::registry::partition::{Keyed, Partition, Unpartitioned};
use crate::retry::call::{Action, AttemptId, AttemptOutcome, Call, NextSend};
use crate::retry::config::{Shared, SharedConfig};
use crate::retry::future::ready_service;
use crate::retry::future::timer::Timer;
use crate::retry::observe::{OnRetry, Report};
use crate::retry::replay::Replay;

pin_project! {
    /// The future of [`HedgedRetry`](super::HedgedRetry).
    ///
    /// # Panics
    ///
    /// As [`ResponseFuture`](crate::retry::ResponseFuture).
    #[project = Projection]
    #[must_use = "futures do nothing unless polled"]
    pub struct HedgedResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT = Unpartitioned>
    where
        S: Service<ReplayT::Request>,
        ReplayT: Replay<Req>,
        PartitionT: Keyed,
    {
        stage: Stage,
        #[pin]
        first: Slot<S::Future>,
        #[pin]
        hedge: Slot<S::Future>,
        hedging: Hedging,
        kept: Option<ReplayT::Kept>,
        #[pin]
        timer: Timer,
        // Dropped as soon as the call has ended: a ready service may hold a permit that other calls wait for.
        service: Option<S>,
        call: Call<Arc<SharedConfig<ClassifierT, ReplayT, OnRetryT, PartitionT>>>,
        pace: Arc<Pace>,
        // Whether this call is the whole attempt of an outer retry layer.
        is_attempt: bool,
    }

    impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT> PinnedDrop
        for HedgedResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
    where
        S: Service<ReplayT::Request>,
        ReplayT: Replay<Req>,
        PartitionT: Keyed,
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

/// The state of the call, as in the [module of retry](crate::retry).
#[derive(Clone, Copy)]
enum Stage {
    Ready,
    /// One or two attempts are in flight.
    Calling,
    Waiting,
    Readying,
    Done,
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
    HedgedResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
    PartitionT: Keyed,
{
    #[inline]
    pub(super) fn new(
        service: S,
        shared: Arc<SharedConfig<ClassifierT, ReplayT, OnRetryT, PartitionT>>,
        pace: Arc<Pace>,
        request: Req,
    ) -> Self
    where
        PartitionT: Partition<Req>,
    {
        let deadline = shared.replay.deadline(&request, shared.policy.config.deadline);
        let is_attempt = shared.replay.claims_attempt(&request);
        let bucket = shared.bucket(&request);
        let call = Call::new(shared, deadline, bucket);
        let kept = call.shared.replay.keep(request, call.has_more(), deadline);
        Self {
            stage: Stage::Ready,
            first: Slot::EMPTY,
            hedge: Slot::EMPTY,
            hedging: Hedging::Over,
            kept: Some(kept),
            timer: Timer::default(),
            service: Some(service),
            call,
            pace,
            is_attempt,
        }
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT> Future
    for HedgedResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
where
    S: Service<ReplayT::Request> + Clone,
    S::Error: Into<BoxError>,
    ClassifierT: Classifier<S::Response>,
    ReplayT: Replay<Req> + Report<S::Response>,
    OnRetryT: OnRetry,
    PartitionT: Keyed,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let output = match *this.stage {
                Stage::Ready if this.call.is_past_deadline() => Err(this.call.too_late(this.kept.as_ref())),
                Stage::Ready => {
                    this.call.check_timer();
                    this.timer.as_mut().stop();
                    // Enter `Done` first: if a closure of the user or `call` panics, polling again must not resend the
                    // request.
                    *this.stage = Stage::Done;
                    let plan = this.call.begin_attempt();
                    let request = this.call.shared.replay.request(this.kept, plan);
                    let service = ready_service(this.service);
                    let future = cut::begin(|| service.call(request));
                    let id = AttemptId { attempt: this.call.attempt, is_hedge: false };
                    this.first.as_mut().begin(future, id, this.call.began(), this.call.attempt_ends());
                    *this.hedging = Hedging::Undecided;
                    *this.stage = Stage::Calling;
                    continue;
                }
                Stage::Calling => {
                    let ended = match this.first.as_mut().poll(cx) {
                        Poll::Ready(Ok(mut response)) => {
                            let verdict = this.call.judge(&response);
                            if this.call.is_success(&verdict) {
                                // The hot path.
                                this.race().first_won();
                                *this.stage = Stage::Done;
                                *this.kept = None;
                                *this.service = None;
                                this.call.succeed(&mut response, &verdict);
                                return Poll::Ready(Ok(response));
                            }
                            let outcome = AttemptOutcome { result: Ok(response), verdict, is_cut: false };
                            this.race().end(Which::First, outcome)
                        }
                        Poll::Ready(Err(error)) => this.race().failed(Which::First, error.into()),
                        Poll::Pending => None,
                    };
                    let outcome = match ended {
                        Some(outcome) => outcome,
                        None => ready!(this.race().poll(cx)),
                    };
                    // Enter `Done` first: if a callback panics, polling again must not hang.
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
                                            // Yields, as a call without hedges does.
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
                Stage::Done => panic!("HedgedResponseFuture was polled after its end"),
            };
            *this.stage = Stage::Done;
            this.call.close();
            *this.kept = None;
            *this.service = None;
            return Poll::Ready(output.map_err(|error| error as BoxError));
        }
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
    Projection<'_, S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
    PartitionT: Keyed,
{
    /// The attempts in flight, and what they need of the call.
    fn race(&mut self) -> Race<'_, S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT> {
        Race {
            first: self.first.as_mut(),
            hedge: self.hedge.as_mut(),
            hedging: self.hedging,
            timer: self.timer.as_mut(),
            kept: self.kept.as_ref(),
            service: ready_service(self.service),
            call: self.call,
            pace: self.pace,
        }
    }

    /// Reports to the outer retry layer that is cutting this call whether the request was sent. While one attempt is in
    /// flight, the layers inside report on it.
    fn report_to_outer_cut(self) {
        if !*self.is_attempt || self.call.was_maybe_processed() || !self.hedge.is_empty() {
            return cut::report(Sent::Maybe);
        }
        match self.stage {
            Stage::Ready | Stage::Waiting | Stage::Readying => cut::report(Sent::No),
            Stage::Calling | Stage::Done => {}
        }
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT> fmt::Debug
    for HedgedResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
    PartitionT: Keyed,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgedResponseFuture").field("attempt", &self.call.attempt).finish_non_exhaustive()
    }
}
