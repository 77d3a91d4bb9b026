use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::config::SharedConfig;
use super::future::ResponseFuture;
use super::observe::{OnRetry, Report};
use super::replay::{Replay, ReplayBodies};
use crate::BoxError;
use crate::classify::{Classifier, HttpClassifier};
use crate::registry::partition::{Keyed, Partition, Unpartitioned};

/// The service created by [`RetryLayer`](crate::RetryLayer).
pub struct Retry<S, Classifier = HttpClassifier, Replay = ReplayBodies, OnRetry = (), Partition: Keyed = Unpartitioned>
{
    pub(super) inner: S,
    pub(super) shared: Arc<SharedConfig<Classifier, Replay, OnRetry, Partition>>,
}

impl<S, Classifier, Replay, OnRetry, Partition: Keyed> Retry<S, Classifier, Replay, OnRetry, Partition> {
    pub(super) fn new(inner: S, shared: Arc<SharedConfig<Classifier, Replay, OnRetry, Partition>>) -> Self {
        Self { inner, shared }
    }

    /// Moves the instance that was polled ready out: a clone of it need not be ready.
    pub(super) fn take_ready(&mut self) -> S
    where
        S: Clone,
    {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT> Service<Req>
    for Retry<S, ClassifierT, ReplayT, OnRetryT, PartitionT>
where
    S: Service<ReplayT::Request> + Clone,
    S::Error: Into<BoxError>,
    ClassifierT: Classifier<S::Response>,
    ReplayT: Replay<Req> + Report<S::Response>,
    OnRetryT: OnRetry,
    PartitionT: Partition<Req>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    /// Returns the future of a call, which sends nothing before its first poll.
    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture::new(self.take_ready(), Arc::clone(&self.shared), request)
    }
}

// Not derived: a derive would require the shared types to be `Clone`.
impl<S: Clone, Classifier, Replay, OnRetry, Partition: Keyed> Clone
    for Retry<S, Classifier, Replay, OnRetry, Partition>
{
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug, Classifier, Replay, OnRetry, Partition: Keyed> fmt::Debug
    for Retry<S, Classifier, Replay, OnRetry, Partition>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, shared } = self;
        f.debug_struct("Retry").field("inner", inner).field("config", &shared.policy.config).finish_non_exhaustive()
    }
}
