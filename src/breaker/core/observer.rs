use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::state_machine::Change;
use super::window::Counts;
use crate::breaker::Totals;

/// Hears what happened to the nodes of a layer. `N` is the node.
///
/// The core reports here and nowhere else, so that it knows neither telemetry nor subscribers. Called rarely; only
/// `retired` may be called under a lock.
pub(crate) trait Observer<N>: fmt::Debug + Send + Sync + UnwindSafe + RefUnwindSafe {
    /// A node has changed, and the change has been published.
    fn changed(&self, node: &Arc<N>, change: Change, generation: u32, counts: Counts);

    /// A call shares this overflow node because all partitions are in use: the `calls`th since the layer was made.
    fn overflowed(&self, node: &Arc<N>, max_partitions: usize, calls: u64);

    /// A probe has ended. `failed` is `None` if it was neutral.
    fn probed(&self, failed: Option<bool>);

    /// A node has been evicted or removed.
    fn retired(&self, totals: Totals);
}
