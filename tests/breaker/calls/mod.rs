//! Calls and how they end: permits, cancellation, time limits, readiness.

mod cancellation;
mod functions;
mod hostile;
mod readiness;
mod service;
mod timeouts;
pub(crate) mod waiting;
