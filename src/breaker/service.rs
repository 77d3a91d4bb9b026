use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::control::permit::{Ticket, rejected};
use super::core::node::node_ref::NodeRef;
use super::core::packed_state::PackedState;
use super::core::state_machine::Attempt;
use super::future::{Asking, ResponseFuture};
use super::partition::{Keyed, Partition, Unpartitioned};
use super::registry::{ForCall, Registry};
use super::requests::{HttpRequests, Requests};
use crate::BoxError;
use crate::classify::{Classifier, HeadOnly, HttpClassifier, SettleAt};

/// The service that [`CircuitBreakerLayer`](super::CircuitBreakerLayer) makes.
///
/// It is always ready. It polls the inner service for readiness in the call itself, and only once the breaker has admitted
/// the call. If the inner service is not ready, the call waits with that instance, and a clone takes its place. A probe that
/// waits holds its slot, on a lease. So a call is rejected at once even while the inner service is not ready, and a rejected
/// call never holds a permit of the inner service.
pub struct CircuitBreakerService<S, C = HttpClassifier, P: Keyed = Unpartitioned, J = HeadOnly, R = HttpRequests> {
    inner: S,
    classifier: C,
    partition: P,
    registry: Arc<Registry<P::Key>>,
    scope: J,
    requests: R,
}

impl<S, C, P: Keyed, J, R> CircuitBreakerService<S, C, P, J, R> {
    pub(crate) fn new(
        inner: S,
        classifier: C,
        partition: P,
        registry: Arc<Registry<P::Key>>,
        (scope, requests): (J, R),
    ) -> Self {
        Self { inner, classifier, partition, registry, scope, requests }
    }
}

impl<S, C, P, J, R, Req> Service<Req> for CircuitBreakerService<S, C, P, J, R>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classifier<S::Response> + Clone,
    P: Partition<Req>,
    J: SettleAt<S::Response, C, Ticket> + Clone,
    R: Requests<Req>,
{
    type Response = J::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, S::Future, C, Req, J>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let Self { registry, partition, .. } = self;
        let node = match partition.find(&request, &ForCall { registry, partition }) {
            None => registry.default_lanes().node_ref(),
            Some(node) => NodeRef::Node(node),
        };
        match node.admit_if_closed() {
            Ok(admission) => {
                let deadline = node.moment_of(self.requests.deadline(&request));
                let asking = Asking { node, attempt: Attempt::First, deadline };
                let (classifier, scope) = (self.classifier.clone(), self.scope.clone());
                ResponseFuture::start(&mut self.inner, request, asking, admission, classifier, scope)
            }
            Err(packed) => self.call_by(packed, node, request),
        }
    }
}

impl<S, C, P, J, R> CircuitBreakerService<S, C, P, J, R>
where
    C: Clone,
    P: Keyed,
    J: Clone,
{
    /// The call of a breaker that is not plainly closed.
    #[inline(never)]
    fn call_by<Req>(
        &mut self,
        packed: PackedState,
        node: NodeRef,
        request: Req,
    ) -> ResponseFuture<S, S::Future, C, Req, J>
    where
        S: Service<Req> + Clone,
        S::Error: Into<BoxError>,
        C: Classifier<S::Response>,
        P: Partition<Req>,
        R: Requests<Req>,
    {
        let (classifier, scope) = (self.classifier.clone(), self.scope.clone());
        let mut attempt = Attempt::First;
        let admission = node.admit_by(packed, || {
            // Asked only where it makes a difference: reading the extensions of every request costs.
            if self.requests.is_retry(&request) || self.partition.is_retry(&request) {
                attempt = Attempt::Retry;
            }
            attempt
        });
        if let Some(Err(rejection)) = admission {
            return ResponseFuture::rejected(rejected(node, rejection), classifier, scope);
        }
        let deadline = node.moment_of(self.requests.deadline(&request));
        let asking = Asking { node, attempt, deadline };
        match admission {
            Some(Ok(admission)) => {
                ResponseFuture::start(&mut self.inner, request, asking, admission, classifier, scope)
            }
            // A probe does not begin before its first poll.
            _ => ResponseFuture::waiting(&mut self.inner, request, asking, None, classifier, scope),
        }
    }
}

impl<S: Clone, C: Clone, P: Keyed + Clone, J: Clone, R: Clone> Clone for CircuitBreakerService<S, C, P, J, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            classifier: self.classifier.clone(),
            partition: self.partition.clone(),
            registry: self.registry.clone(),
            scope: self.scope.clone(),
            requests: self.requests.clone(),
        }
    }
}

impl<S: fmt::Debug, C, P: Keyed, J, R> fmt::Debug for CircuitBreakerService<S, C, P, J, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerService")
            .field("inner", &self.inner)
            .field("name", &self.registry.name())
            .finish_non_exhaustive()
    }
}
