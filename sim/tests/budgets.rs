//! What limits on retries cost at each failure rate, with clients that do not slow down: the sweep of Marc Brooker,
//! "Fixing retries with token buckets and circuit breakers", 2022.

use std::time::Duration;

use rampart_sim::{Arrivals, Episode, Latency, Load, Process, Report, Upstream, simulate};
use tower::{Layer, ServiceExt};
use tower_rampart::breaker::Window;
use tower_rampart::retry::{Backoff, Budget};
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

const MS: Duration = Duration::from_millis(1);
/// The share of failures at which the breaker stops retries, and the retries for every call that the budget allows.
const LIMIT: f64 = 0.1;

/// What a stack made of an upstream that fails at random.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    /// Requests for every call.
    amplification: f64,
    /// The share of the calls that was answered well.
    good: f64,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    NoRetries,
    Attempts,
    Budget,
    Breaker,
}

/// After ten seconds, when what was saved up is spent and every breaker has a full window.
fn outcome(limit: Limit, failure_rate: f64) -> Outcome {
    let load = Load::open(20, 20.0).arrivals(Arrivals::Even).lasting(Duration::from_secs(30));
    let upstream = Upstream::new(1_000, Latency::Fixed(10 * MS)).episode(Episode::errors(failure_rate));
    let retry = RetryLayer::new_for_http().max_attempts(4).backoff(Backoff::fixed(10 * MS)).no_budget();
    let breaker = || {
        let window = Window::time(Duration::from_secs(5));
        CircuitBreakerLayer::new_for_http()
            .window(window)
            .minimum_calls(100)
            .failure_rate(LIMIT)
            .success_threshold(20)
            .reject_retries_only()
    };
    let stack = |process: Process| match limit {
        Limit::NoRetries => retry.clone().max_attempts(1).layer(process.upstream).boxed_clone(),
        Limit::Attempts => retry.layer(process.upstream).boxed_clone(),
        Limit::Budget => {
            retry.clone().budget(Budget::ratio(LIMIT).ttl(Duration::MAX)).layer(process.upstream).boxed_clone()
        }
        Limit::Breaker => retry.layer(breaker().layer(process.upstream)).boxed_clone(),
    };
    let settled = settled(&simulate(stack, &load, &upstream, 5));
    println!("{limit:?} at {failure_rate}: {:.2} requests a call, {:.3} answered", settled.amplification, settled.good);
    settled
}

fn settled(report: &Report) -> Outcome {
    let seconds = &report.seconds[10..30];
    let sum = |of: fn(&rampart_sim::Second) -> u32| f64::from(seconds.iter().map(of).sum::<u32>());
    let calls = sum(|second| second.calls);
    Outcome { amplification: sum(|second| second.attempts) / calls, good: sum(|second| second.good) / calls }
}

/// Requests for every call with three retries: 1 + f + f^2 + f^3.
fn plain(failure_rate: f64) -> f64 {
    (0..4).map(|retries| failure_rate.powi(retries)).sum()
}

#[test]
fn without_a_limit_every_failure_multiplies_the_load() {
    assert!((outcome(Limit::NoRetries, 0.5).amplification - 1.0).abs() < 1e-9);
    for rate in [0.0, 0.02, 0.2, 0.5, 0.8, 1.0] {
        let Outcome { amplification, good } = outcome(Limit::Attempts, rate);
        assert!((amplification / plain(rate) - 1.0).abs() < 0.03, "{rate}: {amplification}, not {}", plain(rate));
        assert!((good - (1.0 - rate.powi(4))).abs() < 0.01, "{rate}: {good} answered well");
    }
}

#[test]
fn a_budget_retries_all_of_few_failures_and_never_adds_more_than_its_ratio() {
    for rate in [0.02, 0.05, 0.2, 0.5, 1.0] {
        let Outcome { amplification, good } = outcome(Limit::Budget, rate);
        assert!(amplification <= 1.0 + LIMIT + 0.005, "{rate}: {amplification}");
        if rate < LIMIT {
            assert!((amplification / plain(rate) - 1.0).abs() < 0.01, "{rate}: {amplification}, not {}", plain(rate));
            assert!(good > 0.999, "{rate}: {good} answered well");
        } else {
            // It is never switched off: what it may spend, it spends, and each retry helps as often as a first attempt.
            let helped = 1.0 - rate + LIMIT * (1.0 - rate);
            assert!(
                amplification > 1.0 + LIMIT - 0.01 && (good - helped).abs() < 0.02,
                "{rate}: {amplification}, {good}"
            );
        }
    }
}

#[test]
fn a_breaker_on_retries_stops_them_all_above_its_rate() {
    for rate in [0.02, 0.2, 0.5, 1.0] {
        let Outcome { amplification, good } = outcome(Limit::Breaker, rate);
        if rate < LIMIT {
            assert!((amplification / plain(rate) - 1.0).abs() < 0.01, "{rate}: {amplification}, not {}", plain(rate));
            assert!(good > 0.999, "{rate}: {good} answered well");
        } else {
            assert!(amplification < 1.03, "{rate}: {amplification}");
            assert!((good - (1.0 - rate)).abs() < 0.03, "{rate}: {good} answered well, as without retries");
        }
    }
}
