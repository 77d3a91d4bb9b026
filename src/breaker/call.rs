use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::control::permit::rejected;
use super::core::node::Node;
use super::core::node::node_ref::NodeRef;
use super::core::state_machine::Attempt;
use super::future::{Asking, ResponseFuture};
use crate::BoxError;
use crate::classify::{Classifier, ErrorClassifier, HeadOnly};
use crate::clock::Moment;

pin_project! {
    /// The future of [`CircuitBreaker::call_async`](super::CircuitBreaker::call_async).
    ///
    /// Asks the breaker at its first poll. Owns a reference to it, so that it can be spawned.
    #[must_use = "futures do nothing unless polled"]
    pub struct CallFuture<Operation, F, Classifier = ErrorClassifier> {
        #[pin]
        stage: Stage<Operation, F, Classifier>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<Operation, F, Classifier> {
        // `None` if the operation panicked before it returned a future.
        Unpolled { call: Option<(Arc<Node>, Operation, Classifier)> },
        // The same future as that of a service, so that every end counts alike.
        Polled { #[pin] future: ResponseFuture<Calls, F, Classifier, Operation> },
    }
}

/// The inner service of a call: always ready, and its request is the operation.
#[derive(Clone)]
struct Calls;

impl<Operation, F, T, E> Service<Operation> for Calls
where
    Operation: FnOnce() -> F,
    F: Future<Output = Result<T, E>>,
{
    type Response = T;
    type Error = E;
    type Future = F;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, operation: Operation) -> F {
        operation()
    }
}

impl<Operation, F, Classifier> CallFuture<Operation, F, Classifier> {
    pub(crate) fn new(node: Arc<Node>, operation: Operation, classifier: Classifier) -> Self {
        Self { stage: Stage::Unpolled { call: Some((node, operation, classifier)) } }
    }
}

impl<Operation, F, T, E, ClassifierT> Future for CallFuture<Operation, F, ClassifierT>
where
    Operation: FnOnce() -> F,
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
    ClassifierT: Classifier<T>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        if let StageProj::Unpolled { call } = stage.as_mut().project() {
            let Some((node, operation, classifier)) = call.take() else {
                panic!("CallFuture polled after it panicked")
            };
            let admission = node.admit(Attempt::First);
            let node = NodeRef::Node(node);
            let future = match admission {
                Ok(admission) => {
                    let asking = Asking { node, attempt: Attempt::First, deadline: Moment::NEVER };
                    ResponseFuture::start(&mut Calls, operation, asking, admission, |_| false, classifier, HeadOnly)
                }
                Err(rejection) => ResponseFuture::rejected(rejected(node, rejection), classifier, HeadOnly),
            };
            stage.set(Stage::Polled { future });
        }
        match stage.project() {
            StageProj::Polled { future } => future.poll(cx),
            StageProj::Unpolled { .. } => unreachable!("has just been polled"),
        }
    }
}

impl<Operation, F, Classifier> fmt::Debug for CallFuture<Operation, F, Classifier> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("CallFuture");
        match &self.stage {
            Stage::Unpolled { .. } => debug.field("stage", &"Unpolled"),
            Stage::Polled { future } => debug.field("stage", future),
        };
        debug.finish_non_exhaustive()
    }
}
