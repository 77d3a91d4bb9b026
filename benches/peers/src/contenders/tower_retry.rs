//! `tower::retry` with a policy as its documentation suggests.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tower::Layer;
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, RetryLayer};
use tower::util::rng::HasherRng;

use crate::contenders::Contender;
use crate::paths::Path;
use crate::settings::{BUDGET, FIRST_WAIT, LONGEST_WAIT, MAX_ATTEMPTS};
use crate::upstream::body::{Kilobyte, Reader};
use crate::upstream::{Answer, Failure, Inner, is_failure};

pub(crate) const WHO: &str = "tower";
pub(crate) const NOTE: &str = "retry with TpsBudget (10 s, 10 a second, ratio 0.2), ExponentialBackoff and a policy of our own \
    that clones the request and judges by status; it has no breaker";

pub(crate) fn contender(path: Path) -> Option<Contender> {
    match path {
        Path::Retry | Path::RetryHeaders => {
            Some(Contender::new(WHO, || RetryLayer::new(ByStatus::new()).layer(Inner::Healthy)))
        }
        Path::RetryBody => Some(Contender::new(WHO, || Kilobyte::new(RetryLayer::new(ByStatus::new()).layer(Reader)))),
        _ => None,
    }
}

#[derive(Clone)]
struct ByStatus {
    budget: Arc<TpsBudget>,
    backoff: ExponentialBackoff,
    attempts_left: u32,
}

impl ByStatus {
    fn new() -> Self {
        let backoff = ExponentialBackoffMaker::new(FIRST_WAIT, LONGEST_WAIT, 0.99, HasherRng::default());
        Self {
            budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 10, BUDGET)),
            backoff: backoff.expect("the waits are in order").make_backoff(),
            attempts_left: MAX_ATTEMPTS - 1,
        }
    }
}

impl<B: Clone> Policy<Request<B>, Answer, Failure> for ByStatus {
    type Future = tokio::time::Sleep;

    fn retry(&mut self, _: &mut Request<B>, outcome: &mut Result<Answer, Failure>) -> Option<Self::Future> {
        if !is_failure(outcome) {
            self.budget.deposit();
            return None;
        }
        if self.attempts_left == 0 || !self.budget.withdraw() {
            return None;
        }
        self.attempts_left -= 1;
        Some(self.backoff.next_backoff())
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}
