//! The layers of this crate.

use std::time::Duration;

use rampart_sim::scenario::Scenario;
use rampart_sim::{Process, Report};
use tower::ServiceBuilder;
use tower_rampart::breaker::{Window, partition};
use tower_rampart::retry::Budget;
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

use super::{ATTEMPT_TIMEOUT, ATTEMPTS, Stack, run};

pub(super) const STACKS: [Stack; 5] = [
    Stack {
        name: "no-retries",
        title: "no retries",
        note: None,
        run: |scenario, seed| retry_only(scenario, seed, |retry| retry.max_attempts(1)),
    },
    Stack {
        name: "naive",
        title: "retries without a budget",
        note: None,
        run: |scenario, seed| retry_only(scenario, seed, RetryLayer::no_budget),
    },
    Stack {
        name: "budget",
        title: "budget",
        note: Some("0.2 tokens a call, 10 at the start, 100 at most"),
        run: |scenario, seed| retry_only(scenario, seed, |retry| retry.budget(budget_before())),
    },
    Stack {
        name: "before",
        title: "budget and breaker, our defaults before",
        note: Some("the budget above; a window of 60 s, half of at least 10 calls, open for 30 s"),
        run: |scenario, seed| tuned(scenario, seed, |retry| retry.budget(budget_before()), breaker_before),
    },
    Stack {
        name: "defaults",
        title: "defaults of the layers",
        note: None,
        run: |scenario, seed| tuned(scenario, seed, |retry| retry, |breaker| breaker),
    },
];

/// Runs the default layers, changed by these functions. Breakers are partitioned by tenant if the load has tenants.
pub(crate) fn tuned(
    scenario: &Scenario,
    seed: u64,
    tune_retry: impl Fn(RetryLayer) -> RetryLayer,
    tune_breaker: impl Fn(CircuitBreakerLayer) -> CircuitBreakerLayer,
) -> Report {
    let layers = |process: &Process| {
        let breaker = CircuitBreakerLayer::new_for_http().seed(process.seed);
        (tune_retry(retry().seed(process.seed)), tune_breaker(breaker))
    };
    if scenario.has_tenants() {
        run(scenario, seed, |process| {
            let (retry, breaker) = layers(&process);
            let breaker = breaker.partition_by(partition::header("x-tenant-id"));
            process.watch(&breaker.handle());
            ServiceBuilder::new().layer(retry).layer(breaker).service(process.upstream)
        })
    } else {
        run(scenario, seed, |process| {
            let (retry, breaker) = layers(&process);
            process.watch(&breaker.handle());
            ServiceBuilder::new().layer(retry).layer(breaker).service(process.upstream)
        })
    }
}

fn retry_only(scenario: &Scenario, seed: u64, tune: impl Fn(RetryLayer) -> RetryLayer) -> Report {
    run(scenario, seed, |process| {
        ServiceBuilder::new().layer(tune(retry().seed(process.seed))).service(process.upstream)
    })
}

fn retry() -> RetryLayer {
    RetryLayer::new_for_http().max_attempts(ATTEMPTS).attempt_timeout(ATTEMPT_TIMEOUT)
}

/// The default until storms were simulated.
fn budget_before() -> Budget {
    Budget::ratio(0.2).capacity(100).reserve(10).ttl(Duration::MAX)
}

/// The default until storms were simulated.
fn breaker_before(breaker: CircuitBreakerLayer) -> CircuitBreakerLayer {
    breaker
        .window(Window::time(Duration::from_secs(60)))
        .failure_rate(0.5)
        .minimum_calls(10)
        .no_outage()
        .open_for(Duration::from_secs(30))
        .success_threshold(2)
}
