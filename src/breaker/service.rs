use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::breakers::{Breakers, ForCall};
use super::control::permit::{Ticket, rejected};
use super::core::node::node_ref::NodeRef;
use super::core::node::{Admission, Node};
use super::core::packed_state::PackedState;
use super::core::state_machine::{Attempt, Rejection};
use super::future::{Asking, ResponseFuture};
use super::partition::{Keyed, Partition, Unpartitioned};
use super::requests::{HttpRequests, Requests};
use crate::BoxError;
use crate::call::cut;
use crate::classify::{Classifier, HeadOnly, HttpClassifier, SettleAt};

/// The service that [`CircuitBreakerLayer`](super::CircuitBreakerLayer) makes.
///
/// It is always ready. It polls the inner service for readiness in the call itself, and only once the breaker has
/// admitted the call. If the inner service is not ready, the call waits with that instance, and a clone takes its
/// place. A probe that waits holds its slot, on a lease. So a call is rejected at once even while the inner service is
/// not ready, and a rejected call never holds a permit of the inner service.
pub struct CircuitBreakerService<
    S,
    Classifier = HttpClassifier,
    Partition: Keyed = Unpartitioned,
    SettleAt = HeadOnly,
    Requests = HttpRequests,
> {
    inner: S,
    classifier: Classifier,
    partition: Partition,
    breakers: Arc<Breakers<Partition::Key>>,
    scope: SettleAt,
    requests: Requests,
}

impl<S, Classifier, Partition: Keyed, SettleAt, Requests>
    CircuitBreakerService<S, Classifier, Partition, SettleAt, Requests>
{
    pub(crate) fn new(
        inner: S,
        classifier: Classifier,
        partition: Partition,
        breakers: Arc<Breakers<Partition::Key>>,
        (scope, requests): (SettleAt, Requests),
    ) -> Self {
        Self { inner, classifier, partition, breakers, scope, requests }
    }
}

impl<S, ClassifierT, PartitionT, SettleAtT, RequestsT, Req> Service<Req>
    for CircuitBreakerService<S, ClassifierT, PartitionT, SettleAtT, RequestsT>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    ClassifierT: Classifier<S::Response> + Clone,
    PartitionT: Partition<Req>,
    SettleAtT: SettleAt<S::Response, ClassifierT, Ticket> + Clone,
    RequestsT: Requests<Req>,
{
    type Response = SettleAtT::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, S::Future, ClassifierT, Req, SettleAtT>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let Self { breakers, partition, .. } = self;
        let node = match partition.find(&request, &ForCall { breakers, partition }) {
            None => breakers.default_lanes().node_ref(),
            Some(node) => NodeRef::Node(node),
        };
        let packed = match node.admit_if_closed() {
            Ok(admission) => return self.start(node, Attempt::First, admission, request),
            Err(packed) => packed,
        };
        match self.admit_by(packed, &node, &request) {
            (_, Some(Err(rejection))) => {
                let (classifier, scope) = (self.classifier.clone(), self.scope.clone());
                ResponseFuture::rejected(rejected(node, rejection), classifier, scope)
            }
            (attempt, Some(Ok(admission))) => self.start(node, attempt, admission, request),
            // A hedge is never a probe: it would add to the load of an upstream that recovers.
            (_, None) if cut::is_hedging() => {
                let (classifier, scope) = (self.classifier.clone(), self.scope.clone());
                ResponseFuture::rejected(rejected(node, Rejection::HEDGE), classifier, scope)
            }
            // A probe does not begin before its first poll.
            (attempt, None) => {
                let deadline = node.moment_of(self.requests.deadline(&request));
                let asking = Asking { node, attempt, deadline };
                let (classifier, scope) = (self.classifier.clone(), self.scope.clone());
                let is_attempt = self.requests.claims_attempt(&request);
                ResponseFuture::waiting(&mut self.inner, request, asking, None, is_attempt, classifier, scope)
            }
        }
    }
}

impl<S, ClassifierT: Clone, PartitionT: Keyed, SettleAt: Clone, RequestsT>
    CircuitBreakerService<S, ClassifierT, PartitionT, SettleAt, RequestsT>
{
    #[inline(always)]
    fn start<Req>(
        &mut self,
        node: NodeRef,
        attempt: Attempt,
        admission: Admission,
        request: Req,
    ) -> ResponseFuture<S, S::Future, ClassifierT, Req, SettleAt>
    where
        S: Service<Req> + Clone,
        S::Error: Into<BoxError>,
        ClassifierT: Classifier<S::Response>,
        RequestsT: Requests<Req>,
    {
        let deadline = node.moment_of(self.requests.deadline(&request));
        let asking = Asking { node, attempt, deadline };
        let (classifier, scope) = (self.classifier.clone(), self.scope.clone());
        let claims_attempt = |request: &Req| self.requests.claims_attempt(request);
        ResponseFuture::start(&mut self.inner, request, asking, admission, claims_attempt, classifier, scope)
    }
}

impl<S, Classifier, PartitionT: Keyed, SettleAt, RequestsT>
    CircuitBreakerService<S, Classifier, PartitionT, SettleAt, RequestsT>
{
    /// Asks a breaker that is not plainly closed. `None` if the call may be a probe.
    #[inline(never)]
    fn admit_by<Req>(
        &self,
        packed: PackedState,
        node: &Node,
        request: &Req,
    ) -> (Attempt, Option<Result<Admission, Rejection>>)
    where
        PartitionT: Partition<Req>,
        RequestsT: Requests<Req>,
    {
        let mut attempt = Attempt::First;
        let admission = node.admit_by(packed, || {
            // Asked only where it makes a difference: reading the extensions of every request costs.
            if self.requests.is_retry(request) || self.partition.is_retry(request) {
                attempt = Attempt::Retry;
            }
            attempt
        });
        (attempt, admission)
    }
}

impl<S: Clone, Classifier: Clone, Partition: Keyed + Clone, SettleAt: Clone, Requests: Clone> Clone
    for CircuitBreakerService<S, Classifier, Partition, SettleAt, Requests>
{
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            classifier: self.classifier.clone(),
            partition: self.partition.clone(),
            breakers: self.breakers.clone(),
            scope: self.scope.clone(),
            requests: self.requests.clone(),
        }
    }
}

impl<S: fmt::Debug, Classifier, Partition: Keyed, SettleAt, Requests> fmt::Debug
    for CircuitBreakerService<S, Classifier, Partition, SettleAt, Requests>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerService")
            .field("inner", &self.inner)
            .field("name", &self.breakers.name())
            .finish_non_exhaustive()
    }
}
