use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::circuit_open::CircuitOpen;
use super::engine::Attempt;
use super::future::ResponseFuture;
use super::partition::{Keyed, Partition, Unpartitioned};
use super::permit::Ticket;
use super::registry::{ForCall, Registry};
use crate::BoxError;
use crate::classify::{Classifier, HeadOnly, Scope};

/// The service that [`CircuitBreakerLayer`](super::CircuitBreakerLayer) makes.
///
/// It is always ready: whether the inner service is ready is asked only once the breaker would let the call through, and
/// in the call itself. If it is not, the call waits with the service that was asked, and a clone takes its place. So a
/// call is refused at once even while the inner service is not ready, and a refused call never sits on the inner
/// service's permits.
pub struct CircuitBreakerService<S, C, P: Keyed = Unpartitioned, J = HeadOnly> {
    inner: S,
    classifier: C,
    partition: P,
    registry: Arc<Registry<P::Key>>,
    scope: J,
}

impl<S, C, P: Keyed, J> CircuitBreakerService<S, C, P, J> {
    pub(super) fn new(inner: S, classifier: C, partition: P, registry: Arc<Registry<P::Key>>, scope: J) -> Self {
        Self { inner, classifier, partition, registry, scope }
    }
}

impl<S, C, P, J, Req> Service<Req> for CircuitBreakerService<S, C, P, J>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classifier<S::Response> + Clone,
    P: Partition<Req>,
    J: Scope<S::Response, C, Ticket> + Clone,
{
    type Response = J::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, S::Future, C, Req, J>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let Self { registry, partition, .. } = self;
        let cell = match partition.find(&request, ForCall { registry, partition }) {
            None => registry.default_cell().clone(),
            Some(cell) => cell,
        };
        let attempt = if self.partition.is_retry(&request) { Attempt::Retry } else { Attempt::First };
        let (classifier, scope) = (self.classifier.clone(), self.scope.clone());
        match cell.refusal(attempt) {
            None => ResponseFuture::start(&mut self.inner, request, (cell, attempt), classifier, scope),
            Some(refusal) => ResponseFuture::refused(Box::new(CircuitOpen::new(cell, refusal)), classifier, scope),
        }
    }
}

impl<S: Clone, C: Clone, P: Keyed + Clone, J: Clone> Clone for CircuitBreakerService<S, C, P, J> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            classifier: self.classifier.clone(),
            partition: self.partition.clone(),
            registry: self.registry.clone(),
            scope: self.scope.clone(),
        }
    }
}

impl<S: fmt::Debug, C, P: Keyed, J> fmt::Debug for CircuitBreakerService<S, C, P, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerService")
            .field("inner", &self.inner)
            .field("name", &self.registry.name())
            .finish_non_exhaustive()
    }
}
