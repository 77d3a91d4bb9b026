use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower::Service;

use crate::scenario::Scenario;
use crate::{Process, Report, simulate};

/// Seconds shown before the upstream is well again, and after the time that is allowed.
const SHOWN: u64 = 3;
/// Seconds shown in all.
const SHOWN_AT_MOST: usize = 16;

/// Panics unless the stack answers again all of its calls soon enough after the trouble of a scenario is over, and
/// returns what happened.
///
/// [All of its calls](Scenario::recovered_after) are 99 in a hundred in every second from then on, until the scenario
/// ends. `stack` is called once a process, as by [`simulate`]. The message of the panic says in numbers what happened
/// instead.
///
/// ```
/// use std::time::Duration;
///
/// use rampart_sim::scenario::{self, Scenario};
/// use rampart_sim::{Episode, Latency, Load, Process, Upstream, assert_recovers};
/// use tower::ServiceBuilder;
/// use tower_rampart::{CircuitBreakerLayer, RetryLayer};
///
/// let second = Duration::from_secs(1);
/// let slow = Episode::slow(20.0).between(10 * second, 20 * second);
/// let scenario = Scenario {
///     load: Load::open(200, 1.0).lasting(40 * second),
///     upstream: Upstream::new(25, Latency::Fixed(second / 10)).queue(750).episode(slow),
///     well_from: 20 * second,
///     ..scenario::storm()
/// };
/// let stack = |process: Process| {
///     ServiceBuilder::new()
///         .layer(RetryLayer::new_for_http().seed(process.seed).attempt_timeout(second))
///         .layer(CircuitBreakerLayer::new_for_http().seed(process.seed))
///         .service(process.upstream)
/// };
/// let report = assert_recovers(stack, &scenario, 8 * second);
/// assert!(report.worst_load() < 2.0);
/// ```
///
/// # Panics
///
/// If the stack does not recover in time, or if it is called within a tokio runtime.
#[track_caller]
pub fn assert_recovers<M, S, B>(stack: M, scenario: &Scenario, within: Duration) -> Report
where
    M: Fn(Process) -> S,
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + 'static,
{
    const SEED: u64 = 1;
    let report = simulate(stack, &scenario.load, &scenario.upstream, SEED);
    let recovered = scenario.recovered_after(&report);
    assert!(recovered.is_some_and(|after| after <= within), "{}", explain(&report, scenario, recovered, within));
    report
}

fn explain(report: &Report, scenario: &Scenario, recovered: Option<Duration>, within: Duration) -> String {
    let Scenario { name, title, well_from, .. } = scenario;
    let recovered = recovered.map_or("and the stack had not recovered when the scenario ended".to_owned(), |after| {
        format!("but the stack had recovered only {after:?} later, at {:?}", *well_from + after)
    });
    let mut text = format!(
        "{name}: {title}. The stack must recover within {within:?}.\nThe upstream was well from {well_from:?} on, \
         {recovered}.\nIn the worst second the upstream had {:.2} times the usual load. In all, {:.1} % of the calls were \
         answered well, and {:.1} % were rejected without an attempt.\n",
        report.worst_load(),
        percent(report.good, report.calls),
        percent(report.rejected, report.calls),
    );
    let from = well_from.as_secs().saturating_sub(SHOWN) as usize;
    let shown = (SHOWN.saturating_mul(2).saturating_add(within.as_secs()) as usize).min(SHOWN_AT_MOST);
    // Writing to a string does not fail.
    let _ =
        writeln!(text, "{:>7} {:>8} {:>9} {:>14} {:>9}", "second", "calls", "requests", "answered well", "rejected");
    for (at, second) in report.seconds.iter().enumerate().skip(from).take(shown) {
        let good = percent(second.good.into(), second.calls.into());
        let _ = writeln!(
            text,
            "{at:>7} {:>8} {:>9} {:>12.1} % {:>9}",
            second.calls, second.attempts, good, second.rejected
        );
    }
    text
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}
