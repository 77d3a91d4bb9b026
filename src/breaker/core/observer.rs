use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::state_machine::Change;
use super::window::Counts;

/// Hears what happened to the nodes of a layer. `N` is the node.
///
/// The core reports here and nowhere else, so that it knows neither telemetry nor subscribers. Called rarely, and never
/// under a lock.
pub(crate) trait Observer<N>: fmt::Debug + Send + Sync + UnwindSafe + RefUnwindSafe {
    /// A node has changed, and the change has been published.
    fn changed(&self, node: &Arc<N>, change: Change, generation: u32, counts: Counts);

    /// A call shares this overflow node because all partitions are in use: the `calls`th since the layer was made.
    fn overflowed(&self, node: &Arc<N>, max_partitions: usize, calls: u64);
}
