use std::time::Duration;

use rampart_sim::scenario::Scenario;
use rampart_sim::{Process, Report, simulate};
use tower::ServiceBuilder;
use tower_rampart::retry::Budget;
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

/// What became of one stack in a storm.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stack: &'static str,
    pub(crate) report: Report,
}

const ATTEMPTS: u32 = 4;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// Every stack has four attempts of a second at most.
pub(crate) fn run_all(scenario: &Scenario, seed: u64) -> Vec<Run> {
    let retry = || RetryLayer::new_for_http().max_attempts(ATTEMPTS).attempt_timeout(ATTEMPT_TIMEOUT);
    let timeout = || RetryLayer::new_for_http().max_attempts(1).attempt_timeout(ATTEMPT_TIMEOUT);
    let run = |stack, report| Run { stack, report };
    let Scenario { load, upstream, .. } = scenario;
    vec![
        run(
            "no retries",
            simulate(|process: Process| builder(timeout()).service(process.upstream), load, upstream, seed),
        ),
        run("retries without a budget", {
            let stack = |process: Process| builder(retry().budget(Budget::unlimited())).service(process.upstream);
            simulate(stack, load, upstream, seed)
        }),
        run("retries with the default budget", {
            simulate(|process: Process| builder(retry()).service(process.upstream), load, upstream, seed)
        }),
        run("default budget and breaker", {
            let stack = |process: Process| {
                builder(retry()).layer(CircuitBreakerLayer::new_for_http()).service(process.upstream)
            };
            simulate(stack, load, upstream, seed)
        }),
    ]
}

fn builder<L>(layer: L) -> ServiceBuilder<tower::layer::util::Stack<L, tower::layer::util::Identity>> {
    ServiceBuilder::new().layer(layer)
}
