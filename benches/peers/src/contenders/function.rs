//! The operation that is retried without a service, and what retries it.

use std::future::{Ready, ready};
use std::mem;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use http::Request;
use tokio_retry::strategy::{ExponentialBackoff, jitter};
use tower::{Service, service_fn};
use tower_rampart::retry::{self, Backoff, Budget, RetryPolicy};

use crate::contenders::Contender;
use crate::paths::Path;
use crate::settings::{BUDGET, FIRST_WAIT, LONGEST_WAIT, MAX_ATTEMPTS};
use crate::upstream::{Answer, Body, Failure, Inner};

pub(crate) const BACKON: &str = "backon";
pub(crate) const BACKON_NOTE: &str =
    "an ExponentialBuilder with jitter, built for each call, and a sleeper that does not sleep";
pub(crate) const TOKIO_RETRY: &str = "tokio-retry";
pub(crate) const TOKIO_RETRY_NOTE: &str = "ExponentialBackoff with jitter, made for each call; every wait of it goes through tokio's \
    timer and takes a millisecond at least, so it is not in the row with a retry";

pub(crate) fn rampart(path: Path) -> Option<Contender> {
    let policy = RetryPolicy::new().max_attempts(MAX_ATTEMPTS);
    // The peers have no budget, and one retry for each call exhausts every budget.
    let policy = match path {
        Path::Function => {
            policy.backoff(Backoff::exponential(FIRST_WAIT, LONGEST_WAIT)).budget(Budget::ratio(f64::from(BUDGET)))
        }
        Path::FunctionRetry => policy.backoff(Backoff::none()).no_budget(),
        _ => return None,
    };
    let policy: &RetryPolicy = Box::leak(Box::new(policy));
    Some(Contender::new(crate::contenders::rampart::WHO, move || {
        service_fn(move |_: Request<Body>| retry::call(policy, operation(path)))
    }))
}

pub(crate) fn backon(path: Path) -> Option<Contender> {
    let retries = usize::try_from(MAX_ATTEMPTS - 1).expect("a small number");
    let backoff = ExponentialBuilder::default().with_min_delay(FIRST_WAIT).with_max_delay(LONGEST_WAIT);
    let backoff = backoff.with_max_times(retries).with_jitter();
    matches!(path, Path::Function | Path::FunctionRetry).then(|| {
        Contender::new(BACKON, move || {
            service_fn(move |_: Request<Body>| operation(path).retry(backoff).sleep(|_: Duration| ready(())))
        })
    })
}

pub(crate) fn tokio_retry(path: Path) -> Option<Contender> {
    let retries = usize::try_from(MAX_ATTEMPTS - 1).expect("a small number");
    (path == Path::Function).then(|| {
        Contender::new(TOKIO_RETRY, move || {
            service_fn(move |_: Request<Body>| {
                let waits = ExponentialBackoff::from_millis(2).factor(50).max_delay(LONGEST_WAIT).map(jitter);
                tokio_retry::Retry::start(waits.take(retries), operation(path))
            })
        })
    })
}

/// Fails the first time on the path with a retry.
fn operation(path: Path) -> impl FnMut() -> Ready<Result<Answer, Failure>> + Send {
    let mut inner = if path == Path::FunctionRetry { Inner::Refusing } else { Inner::Healthy };
    move || mem::replace(&mut inner, Inner::Healthy).call(Request::new(()))
}
