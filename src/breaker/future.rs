use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::cell::Cell;
use super::circuit_open::CircuitOpen;
use super::engine::Attempt;
use super::permit::{Ticket, panicked};
use crate::BoxError;
use crate::classify::{Classifier, Verdict};

pin_project! {
    /// The future of [`CircuitBreakerService`](super::CircuitBreakerService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, F, C, Req> {
        #[pin]
        stage: Stage<S, F, Req>,
        classifier: C,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, F, Req> {
        // Holds no permit: nothing is asked of the upstream until the inner service is ready.
        Waiting { service: S, request: Option<Req>, cell: Arc<Cell>, attempt: Attempt },
        Calling { #[pin] future: F, ticket: Ticket },
        // With the refusal, until it has been told.
        Over { refusal: Option<Box<CircuitOpen>> },
    }
}

/// Whom a call asks, and as what.
pub(super) type Asking = (Arc<Cell>, Attempt);

impl<S, F, C, Req> ResponseFuture<S, F, C, Req> {
    pub(super) fn refused(open: Box<CircuitOpen>, classifier: C) -> Self {
        Self { stage: Stage::Over { refusal: Some(open) }, classifier }
    }

    pub(super) fn waiting(service: S, request: Req, (cell, attempt): Asking, classifier: C) -> Self {
        Self { stage: Stage::Waiting { service, request: Some(request), cell, attempt }, classifier }
    }
}

impl<S, C, Req> Future for ResponseFuture<S, S::Future, C, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classifier<S::Response>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Waiting { service, request, cell, attempt } => {
                    let called = ready!(call_when_ready(service, request, (cell, *attempt), this.classifier, cx));
                    match called {
                        Ok((future, ticket)) => this.stage.set(Stage::Calling { future, ticket }),
                        Err(error) => {
                            // Lets go of the clone of the inner service, and of a readiness that is not used.
                            this.stage.set(Stage::Over { refusal: None });
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                StageProj::Calling { future, ticket } => {
                    let guard = OnPanic::new(|| ticket.settle(panicked()));
                    let judged = future.poll(cx).map(|result| {
                        let result = result.map_err(Into::into);
                        let verdict = this.classifier.classify(result.as_ref().map_err(|error| &**error as _));
                        (result, verdict)
                    });
                    guard.disarm();
                    let (result, verdict) = ready!(judged);
                    ticket.settle(verdict);
                    this.stage.set(Stage::Over { refusal: None });
                    return Poll::Ready(result);
                }
                StageProj::Over { refusal } => match refusal.take() {
                    Some(open) => return Poll::Ready(Err(open)),
                    None => panic!("ResponseFuture polled after it was ready"),
                },
            }
        }
    }
}

/// Calls the inner service once it is ready and the breaker still lets the call through.
fn call_when_ready<S, C, Req>(
    service: &mut S,
    request: &mut Option<Req>,
    (cell, attempt): (&Arc<Cell>, Attempt),
    classifier: &C,
    cx: &mut Context<'_>,
) -> Poll<Result<(S::Future, Ticket), BoxError>>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classifier<S::Response>,
{
    // It may have opened while this waited.
    if let Some(refusal) = cell.refusal(attempt) {
        return Poll::Ready(Err(Box::new(CircuitOpen::new(cell.clone(), refusal))));
    }
    let guard = OnPanic::new(|| unready(cell, attempt, panicked()));
    let judged = service.poll_ready(cx).map_err(|error| {
        let error = error.into();
        let verdict = classifier.classify(Err(&*error));
        (error, verdict)
    });
    guard.disarm();
    if let Err((error, verdict)) = ready!(judged) {
        unready(cell, attempt, verdict);
        return Poll::Ready(Err(error));
    }
    let mut ticket = match Ticket::take(cell.clone(), attempt) {
        Ok(ticket) => ticket,
        Err(open) => return Poll::Ready(Err(open)),
    };
    let Some(request) = request.take() else { unreachable!("the request is taken once, when the stage ends") };
    let guard = OnPanic::new(|| ticket.settle(panicked()));
    let future = service.call(request);
    guard.disarm();
    Poll::Ready(Ok((future, ticket)))
}

/// A service that fails before it takes the call has failed all the same.
fn unready(cell: &Arc<Cell>, attempt: Attempt, verdict: Verdict) {
    if let Ok(mut ticket) = Ticket::take(cell.clone(), attempt) {
        ticket.settle(verdict);
    }
}

/// Runs if it is dropped by a panic. `std::thread::panicking` would not tell whose panic it is, nor see one that was
/// caught before the future is dropped.
struct OnPanic<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnPanic<F> {
    fn new(run: F) -> Self {
        Self(Some(run))
    }

    fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

impl<S, F, C, Req> fmt::Debug for ResponseFuture<S, F, C, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Waiting { .. } => "Waiting",
            Stage::Calling { .. } => "Calling",
            Stage::Over { .. } => "Over",
        };
        f.debug_struct("ResponseFuture").field("stage", &stage).finish_non_exhaustive()
    }
}
