//! Retries of a function: the same engine and policy as the layer's, without a service around the operation.

mod blocking;
mod ext;
mod future;
mod operation;

use std::future::Future;

use super::observe::OnRetry;
use super::retry_policy::RetryPolicy;
use crate::BoxError;
use crate::classify::Classifier;

pub use self::blocking::call_blocking;
pub use self::ext::RetryExt;
pub use self::future::CallFuture;

/// Calls an async operation, and again where the policy says so.
///
/// **Every operation counts as idempotent**: every transient error is retried, although the upstream may have acted on
/// the attempt before. Do not pass an operation that must not happen twice, or have [`retry_if`](RetryPolicy::retry_if)
/// or a [classifier](RetryPolicy::classifier) reject the errors after which it may have happened.
///
/// Attempts, backoff, budget, deadline, attempt timeout, callbacks and telemetry are those of
/// [`RetryLayer::new`](crate::RetryLayer::new), and so are [the rules](super#rules). The deadline runs from here on. An
/// attempt that a time limit cuts is dropped. Dropping the future gives back all that it holds.
///
/// ```
/// use tower_rampart::retry::{self, RetryError, RetryPolicy};
///
/// # async fn fetch(_: &str) -> std::io::Result<u64> { Ok(7) }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), RetryError> {
/// let policy = RetryPolicy::new().name("metrics").max_attempts(4);
///
/// let url = String::from("https://metrics.example");
/// let rows = retry::call(&policy, || fetch(&url)).await?;
/// # assert_eq!(rows, 7);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns a [`RetryError`](super::RetryError) that reports every attempt. Its source is the error of the last attempt,
/// which [`into_source`](super::RetryError::into_source) returns as it was:
///
/// ```
/// use std::io;
/// use tower_rampart::retry::{self, GiveUp, RetryPolicy};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let reset = || async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionReset)) };
/// let error = retry::call(&RetryPolicy::new(), reset).await.unwrap_err();
/// assert_eq!((error.kind(), error.attempts()), (GiveUp::Exhausted, 3));
/// let error = error.into_source().downcast::<io::Error>().unwrap();
/// assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
/// # }
/// ```
///
/// An operation may fail with everything that converts to a [`BoxError`], a `String` or an `anyhow::Error` too. A
/// result that the classifier rejects is returned as it is when no attempt is left.
///
/// # Panics
///
/// The future panics on its first poll, before the operation is called, if tokio's time driver is not enabled, unless
/// the policy has a single attempt and no time limit.
#[inline]
pub fn call<F, Fut, T, E, ClassifierT, OnRetryT>(
    policy: &RetryPolicy<ClassifierT, OnRetryT>,
    operation: F,
) -> CallFuture<'_, F, Fut, ClassifierT, OnRetryT>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
    ClassifierT: Classifier<T>,
    OnRetryT: OnRetry,
{
    CallFuture::new(policy, operation)
}
