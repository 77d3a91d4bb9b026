use std::sync::Arc;

use super::tally::Tally;
use super::telemetry;
use crate::breaker::Totals;
use crate::breaker::control::events::Subscribers;
use crate::breaker::core::node::Node;
use crate::breaker::core::observer::Observer;
use crate::breaker::core::state_machine::Change;
use crate::breaker::core::window::Counts;
use crate::isolated::isolated;

/// Counts what happens to the breakers of a layer, and reports it to `tracing` and to the subscribers.
#[derive(Debug, Default)]
pub(crate) struct LayerObserver {
    pub(crate) subscribers: Subscribers,
    pub(crate) tally: Tally,
}

impl Observer<Node> for LayerObserver {
    fn changed(&self, node: &Arc<Node>, change: Change, generation: u32, counts: Counts) {
        self.tally.count_transition(change.from.0, change.to.0, change.cause);
        node.record_change(change);
        isolated(|| telemetry::changed(node, change, counts));
        self.subscribers.notify(node, change, generation);
    }

    fn overflowed(&self, node: &Arc<Node>, max_partitions: usize, calls: u64) {
        isolated(|| telemetry::overflowed(node, max_partitions, calls));
    }

    fn probed(&self, failed: Option<bool>) {
        self.tally.count_probe(failed);
    }

    fn retired(&self, totals: Totals) {
        self.tally.retire(totals);
    }
}
