use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::Attempts;
use crate::BoxError;
use crate::classify::Classifier;
use crate::registry::partition::{Keyed, Partition, Unpartitioned};
use crate::retry::config::SharedConfig;
use crate::retry::observe::{OnRetry, Report};
use crate::retry::replay::Replay;

pin_project! {
    /// The future of [`Retry`](crate::retry::Retry).
    ///
    /// # Panics
    ///
    /// On the first poll, before anything is sent, if tokio's time driver is not enabled. A layer whose
    /// [`max_attempts`](crate::RetryLayer::max_attempts) is 1 and that has no time limit does not need it. Also if it
    /// is polled after it has completed.
    // The fields name associated types of both traits, hence the bounds.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT = Unpartitioned>
    where
        S: Service<ReplayT::Request>,
        ReplayT: Replay<Req>,
        PartitionT: Keyed,
    {
        #[pin]
        attempts: Attempts<S, Option<S::Future>, ReplayT::Kept, Arc<SharedConfig<ClassifierT, ReplayT, OnRetryT, PartitionT>>>,
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
    ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
    PartitionT: Partition<Req>,
{
    /// The service must be ready.
    #[inline]
    pub(in crate::retry) fn new(
        service: S,
        shared: Arc<SharedConfig<ClassifierT, ReplayT, OnRetryT, PartitionT>>,
        request: Req,
    ) -> Self {
        Self { attempts: Attempts::new(service, shared, request) }
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT> Future
    for ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
where
    S: Service<ReplayT::Request>,
    S::Error: Into<BoxError>,
    ClassifierT: Classifier<S::Response>,
    ReplayT: Replay<Req> + Report<S::Response>,
    PartitionT: Keyed,
    OnRetryT: OnRetry,
{
    type Output = Result<S::Response, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().attempts.poll(cx, |error| error as BoxError)
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT> fmt::Debug
    for ResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
    PartitionT: Keyed,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.attempts.debug("ResponseFuture", f)
    }
}
