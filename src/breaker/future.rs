use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::control::circuit_open::CircuitOpen;
use super::control::permit::{Ticket, panicked, rejected};
use super::core::node::node_ref::NodeRef;
use super::core::node::{Admission, Completion, Node};
use super::core::state_machine::{Attempt, Rejection};
use super::core::waiters::{News, Waiting};
use crate::BoxError;
use crate::call::cut::{self, Sent};
use crate::classify::body::Settle;
use crate::classify::{Classifier, HeadOnly, SettleAt, Verdict};
use crate::clock::Moment;
use crate::isolated::isolated;

pin_project! {
    /// The future of [`CircuitBreakerService`](super::CircuitBreakerService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, F, Classifier, Req, SettleAt = HeadOnly> {
        #[pin]
        stage: Stage<S, F, Req>,
        classifier: Classifier,
        scope: SettleAt,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, F, Req> {
        // Holds its admission, a probe its slot, until the inner service is ready.
        Waiting { service: S, request: Option<Req>, waiter: Waiter },
        Calling { #[pin] future: F, ticket: Ticket },
        // With the error of a call that never reached the inner service, until it is returned.
        Over { error: Option<BoxError> },
    }
}

/// The node that a call asks for admission, and as what attempt.
pub(crate) struct Asking {
    pub(crate) node: NodeRef,
    pub(crate) attempt: Attempt,
    /// The moment at which a time limit cuts the call.
    pub(crate) deadline: Moment,
}

/// A call that waits until the inner service is ready.
struct Waiter {
    /// `None` once the wait is over. Boxed, because it is rare and every byte of a future is moved with it.
    call: Option<Box<Unsent>>,
}

struct Unsent {
    asking: Asking,
    /// `None` before the first poll of a call that may be a probe.
    admission: Option<Admission>,
    /// Whether this call is all there is to the attempt of a retry layer outside.
    is_attempt: bool,
    /// Wake this call when its breaker, or the one around it, begins to reject calls. Registered only while the inner
    /// service is not ready.
    opening: Option<Waiting>,
    outer_opening: Option<Waiting>,
}

impl<S, ClassifierT, Req, SettleAtT> ResponseFuture<S, S::Future, ClassifierT, Req, SettleAtT>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    ClassifierT: Classifier<S::Response>,
{
    /// Calls the service at once if it is ready, as it mostly is. A service that is not ready goes along with the call,
    /// which waits for that, and a clone takes its place.
    // Inlined, and the paths of other calls are not, because otherwise the request moves once more.
    #[inline(always)]
    pub(crate) fn start(
        service: &mut S,
        request: Req,
        asking: Asking,
        admission: Admission,
        claims_attempt: impl FnOnce(&Req) -> bool,
        classifier: ClassifierT,
        scope: SettleAtT,
    ) -> Self
    where
        S: Clone,
    {
        // A waker that does nothing: the first poll polls the service again.
        let mut cx = Context::from_waker(Waker::noop());
        match poll_ready(service, &asking.node, &admission, &classifier, &mut cx) {
            Poll::Ready(Ok(())) => {
                let ticket = Ticket::new(asking.node, admission, asking.deadline);
                Self::calling(service, request, ticket, classifier, scope)
            }
            Poll::Ready(Err(error)) => Self::ended(service, error, classifier, scope),
            Poll::Pending => {
                let is_attempt = claims_attempt(&request);
                Self::waiting(service, request, asking, Some(admission), is_attempt, classifier, scope)
            }
        }
    }

    /// Builds the future in place: futures and requests are large, and every move of them shows.
    #[inline(always)]
    fn calling(service: &mut S, request: Req, mut ticket: Ticket, classifier: ClassifierT, scope: SettleAtT) -> Self {
        let guard = OnPanic::new(|| ticket.panicked());
        let future = service.call(request);
        guard.disarm();
        Self { stage: Stage::Calling { future, ticket }, classifier, scope }
    }

    #[cold]
    pub(crate) fn waiting(
        service: &mut S,
        request: Req,
        asking: Asking,
        admission: Option<Admission>,
        is_attempt: bool,
        classifier: ClassifierT,
        scope: SettleAtT,
    ) -> Self
    where
        S: Clone,
    {
        let clone = service.clone();
        let service = mem::replace(service, clone);
        let call = Unsent { asking, admission, is_attempt, opening: None, outer_opening: None };
        let waiter = Waiter { call: Some(Box::new(call)) };
        Self { stage: Stage::Waiting { service, request: Some(request), waiter }, classifier, scope }
    }

    /// Drops a readiness that is not used, and a service that has failed.
    #[cold]
    fn ended(service: &mut S, error: BoxError, classifier: ClassifierT, scope: SettleAtT) -> Self
    where
        S: Clone,
    {
        *service = service.clone();
        Self { stage: Stage::Over { error: Some(error) }, classifier, scope }
    }
}

impl<S, F, Classifier, Req, SettleAt> ResponseFuture<S, F, Classifier, Req, SettleAt> {
    pub(crate) fn rejected(open: Box<CircuitOpen>, classifier: Classifier, scope: SettleAt) -> Self {
        Self { stage: Stage::Over { error: Some(open) }, classifier, scope }
    }
}

impl<S, ClassifierT, Req, SettleAtT> Future for ResponseFuture<S, S::Future, ClassifierT, Req, SettleAtT>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    ClassifierT: Classifier<S::Response>,
    SettleAtT: SettleAt<S::Response, ClassifierT, Ticket>,
{
    type Output = Result<SettleAtT::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Waiting { service, request, waiter } => {
                    let called = ready!(call_when_ready(service, request, waiter, this.classifier, cx));
                    match called {
                        Ok((future, ticket)) => this.stage.set(Stage::Calling { future, ticket }),
                        Err(error) => {
                            // Drops the inner service, and a readiness that is not used.
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
                    None => polled_again(),
                },
            }
        }
    }
}

