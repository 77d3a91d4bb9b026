use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::cell::Cell;
use super::circuit_open::CircuitOpen;
use super::engine::Attempt;
use super::permit::{Ticket, panicked};
use crate::BoxError;
use crate::classify::body::Settle;
use crate::classify::{Classifier, HeadOnly, Scope, Verdict};

pin_project! {
    /// The future of [`CircuitBreakerService`](super::CircuitBreakerService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, F, C, Req, J = HeadOnly> {
        #[pin]
        stage: Stage<S, F, Req>,
        classifier: C,
        scope: J,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, F, Req> {
        // Holds no permit: nothing is asked of the upstream until the inner service is ready.
        Waiting { service: S, request: Option<Req>, asking: Option<Asking> },
        Calling { #[pin] future: F, ticket: Ticket },
        // With the error of a call that never reached the inner service, until it has been told.
        Over { error: Option<BoxError> },
    }
}

/// Whom a call asks, and as what.
pub(super) type Asking = (Arc<Cell>, Attempt);

impl<S, C, Req, J> ResponseFuture<S, S::Future, C, Req, J>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classifier<S::Response>,
{
    /// Calls the service at once if the breaker is closed and the service ready, as they mostly are. A service that is not
    /// ready goes along with the call, which waits for that, and a clone takes its place.
    #[inline]
    pub(super) fn start(service: &mut S, request: Req, asking: Asking, classifier: C, scope: J) -> Self
    where
        S: Clone,
    {
        let (cell, attempt) = &asking;
        if !cell.is_closed() {
            // A probe does not begin before somebody polls it.
            return Self::waiting(service, request, asking, classifier, scope);
        }
        // Wakes nobody: the first poll asks again.
        let mut cx = Context::from_waker(Waker::noop());
        match poll_ready(service, (cell, *attempt), &classifier, &mut cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Self::ended(service, error, classifier, scope),
            Poll::Pending => return Self::waiting(service, request, asking, classifier, scope),
        }
        let (cell, attempt) = asking;
        match Ticket::counted(cell) {
            Ok(ticket) => Self::calling(service, request, ticket, classifier, scope),
            Err(cell) => Self::start_with_kin(service, request, (cell, attempt), classifier, scope),
        }
    }

    /// The same for a breaker that has kin, or that has opened meanwhile.
    #[inline(never)]
    fn start_with_kin(service: &mut S, request: Req, (cell, attempt): Asking, classifier: C, scope: J) -> Self
    where
        S: Clone,
    {
        match Ticket::take(cell, attempt) {
            Ok(ticket) => Self::calling(service, request, ticket, classifier, scope),
            Err(open) => Self::ended(service, open, classifier, scope),
        }
    }

    /// Builds the future in place: futures and requests are large, and every move of them shows.
    #[inline(always)]
    fn calling(service: &mut S, request: Req, mut ticket: Ticket, classifier: C, scope: J) -> Self {
        let guard = OnPanic::new(|| ticket.panicked());
        let future = service.call(request);
        guard.disarm();
        Self { stage: Stage::Calling { future, ticket }, classifier, scope }
    }

    #[cold]
    fn waiting(service: &mut S, request: Req, asking: Asking, classifier: C, scope: J) -> Self
    where
        S: Clone,
    {
        let clone = service.clone();
        let service = mem::replace(service, clone);
        Self { stage: Stage::Waiting { service, request: Some(request), asking: Some(asking) }, classifier, scope }
    }

    /// Lets go of a readiness that is not used, and of a service that has failed.
    #[cold]
    fn ended(service: &mut S, error: BoxError, classifier: C, scope: J) -> Self
    where
        S: Clone,
    {
        *service = service.clone();
        Self { stage: Stage::Over { error: Some(error) }, classifier, scope }
    }
}

impl<S, F, C, Req, J> ResponseFuture<S, F, C, Req, J> {
    pub(super) fn refused(open: Box<CircuitOpen>, classifier: C, scope: J) -> Self {
        Self { stage: Stage::Over { error: Some(open) }, classifier, scope }
    }
}

impl<S, C, Req, J> Future for ResponseFuture<S, S::Future, C, Req, J>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classifier<S::Response>,
    J: Scope<S::Response, C, Ticket>,
{
    type Output = Result<J::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Waiting { service, request, asking } => {
                    let called = ready!(call_when_ready(service, request, asking, this.classifier, cx));
                    match called {
                        Ok((future, ticket)) => this.stage.set(Stage::Calling { future, ticket }),
                        Err(error) => {
                            // Lets go of the inner service, and of a readiness that is not used.
                            this.stage.set(Stage::Over { error: None });
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                StageProj::Calling { future, ticket } => {
                    let guard = OnPanic::new(|| ticket.panicked());
                    // Each way out is its own: a response is large, and every move of it shows.
                    match future.poll(cx) {
                        Poll::Pending => {
                            guard.disarm();
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(response)) => {
                            let verdict = this.classifier.classify(Ok(&response));
                            guard.disarm();
                            let ticket = ticket.hand_over();
                            this.stage.set(Stage::Over { error: None });
                            let pending = this.scope.judged(verdict, ticket);
                            return Poll::Ready(Ok(this.scope.respond(response, this.classifier, pending)));
                        }
                        Poll::Ready(Err(error)) => {
                            let error = error.into();
                            let verdict = this.classifier.classify(Err(&*error));
                            guard.disarm();
                            ticket.hand_over().settle(&verdict);
                            this.stage.set(Stage::Over { error: None });
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                StageProj::Over { error } => match error.take() {
                    Some(error) => return Poll::Ready(Err(error)),
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
    asking: &mut Option<Asking>,
    classifier: &C,
    cx: &mut Context<'_>,
) -> Poll<Result<(S::Future, Ticket), BoxError>>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classifier<S::Response>,
{
    let Some((cell, attempt)) = asking else { unreachable!("the cell goes along with the call, when the stage ends") };
    // It may have opened while this waited.
    if let Some(refusal) = cell.refusal(*attempt) {
        return Poll::Ready(Err(Box::new(CircuitOpen::new(cell.clone(), refusal))));
    }
    ready!(poll_ready(service, (cell, *attempt), classifier, cx))?;
    let (Some((cell, attempt)), Some(request)) = (asking.take(), request.take()) else {
        unreachable!("both are taken once, when the stage ends")
    };
    let mut ticket = Ticket::take(cell, attempt)?;
    let guard = OnPanic::new(|| ticket.panicked());
    let future = service.call(request);
    guard.disarm();
    Poll::Ready(Ok((future, ticket)))
}

/// A service that fails before it takes the call has failed all the same.
#[inline]
fn poll_ready<S, C, Req>(
    service: &mut S,
    (cell, attempt): (&Arc<Cell>, Attempt),
    classifier: &C,
    cx: &mut Context<'_>,
) -> Poll<Result<(), BoxError>>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classifier<S::Response>,
{
    let unready = |verdict: &Verdict| {
        if let Ok(ticket) = Ticket::take(cell.clone(), attempt) {
            ticket.settle(verdict);
        }
    };
    let guard = OnPanic::new(|| unready(&panicked()));
    let judged = service.poll_ready(cx).map_err(|error| {
        let error = error.into();
        let verdict = classifier.classify(Err(&*error));
        (error, verdict)
    });
    guard.disarm();
    judged.map_err(|(error, verdict)| {
        unready(&verdict);
        error
    })
}

/// Runs if it is dropped by a panic. `std::thread::panicking` would not tell whose panic it is, nor see one that was
/// caught before the future is dropped.
struct OnPanic<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnPanic<F> {
    #[inline(always)]
    fn new(run: F) -> Self {
        Self(Some(run))
    }

    #[inline(always)]
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnPanic<F> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

impl<S, F, C, Req, J> fmt::Debug for ResponseFuture<S, F, C, Req, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Waiting { .. } => "Waiting",
            Stage::Calling { .. } => "Calling",
            Stage::Over { .. } => "Over",
        };
        f.debug_struct("ResponseFuture").field("stage", &stage).finish_non_exhaustive()
    }
}
