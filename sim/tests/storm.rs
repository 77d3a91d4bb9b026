//! What the simulator shows of the real layers in a small storm.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use rampart_sim::{Episode, Latency, Load, Process, Report, Upstream, simulate};
use tower::{Service, ServiceBuilder, service_fn};
use tower_rampart::retry::Budget;
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

const WELL_FROM: Duration = Duration::from_secs(30);

/// 200 processes, one call a second each; an upstream of 1.25 times that capacity, 20 times slower for ten seconds.
fn storm<S, B>(stack: impl Fn(Process) -> S) -> Report
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + 'static,
{
    let load = Load::open(200, 1.0).lasting(Duration::from_secs(90));
    let slow = Episode::slow(20.0).between(Duration::from_secs(20), WELL_FROM);
    let upstream = Upstream::new(25, Latency::Fixed(Duration::from_millis(100))).queue(750).episode(slow);
    simulate(stack, &load, &upstream, 3)
}

fn retry() -> RetryLayer {
    RetryLayer::new_for_http().max_attempts(4).attempt_timeout(Duration::from_secs(1))
}

#[test]
fn without_retries_the_upstream_works_off_its_queue_and_recovers() {
    let report = storm(|process| ServiceBuilder::new().layer(retry().max_attempts(1)).service(process.upstream));
    assert_eq!((report.calls, report.rejected), (report.attempts, 0));
    assert_eq!(report.calls, report.good + report.failed);
    let recovered = report.recovered_at(0.95).unwrap();
    assert!(recovered > WELL_FROM && recovered < WELL_FROM + Duration::from_secs(20), "{recovered:?}");
}

#[test]
fn retries_without_a_budget_keep_the_upstream_down() {
    let report =
        storm(|process| ServiceBuilder::new().layer(retry().budget(Budget::unlimited())).service(process.upstream));
    assert_eq!(report.recovered_at(0.95), None, "long after it is well again");
    assert!(report.worst_load() > 4.0 && report.wasted_work > 0.5 * report.work, "{}", report.worst_load());
}

#[test]
fn a_connection_that_is_refused_is_a_failure_without_work() {
    let load = Load::open(10, 1.0).lasting(Duration::from_secs(10));
    let upstream = Upstream::new(10, Latency::Fixed(Duration::from_millis(10))).episode(Episode::down());
    let report = simulate(|process: Process| process.upstream, &load, &upstream, 1);
    assert_eq!((report.good, report.failed, report.attempts), (0, report.calls, report.calls));
    assert_eq!(report.work.to_bits(), 0.0_f64.to_bits());
}

#[test]
fn without_anything_random_in_the_stack_the_same_seed_gives_the_same_report() {
    let report = || {
        let bare = storm(|process| process.upstream);
        serde_json::to_string(&bare).unwrap()
    };
    assert_eq!(report(), report());
}

#[test]
fn what_a_busy_start_saved_does_not_feed_a_later_storm() {
    let worst_load = |calls_at_start: u32| {
        let report = storm(|process| {
            let layers = ServiceBuilder::new()
                .layer(retry().seed(process.seed))
                .layer(CircuitBreakerLayer::new_for_http().seed(process.seed));
            let at_once = service_fn(|_| async { Ok::<_, BoxError>(Response::new(())) });
            let mut start = layers.clone().service(at_once);
            for _ in 0..calls_at_start {
                let call = pin!(start.call(Request::new(Empty::<Bytes>::new())));
                assert!(call.poll(&mut Context::from_waker(Waker::noop())).is_ready());
            }
            layers.service(process.upstream)
        });
        report.worst_load()
    };
    let (idle, busy) = (worst_load(0), worst_load(10_000));
    assert!(busy < 1.6 && (busy - idle).abs() < 0.1, "{idle} after an idle start, {busy} after a busy one");
}