/// Calls the inner service once it is ready and the breaker still admits the call.
#[cold]
fn call_when_ready<S, ClassifierT, Req>(
    service: &mut S,
    request: &mut Option<Req>,
    waiter: &mut Waiter,
    classifier: &ClassifierT,
    cx: &mut Context<'_>,
) -> Poll<Result<(S::Future, Ticket), BoxError>>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    ClassifierT: Classifier<S::Response>,
{
    // Taken until the service returns pending: a call that ends or panics no longer waits.
    let Some(mut call) = waiter.call.take() else { polled_again() };
    // The breaker may have opened while this waited.
    let admission = match call.admit() {
        Ok(admission) => admission,
        Err(rejection) => return Poll::Ready(Err(rejected(call.asking.node, rejection))),
    };
    let Asking { node, .. } = &call.asking;
    let is_ready = poll_ready(service, node, &admission, classifier, cx)?.is_ready();
    call.admission = Some(admission);
    if !is_ready {
        // Held by the waiter meanwhile: to clone a waker is foreign code, which may panic.
        waiter.call.insert(call).wait_for_openings(cx);
        let Some(registered) = waiter.call.take() else { polled_again() };
        call = registered;
    }
    // Or as the service became ready, or before the call was registered.
    let admission = match call.admit() {
        Ok(admission) => admission,
        Err(rejection) => return Poll::Ready(Err(rejected(call.asking.node, rejection))),
    };
    if !is_ready {
        call.admission = Some(admission);
        waiter.call = Some(call);
        return Poll::Pending;
    }
    // What had to wait is not sent once its time is over: yields to the retry layer outside, which then cuts the call.
    // Goes on if there is none.
    if call.opening.take().is_some() && call.asking.node.is_cut(call.asking.deadline) {
        call.admission = Some(admission);
        waiter.call = Some(call);
        isolated(|| cx.waker().wake_by_ref());
        return Poll::Pending;
    }
    let Asking { node, deadline, .. } = call.asking;
    let Some(request) = request.take() else { polled_again() };
    let mut ticket = Ticket::new(node, admission, deadline);
    let guard = OnPanic::new(|| ticket.panicked());
    let future = service.call(request);
    guard.disarm();
    Poll::Ready(Ok((future, ticket)))
}

impl Unsent {
    /// Asks for admission, or keeps the one it has if the state that issued it lasts.
    fn admit(&mut self) -> Result<Admission, Rejection> {
        let Asking { node, attempt, .. } = &self.asking;
        match self.admission.take() {
            Some(admission) => node.readmit(admission, *attempt),
            None => node.admit(*attempt),
        }
    }

    fn wait_for_openings(&mut self, cx: &Context<'_>) {
        let node = &self.asking.node;
        self.opening.get_or_insert_with(|| node.wait_for(News::Rejection)).register(cx);
        if let Some(outer) = node.outer() {
            self.outer_opening.get_or_insert_with(|| outer.wait_for(News::Rejection)).register(cx);
        }
    }
}

/// A call that a time limit cuts while the inner service is not ready has failed: it hung in there.
impl Drop for Waiter {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        let Unsent { asking: Asking { node, deadline, .. }, admission, is_attempt, .. } = *call;
        cut::report(if is_attempt { Sent::No } else { Sent::Maybe });
        let Some(admission) = admission else { return };
        if node.is_cut(deadline) {
            node.settle_admission(admission, node.begins(), Completion::TimedOut);
        } else {
            node.release(admission);
        }
    }
}

#[cold]
fn polled_again() -> ! {
    panic!("ResponseFuture polled after it was ready")
}

