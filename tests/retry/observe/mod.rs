//! What callers, logs and metrics learn.

mod observers;
mod outcome;
mod reports;
pub(crate) mod telemetry;
