use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::future::HedgedResponseFuture;
use crate::BoxError;
use crate::classify::{Classifier, HttpClassifier};
use crate::registry::partition::{Keyed, Partition, Unpartitioned};
use crate::retry::observe::{OnRetry, Report};
use crate::retry::replay::{Replay, ReplayBodies};
use crate::retry::service::Retry;

/// The service created by [`HedgedRetryLayer`](crate::retry::HedgedRetryLayer).
pub struct HedgedRetry<
    S,
    Classifier = HttpClassifier,
    Replay = ReplayBodies,
    OnRetry = (),
    Partition: Keyed = Unpartitioned,
>(Retry<S, Classifier, Replay, OnRetry, Partition>);

impl<S, Classifier, Replay, OnRetry, Partition: Keyed> HedgedRetry<S, Classifier, Replay, OnRetry, Partition> {
    pub(in crate::retry) fn new(retry: Retry<S, Classifier, Replay, OnRetry, Partition>) -> Self {
        Self(retry)
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT> Service<Req>
    for HedgedRetry<S, ClassifierT, ReplayT, OnRetryT, PartitionT>
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
    type Future = HedgedResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.inner.poll_ready(cx).map_err(Into::into)
    }

    /// Returns the future of a call, which sends nothing before its first poll.
    fn call(&mut self, request: Req) -> Self::Future {
        HedgedResponseFuture::new(self.0.take_ready(), Arc::clone(&self.0.shared), request)
    }
}

// Not derived: a derive would require the shared types to be `Clone`.
impl<S: Clone, Classifier, Replay, OnRetry, Partition: Keyed> Clone
    for HedgedRetry<S, Classifier, Replay, OnRetry, Partition>
{
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: fmt::Debug, Classifier, Replay, OnRetry, Partition: Keyed> fmt::Debug
    for HedgedRetry<S, Classifier, Replay, OnRetry, Partition>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Retry { inner, shared } = &self.0;
        f.debug_struct("HedgedRetry")
            .field("inner", inner)
            .field("config", &shared.policy.config)
            .field("pace", &shared.pace)
            .finish_non_exhaustive()
    }
}