/// A service that fails before it takes the call has failed all the same.
#[inline]
fn poll_ready<S, ClassifierT, Req>(
    service: &mut S,
    node: &Arc<Node>,
    admission: &Admission,
    classifier: &ClassifierT,
    cx: &mut Context<'_>,
) -> Poll<Result<(), BoxError>>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    ClassifierT: Classifier<S::Response>,
{
    let unready = |verdict: &Verdict| node.settle_admission(admission.clone(), node.begins(), verdict.into());
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

impl<S, F, Classifier, Req, SettleAt> fmt::Debug for ResponseFuture<S, F, Classifier, Req, SettleAt> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Waiting { .. } => "Waiting",
            Stage::Calling { .. } => "Calling",
            Stage::Over { .. } => "Over",
        };
        f.debug_struct("ResponseFuture").field("stage", &stage).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(rampart_loom)))]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::time::Duration;

    use http::{Request, Response};
    use tower::{Layer, service_fn};

    use crate::CircuitBreakerLayer;
    use crate::breaker::{Abandoned, State, Window};
    use crate::call::cut::{Sent, cut};

    use super::*;

    /// Never ready, or never answers.
    #[derive(Clone)]
    struct Hangs {
        in_readiness: bool,
    }

    impl Service<Request<()>> for Hangs {
        type Response = Response<()>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Response<()>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            if self.in_readiness { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            pending()
        }
    }

    fn attempt() -> Request<()> {
        let mut request = Request::new(());
        cut::mark_attempt(request.extensions_mut());
        request
    }

    /// A call that is polled so often and then cut; what became of its request.
    fn cut_after(polls: u32, layer: &CircuitBreakerLayer, in_readiness: bool) -> Sent {
        let mut call = Box::pin(cut::begin(|| layer.layer(Hangs { in_readiness }).call(attempt())));
        for _ in 0..polls {
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        cut(|| drop(call))
    }

    fn counts(layer: &CircuitBreakerLayer) -> (u64, u64) {
        let snapshot = layer.breaker().snapshot();
        (snapshot.calls, snapshot.failures)
    }

    #[tokio::test(start_paused = true)]
    async fn rule_3_a_default_breaker_opens_on_calls_that_are_cut() {
        for (in_readiness, sent) in [(false, Sent::Maybe), (true, Sent::No)] {
            let layer = CircuitBreakerLayer::new_for_http();
            for call in 0..10 {
                assert_eq!((layer.breaker().state(), counts(&layer)), (State::Closed, (call, call)));
                tokio::time::advance(Duration::from_millis(250)).await;
                assert_eq!(cut_after(2, &layer, in_readiness), sent);
            }
            assert_eq!(layer.breaker().state(), State::Open, "in readiness: {in_readiness}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rule_3_a_probe_that_is_cut_fails_at_once() {
        for in_readiness in [false, true] {
            let layer = CircuitBreakerLayer::new_for_http().window(Window::count(1));
            cut_after(1, &layer, in_readiness);
            tokio::time::advance(Duration::from_secs(30)).await;
            assert_eq!(counts(&layer), (1, 1));
            cut_after(1, &layer, in_readiness);
            let snapshot = layer.breaker().snapshot();
            assert_eq!((snapshot.state, snapshot.generation, snapshot.totals.rejected), (State::Open, 3, 0));
        }
    }

    #[test]
    fn rule_3_the_word_of_the_user_counts_more_than_a_cut() {
        let layer = CircuitBreakerLayer::new_for_http();
        let neutral = layer.clone().abandoned(Abandoned::Neutral);
        let late = layer.abandoned(Abandoned::FailureAfter(Duration::from_secs(3_600)));
        for (layer, failures) in [(neutral, 0), (late, 1)] {
            assert_eq!(cut_after(1, &layer, false), Sent::Maybe);
            assert_eq!(counts(&layer), (failures, failures));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rule_3_a_call_that_has_not_waited_is_unsent_and_teaches_nothing() {
        let layer = CircuitBreakerLayer::new_for_http().window(Window::count(1));
        cut_after(1, &layer, false);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(cut_after(0, &layer, true), Sent::No);
        assert_eq!(layer.breaker().snapshot().generation, 1, "no probe has begun");
    }

    #[test]
    fn rule_3_a_call_in_flight_outweighs_one_that_waits() {
        let layer = CircuitBreakerLayer::new_for_http();
        let call = |in_readiness| cut::begin(|| layer.layer(Hangs { in_readiness }).call(attempt()));
        assert_eq!(cut(|| drop((call(false), call(true)))), Sent::Maybe);
        assert_eq!(cut(|| drop((call(true), call(false)))), Sent::Maybe);
        assert_eq!(cut(|| drop((call(true), call(true)))), Sent::No);
    }

    #[test]
    fn rule_3_a_permit_that_is_dropped_by_a_cut_is_a_failure() {
        let breaker = CircuitBreakerLayer::new_for_http().breaker();
        let permit = breaker.try_acquire();
        assert_eq!(cut(|| drop(permit)), Sent::Maybe);
        assert_eq!((breaker.snapshot().calls, breaker.snapshot().failures), (1, 1));
    }

    #[test]
    fn rule_3_a_call_that_had_ended_is_not_cut() {
        let layer = CircuitBreakerLayer::new_for_http();
        let ok = service_fn(|_: Request<()>| std::future::ready(Ok::<_, Infallible>(Response::new(()))));
        let mut call = Box::pin(layer.layer(ok).call(Request::new(())));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        cut(|| drop(call));
        assert_eq!(counts(&layer), (1, 0));
    }
}
