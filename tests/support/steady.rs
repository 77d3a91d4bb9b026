//! A breaker for tests that are about something other than the defaults.

use std::time::Duration;

use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::Window;
use tower_rampart::breaker::partition::Keyed;

/// Opens at half of the calls of a minute for 30 seconds, and closes with two probes. It watches for no outage. The
/// minimum of calls is the default, because it gives way to a small window.
pub(crate) fn steady<Classifier, Partition: Keyed, SettleAt, Requests>(
    layer: CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests>,
) -> CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests> {
    layer
        .window(Window::time(Duration::from_secs(60)))
        .failure_rate(0.5)
        .open_for(Duration::from_secs(30))
        .success_threshold(2)
        .no_outage()
}
