use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::pair::Pair;
use crate::BoxError;
use crate::classify::Classifier;
use crate::registry::partition::{Keyed, Partition, Unpartitioned};
use crate::retry::config::SharedConfig;
use crate::retry::future::Attempts;
use crate::retry::observe::{OnRetry, Report};
use crate::retry::replay::Replay;

pin_project! {
    /// The future of [`HedgedRetry`](super::HedgedRetry).
    ///
    /// # Panics
    ///
    /// As [`ResponseFuture`](crate::retry::ResponseFuture).
    #[must_use = "futures do nothing unless polled"]
    pub struct HedgedResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT = Unpartitioned>
    where
        S: Service<ReplayT::Request>,
        ReplayT: Replay<Req>,
        PartitionT: Keyed,
    {
        #[pin]
        attempts:
            Attempts<S, Pair<S::Future>, ReplayT::Kept, Arc<SharedConfig<ClassifierT, ReplayT, OnRetryT, PartitionT>>>,
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
    HedgedResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
    PartitionT: Partition<Req>,
{
    /// The service must be ready.
    #[inline]
    pub(super) fn new(
        service: S,
        shared: Arc<SharedConfig<ClassifierT, ReplayT, OnRetryT, PartitionT>>,
        request: Req,
    ) -> Self {
        Self { attempts: Attempts::new(service, shared, request) }
    }
}

impl<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT> Future
    for HedgedResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
where
    S: Service<ReplayT::Request> + Clone,
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
    for HedgedResponseFuture<S, Req, ClassifierT, ReplayT, OnRetryT, PartitionT>
where
    S: Service<ReplayT::Request>,
    ReplayT: Replay<Req>,
    PartitionT: Keyed,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.attempts.debug("HedgedResponseFuture", f)
    }
}
