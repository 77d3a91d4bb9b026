//! The same seed gives the same bytes, another seed others.

use std::time::Duration;

use rampart_sim::{Episode, Latency, Load, Process, Report, Second, Upstream, simulate};
use tower::ServiceBuilder;
use tower_rampart::breaker::partition;
use tower_rampart::retry::Backoff;
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

const SECOND: Duration = Duration::from_secs(1);

/// A storm through everything that is random in the layers: the jitter of waits and open times, the
/// hashes of partitions, and overflow breakers, because there is room for half of the tenants.
fn storm(load: &Load, seed: u64) -> Report {
    let upstream = Upstream::new(20, Latency::LogNormal { median: SECOND / 20, p99: SECOND / 2 })
        .queue(100)
        .episode(Episode::slow(10.0).between(5 * SECOND, 10 * SECOND))
        .episode(Episode::errors(0.9).between(12 * SECOND, 18 * SECOND).for_tenant(1))
        .episode(Episode::throttled(0.5, SECOND).between(15 * SECOND, 16 * SECOND))
        .episode(Episode::rolling(4, SECOND).between(20 * SECOND, 30 * SECOND));
    let stack = |process: Process| {
        let breaker = CircuitBreakerLayer::new_for_http()
            .seed(process.seed)
            .consecutive_failures(3)
            .open_for(Backoff::exponential(SECOND, 4 * SECOND))
            .max_partitions(10)
            .partition_by(partition::header("x-tenant-id"));
        process.watch(&breaker.handle());
        ServiceBuilder::new()
            .layer(RetryLayer::new_for_http().seed(process.seed).attempt_timeout(SECOND / 2))
            .layer(breaker)
            .service(process.upstream)
    };
    simulate(stack, load, &upstream, seed)
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    for load in [Load::open(20, 10.0), Load::closed(100, SECOND / 2)] {
        let load = load.tenants(20, 0.8).lasting(26 * SECOND);
        let report = storm(&load, 7);
        let sum = |of: fn(&Second) -> u32| report.seconds.iter().map(of).sum::<u32>();
        let parts = [sum(|second| second.opened), sum(|second| second.closed), sum(|second| second.rejected)];
        assert!(parts.iter().all(|part| *part > 0), "opened, closed, rejected: {parts:?}");
        let json = |seed| serde_json::to_string(&storm(&load, seed)).unwrap();
        let report = serde_json::to_string(&report).unwrap();
        assert!(report == json(7));
        assert!(report != json(8));
    }
}
