//! Other crates with their own defaults, and the same four attempts of a second.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use rampart_sim::scenario::Scenario;
use rampart_sim::{Process, Report};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng};
use seatbelt::breaker::{Breaker, BreakerId};
use seatbelt::retry::Retry;
use seatbelt::{RecoveryInfo, ResilienceContext};
use tick::ClockControl;
use tokio::time::{Instant, sleep};
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, RetryLayer};
use tower::timeout::TimeoutLayer;
use tower::util::rng::Rng;
use tower::{BoxError, ServiceBuilder};
use tower_resilience_retry::{RetryBudgetBuilder, RetryLayer as ResilienceRetryLayer};

use super::{ATTEMPT_TIMEOUT, ATTEMPTS, Stack, run};

pub(super) const STACKS: [Stack; 3] = [
    Stack {
        name: "tower",
        title: "tower::retry with TpsBudget",
        note: Some("a policy of ours that judges by status; it has no breaker"),
        run: tower_retry,
    },
    Stack {
        name: "tower-resilience",
        title: "tower-resilience: retry, AIMD budget",
        note: Some("without its breaker, which reads the real clock and so cannot run on a paused one"),
        run: resilience,
    },
    Stack {
        name: "seatbelt",
        title: "seatbelt: retry and breaker",
        note: Some("on its own controlled clock, with a breaker a tenant; its jitter has no seed; it has no budget"),
        run: seatbelt,
    },
];

type Call = Request<Empty<Bytes>>;
type Answer = Response<Empty<Bytes>>;

/// A policy as the documentation of tower shows it.
#[derive(Clone)]
struct ByStatus {
    budget: Arc<TpsBudget>,
    backoff: ExponentialBackoff<Seeded>,
    attempts_left: u32,
}

#[derive(Clone, Debug)]
struct Seeded(SmallRng);

impl Rng for Seeded {
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

impl ByStatus {
    fn new(seed: u64) -> Self {
        // The values of `ExponentialBackoffMaker::default`, which takes no generator.
        let (first, longest) = (Duration::from_millis(50), Duration::from_millis(u64::MAX));
        let rng = Seeded(SmallRng::seed_from_u64(seed));
        #[allow(clippy::expect_used)] // Constants.
        let mut backoff = ExponentialBackoffMaker::new(first, longest, 0.99, rng).expect("the waits are in order");
        Self { budget: Arc::default(), backoff: backoff.make_backoff(), attempts_left: ATTEMPTS - 1 }
    }
}

impl Policy<Call, Answer, BoxError> for ByStatus {
    type Future = tokio::time::Sleep;

    fn retry(&mut self, _: &mut Call, outcome: &mut Result<Answer, BoxError>) -> Option<Self::Future> {
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

    fn clone_request(&mut self, request: &Call) -> Option<Call> {
        Some(request.clone())
    }
}

fn tower_retry(scenario: &Scenario, seed: u64) -> Report {
    let stack = |process: Process| {
        let retry = RetryLayer::new(ByStatus::new(process.seed));
        ServiceBuilder::new().layer(retry).layer(TimeoutLayer::new(ATTEMPT_TIMEOUT)).service(process.upstream)
    };
    run(scenario, seed, stack)
}

fn resilience(scenario: &Scenario, seed: u64) -> Report {
    let stack = |process: Process| {
        #[allow(clippy::expect_used)] // Its own defaults.
        let budget = RetryBudgetBuilder::new().aimd().build().expect("the bounds of the budget are in order");
        let retry = ResilienceRetryLayer::<Call, Answer, BoxError>::builder()
            .max_attempts(ATTEMPTS as usize)
            .retry_on_response(|answer: &Answer| is_failed(answer))
            .budget(budget)
            .build();
        ServiceBuilder::new().layer(retry).layer(TimeoutLayer::new(ATTEMPT_TIMEOUT)).service(process.upstream)
    };
    run(scenario, seed, stack)
}

fn seatbelt(scenario: &Scenario, seed: u64) -> Report {
    let control = ClockControl::new();
    let stack = |process: Process| {
        if process.number == 0 {
            tokio::task::spawn_local(keep_in_step(control.clone()));
        }
        let context = ResilienceContext::<Call, Result<Answer, BoxError>>::new(control.to_clock());
        let retry = Retry::layer("retry", &context)
            .clone_input()
            .recovery_with(|outcome, _| recovery(outcome))
            .max_retry_attempts(ATTEMPTS - 1);
        let breaker = Breaker::layer("breaker", &context)
            .recovery_with(|outcome, _| recovery(outcome))
            .rejected_input_error(|_, _| BoxError::from("the breaker is open"))
            .breaker_id(|call: &Call| BreakerId::hashed(&call.headers().get("x-tenant-id"), "tenant"));
        ServiceBuilder::new()
            .layer(retry)
            .layer(breaker)
            .layer(TimeoutLayer::new(ATTEMPT_TIMEOUT))
            .service(process.upstream)
    };
    run(scenario, seed, stack)
}

/// Advances the clock of a peer with that of tokio, which ends with the run.
async fn keep_in_step(control: ClockControl) {
    let mut last = Instant::now();
    loop {
        sleep(Duration::from_millis(1)).await;
        let now = Instant::now();
        control.advance(now - last);
        last = now;
    }
}

fn recovery(outcome: &Result<Answer, BoxError>) -> RecoveryInfo {
    if is_failure(outcome) { RecoveryInfo::retry() } else { RecoveryInfo::never() }
}

fn is_failure(outcome: &Result<Answer, BoxError>) -> bool {
    outcome.as_ref().map_or(true, is_failed)
}

fn is_failed(answer: &Answer) -> bool {
    answer.status().is_server_error() || answer.status() == http::StatusCode::TOO_MANY_REQUESTS
}
