use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::config::Shared;
use super::future::ResponseFuture;
use super::observe::OnRetry;
use super::replay::{Replay, ReplayBodies};
use super::report::Report;
use crate::BoxError;
use crate::classify::{Classifier, HttpClassifier};

/// The service that [`RetryLayer`](crate::RetryLayer) makes.
pub struct Retry<S, C = HttpClassifier, K = ReplayBodies, N = ()> {
    inner: S,
    shared: Arc<Shared<C, K, N>>,
}

impl<S, C, K, N> Retry<S, C, K, N> {
    pub(super) fn new(inner: S, shared: Arc<Shared<C, K, N>>) -> Self {
        Self { inner, shared }
    }
}

impl<S, Req, C, K, N> Service<Req> for Retry<S, C, K, N>
where
    S: Service<K::Request> + Clone,
    S::Error: Into<BoxError>,
    C: Classifier<S::Response>,
    K: Replay<Req> + Report<S::Response>,
    N: OnRetry,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, C, K, N>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    /// Makes the future of a call, which sends nothing before its first poll.
    fn call(&mut self, request: Req) -> Self::Future {
        // The instance that was polled ready goes with the call; a clone of it need not be ready.
        let clone = self.inner.clone();
        let service = mem::replace(&mut self.inner, clone);
        ResponseFuture::new(service, Arc::clone(&self.shared), request)
    }
}

// By hand, because sharing asks nothing of what is shared.
impl<S: Clone, C, K, N> Clone for Retry<S, C, K, N> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug, C, K, N> fmt::Debug for Retry<S, C, K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, shared } = self;
        f.debug_struct("Retry").field("inner", inner).field("settings", &shared.settings).finish_non_exhaustive()
    }
}
