use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::circuit_open::CircuitOpen;
use super::engine::Attempt;
use super::future::ResponseFuture;
use super::partition::{Keyed, Partition, Unpartitioned};
use super::registry::Registry;
use crate::BoxError;
use crate::classify::Classifier;

/// The service that [`CircuitBreakerLayer`](super::CircuitBreakerLayer) makes.
///
/// It is always ready: whether the inner service is ready is asked only once the breaker would let the call through, and
/// in the call itself. If it is not, the call waits with the service that was asked, and a clone takes its place. So a
/// call is refused at once even while the inner service is not ready, and a refused call never sits on the inner
/// service's permits.
pub struct CircuitBreakerService<S, C, P: Keyed = Unpartitioned> {
    inner: S,
    classifier: C,
    partition: P,
    registry: Arc<Registry<P::Key>>,
}

impl<S, C, P: Keyed> CircuitBreakerService<S, C, P> {
    pub(super) fn new(inner: S, classifier: C, partition: P, registry: Arc<Registry<P::Key>>) -> Self {
        Self { inner, classifier, partition, registry }
    }
}

impl<S, C, P, Req> Service<Req> for CircuitBreakerService<S, C, P>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classifier<S::Response> + Clone,
    P: Partition<Req>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, S::Future, C, Req>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let cell = match self.partition.key(&request) {
            None => self.registry.default_cell().clone(),
            Some(key) => self.registry.find_or_insert(&self.partition, key),
        };
        let attempt = if self.partition.is_retry(&request) { Attempt::Retry } else { Attempt::First };
        match cell.refusal(attempt) {
            None => ResponseFuture::start(&mut self.inner, request, (cell, attempt), self.classifier.clone()),
            Some(refusal) => {
                ResponseFuture::refused(Box::new(CircuitOpen::new(cell, refusal)), self.classifier.clone())
            }
        }
    }
}

impl<S: Clone, C: Clone, P: Keyed + Clone> Clone for CircuitBreakerService<S, C, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            classifier: self.classifier.clone(),
            partition: self.partition.clone(),
            registry: self.registry.clone(),
        }
    }
}

impl<S: fmt::Debug, C, P: Keyed> fmt::Debug for CircuitBreakerService<S, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerService")
            .field("inner", &self.inner)
            .field("name", &self.registry.name())
            .finish_non_exhaustive()
    }
}
