use std::future::Future;

use super::{CallFuture, call};
use crate::BoxError;
use crate::classify::Classifier;
use crate::retry::observe::OnRetry;
use crate::retry::retry_policy::RetryPolicy;

/// Retries a closure that returns a future: [`call`] as a method.
///
/// ```
/// use tower_rampart::retry::{RetryError, RetryExt, RetryPolicy};
///
/// # async fn fetch() -> std::io::Result<u64> { Ok(7) }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), RetryError> {
/// let policy = RetryPolicy::new().name("metrics");
/// let rows = (|| fetch()).retry(&policy).await?;
/// # assert_eq!(rows, 7);
/// # Ok(())
/// # }
/// ```
pub trait RetryExt<Fut>: FnMut() -> Fut + Sized {
    /// Calls the closure, and again where the policy says so: see [`call`].
    #[inline]
    fn retry<T, E, ClassifierT, OnRetryT>(
        self,
        policy: &RetryPolicy<ClassifierT, OnRetryT>,
    ) -> CallFuture<'_, Self, Fut, ClassifierT, OnRetryT>
    where
        Fut: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
        ClassifierT: Classifier<T>,
        OnRetryT: OnRetry,
    {
        call(policy, self)
    }
}

impl<F, Fut> RetryExt<Fut> for F where F: FnMut() -> Fut {}
