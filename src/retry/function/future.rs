use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::operation::Operation;
use crate::BoxError;
use crate::classify::Classifier;
use crate::retry::error::RetryError;
use crate::retry::future::Attempts;
use crate::retry::observe::OnRetry;
use crate::retry::retry_policy::RetryPolicy;

pin_project! {
    /// The future of [`call`](super::call) and [`RetryExt::retry`](super::RetryExt::retry).
    #[must_use = "futures do nothing unless polled"]
    pub struct CallFuture<'a, F, Fut, Classifier, OnRetry> {
        #[pin]
        attempts: Attempts<Operation<F>, Option<Fut>, (), &'a RetryPolicy<Classifier, OnRetry>>,
    }
}

impl<'a, F, Fut, Classifier, OnRetry> CallFuture<'a, F, Fut, Classifier, OnRetry> {
    #[inline]
    pub(super) fn new(policy: &'a RetryPolicy<Classifier, OnRetry>, operation: F) -> Self {
        Self { attempts: Attempts::new(Operation(operation), policy, ()) }
    }
}

impl<F, Fut, T, E, ClassifierT, OnRetryT> Future for CallFuture<'_, F, Fut, ClassifierT, OnRetryT>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
    ClassifierT: Classifier<T>,
    OnRetryT: OnRetry,
{
    type Output = Result<T, RetryError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().attempts.poll(cx, |error| *error)
    }
}

impl<F, Fut, Classifier, OnRetry> fmt::Debug for CallFuture<'_, F, Fut, Classifier, OnRetry> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.attempts.debug("CallFuture", f)
    }
}
