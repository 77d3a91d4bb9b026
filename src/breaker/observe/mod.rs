mod explain;
pub(super) mod layer_observer;
mod metrics;
mod tally;
pub(super) mod telemetry;
