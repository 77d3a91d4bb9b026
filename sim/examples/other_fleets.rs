//! What other fleets and other shares of errors do to the defaults, and what other values would do there.
//!
//! `cargo run --release -p rampart-sim --example other_fleets`. Its numbers are in `docs/DEFAULTS.md`.

use std::time::Duration;

use rampart_sim::scenario::{self, Scenario};
use rampart_sim::{Episode, Latency, Load, Process, Report, Upstream, simulate};
use tower::ServiceBuilder;
use tower_rampart::breaker::Mode;
use tower_rampart::retry::{Backoff, Jitter};
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

const SECOND: Duration = Duration::from_secs(1);

type NewRetry = fn() -> RetryLayer;
type NewBreaker = fn() -> CircuitBreakerLayer;

fn main() {
    for (processes, rate) in [(2_000, 1.0), (200, 10.0), (20, 100.0)] {
        let storm = Scenario { load: Load::open(processes, rate).lasting(120 * SECOND), ..scenario::storm() };
        let unspread = || retry().backoff(Backoff::default().jitter(Jitter::None));
        let stacks: [(&str, NewRetry); 2] = [("the defaults", retry), ("no spread after a timeout", unspread)];
        for (what, retry) in stacks {
            let report = run(&storm, retry, breaker);
            let after = storm.recovered_after(&report).map_or("never".to_owned(), |after| format!("after {after:?}"));
            println!("storm, {rate} calls a second, {what}: {:.2}x at worst, well {after}", report.worst_load());
        }
    }

    let cases: [(f64, f64, &str, NewBreaker); 7] = [
        (0.5, 10.0, "half of the calls open the breaker", || breaker().failure_rate(0.5)),
        (0.7, 10.0, "an outage lasts 1 s", || breaker().outage(10, SECOND)),
        (0.7, 100.0, "seven in ten open the breaker", || breaker().failure_rate(0.7)),
        (0.8, 1.0, "two successes close the breaker", || breaker().success_threshold(2)),
        (0.9, 1.0, "the breaker does nothing", || breaker().mode(Mode::Disabled)),
        (0.9, 10.0, "the breaker does nothing", || breaker().mode(Mode::Disabled)),
        (0.9, 100.0, "the breaker does nothing", || breaker().mode(Mode::Disabled)),
    ];
    for (share, rate, what, other) in cases {
        let brown_out = brown_out(share, rate);
        let [defaults, other] = [breaker, other].map(|breaker| {
            let report = run(&brown_out, retry, breaker);
            100.0 * brown_out.goodput_in_trouble(&report)
        });
        let errors = 100.0 * share;
        println!("{errors} % errors, {rate} calls a second: {defaults:.1} % answered, {other:.1} % if {what}");
    }
}

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new_for_http()
}

fn retry() -> RetryLayer {
    RetryLayer::new_for_http().max_attempts(4).attempt_timeout(SECOND)
}

/// 400 calls a second of an upstream that could answer 10,000, and for a minute errors.
fn brown_out(share: f64, rate: f64) -> Scenario {
    let (from, until) = (30 * SECOND, 90 * SECOND);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 4 to 400.
    let processes = (400.0 / rate) as u32;
    Scenario {
        load: Load::open(processes, rate).lasting(100 * SECOND),
        upstream: Upstream::new(1_000, Latency::Fixed(SECOND / 10))
            .queue(30_000)
            .episode(Episode::errors(share).between(from, until)),
        trouble_from: from,
        well_from: until,
        ..scenario::brown_out()
    }
}

/// Makes the layers anew in each process, because clones share their state.
fn run(scenario: &Scenario, retry: NewRetry, breaker: NewBreaker) -> Report {
    let stack = |process: Process| {
        let layers = ServiceBuilder::new().layer(retry().seed(process.seed)).layer(breaker().seed(process.seed));
        layers.service(process.upstream)
    };
    simulate(stack, &scenario.load, &scenario.upstream, 1)
}
