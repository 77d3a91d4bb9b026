use tracing::{Level, event};

use crate::breaker::core::node::Node;
use crate::breaker::core::state_machine::Change;
use crate::breaker::core::window::Counts;
use crate::breaker::{Cause, Changes, State};

const TARGET: &str = "tower_rampart::breaker";

/// One event for a change; nothing for a call.
pub(crate) fn changed(node: &Node, change: Change, counts: Counts) {
    let Change { from, to, cause, empties_window: _ } = change;
    if from == to {
        return;
    }
    let rate = if cause == Cause::SlowRate { counts.slow_rate() } else { counts.failure_rate() };
    // The level of an event must be known when it is compiled.
    macro_rules! report {
        ($level:expr) => {
            event!(
                target: TARGET,
                $level,
                name = node.name(),
                partition = node.label(),
                from = %from.0,
                to = %to.0,
                mode = %to.1,
                cause = cause.as_str(),
                rate,
                calls = counts.calls,
                "circuit breaker changed"
            )
        };
    }
    if to.0 == State::Open { report!(Level::WARN) } else { report!(Level::INFO) }
}

/// One event for a reconfiguration, with the names of the settings alone.
pub(crate) fn reconfigured(name: &str, changes: &Changes) {
    event!(target: TARGET, Level::INFO, name, %changes, "circuit breakers reconfigured");
}

/// Calls of more partitions than there is room for share a few breakers.
pub(crate) fn overflowed(node: &Node, max_partitions: usize, calls: u64) {
    event!(
        target: TARGET,
        Level::WARN,
        name = node.name(),
        max_partitions,
        calls,
        "all partitions are in use: new ones share a few breakers"
    );
}
