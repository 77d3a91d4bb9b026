//! What a run keeps in memory grows with its processes, and hardly with its calls.

#[path = "../../tests/support/counting.rs"]
mod counting;

use std::time::Duration;

use rampart_sim::{Episode, Latency, Load, Process, Upstream, simulate};
use tower::ServiceBuilder;
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

use self::counting::COUNT;

const SECOND: Duration = Duration::from_secs(1);

/// The most bytes that a storm holds at once.
fn peak(processes: u32, seconds: u32) -> f64 {
    let load = Load::open(processes, 1.0).lasting(seconds * SECOND);
    let slow = Episode::slow(20.0).between(20 * SECOND, 30 * SECOND);
    let upstream =
        Upstream::new(processes / 8, Latency::Fixed(SECOND / 10)).queue(3 * processes as usize).episode(slow);
    let stack = |process: Process| {
        let breaker = CircuitBreakerLayer::new_for_http().seed(process.seed);
        process.watch(&breaker.handle());
        let retry = RetryLayer::new_for_http().seed(process.seed).attempt_timeout(SECOND);
        ServiceBuilder::new().layer(retry).layer(breaker).service(process.upstream)
    };
    let before = COUNT.get();
    COUNT.set(counting::Count { peak: before.live, ..before });
    let report = simulate(stack, &load, &upstream, 1);
    assert!(report.calls > u64::from(processes * seconds) * 9 / 10);
    (COUNT.get().peak - before.live) as f64
}

#[test]
fn ten_times_the_calls_take_no_more_memory_and_ten_times_the_processes_do() {
    let few = peak(80, 60);
    let long = peak(80, 600);
    let many = peak(800, 60);
    assert!(long < 1.1 * few, "{few} bytes, and {long} for ten times as long");
    assert!(many > 3.0 * few && many < 10.0 * few, "{few} bytes, and {many} for ten times the processes");
}
