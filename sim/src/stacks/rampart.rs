//! The layers of this crate.

use std::cell::RefCell;
use std::hash::Hash;
use std::time::Duration;

use rampart_sim::scenario::Scenario;
use rampart_sim::{Process, Report, simulate};
use tower::ServiceBuilder;
use tower_rampart::breaker::{Events, Handle, State, Window, partition};
use tower_rampart::retry::Budget;
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

use super::{ATTEMPT_TIMEOUT, ATTEMPTS, NO_RETRIES, Stack};

pub(super) const STACKS: [Stack; 5] = [
    Stack {
        name: NO_RETRIES,
        title: "no retries",
        note: None,
        run: |scenario, seed| retry_only(scenario, seed, || retry().max_attempts(1)),
    },
    Stack {
        name: "naive",
        title: "retries without a budget",
        note: None,
        run: |scenario, seed| retry_only(scenario, seed, || retry().budget(Budget::unlimited())),
    },
    Stack {
        name: "budget",
        title: "budget",
        note: Some("0.2 tokens a call, 10 at the start, 100 at most"),
        run: |scenario, seed| retry_only(scenario, seed, || retry().budget(budget_before())),
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

/// Counts how often the breakers of a run open.
#[derive(Default)]
struct Openings(RefCell<Vec<Events>>);

/// Runs the default layers, changed by these functions. Breakers are partitioned by tenant if the load has tenants.
pub(crate) fn tuned(
    scenario: &Scenario,
    seed: u64,
    tune_retry: impl Fn(RetryLayer) -> RetryLayer,
    tune_breaker: impl Fn(CircuitBreakerLayer) -> CircuitBreakerLayer,
) -> (Report, Option<u64>) {
    let Scenario { load, upstream, .. } = scenario;
    let openings = Openings::default();
    let breaker = || tune_breaker(CircuitBreakerLayer::new_for_http());
    let report = if scenario.has_tenants() {
        let stack = |process: Process| {
            let breaker = breaker().partition_by(partition::header("x-tenant-id"));
            openings.count(&breaker.handle());
            ServiceBuilder::new().layer(tune_retry(retry())).layer(breaker).service(process.upstream)
        };
        simulate(stack, load, upstream, seed)
    } else {
        let stack = |process: Process| {
            let breaker = breaker();
            openings.count(&breaker.handle());
            ServiceBuilder::new().layer(tune_retry(retry())).layer(breaker).service(process.upstream)
        };
        simulate(stack, load, upstream, seed)
    };
    (report, Some(openings.sum()))
}

fn retry_only(scenario: &Scenario, seed: u64, retry: impl Fn() -> RetryLayer) -> (Report, Option<u64>) {
    let stack = |process: Process| ServiceBuilder::new().layer(retry()).service(process.upstream);
    (simulate(stack, &scenario.load, &scenario.upstream, seed), None)
}

fn retry() -> RetryLayer {
    RetryLayer::new_for_http().max_attempts(ATTEMPTS).attempt_timeout(ATTEMPT_TIMEOUT)
}

/// The default until storms were simulated.
fn budget_before() -> Budget {
    Budget::ratio(0.2).capacity(100).reserve(10)
}

/// The default until storms were simulated.
fn breaker_before(breaker: CircuitBreakerLayer) -> CircuitBreakerLayer {
    breaker
        .window(Window::time(Duration::from_secs(60)))
        .failure_rate(0.5)
        .minimum_calls(10)
        .open_for(Duration::from_secs(30))
}

impl Openings {
    fn count<K: Hash + Eq + Clone + 'static>(&self, breakers: &Handle<K>) {
        self.0.borrow_mut().push(breakers.subscribe(256));
    }

    /// The openings so far; a change that did not fit into the queue of its process counts as one.
    fn sum(&self) -> u64 {
        let of_process = |events: &mut Events| {
            let opened = std::iter::from_fn(|| events.try_recv()).filter(|event| event.to == State::Open).count();
            opened as u64 + events.missed()
        };
        self.0.borrow_mut().iter_mut().map(of_process).sum()
    }
}
