//! The last good value of each tenant: what both runs answer with while there are no fresh metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::payload::Metrics;
use super::plan::{Plan, Tenant};

/// The last metrics of every tenant, with the time at which they came.
#[derive(Debug)]
pub(crate) struct LastGood(Vec<Mutex<Option<(Metrics, Instant)>>>);

impl LastGood {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self(plan.tenants().iter().map(|_| Mutex::default()).collect())
    }

    pub(crate) fn keep(&self, tenant: &Tenant, metrics: Metrics) {
        *self.lock(tenant) = Some((metrics, Instant::now()));
    }

    /// How old the last good value is, if there is one. A real job would bill by it, and say so.
    pub(crate) fn age(&self, tenant: &Tenant) -> Option<Duration> {
        self.lock(tenant).as_ref().map(|(_metrics, since)| since.elapsed())
    }

    fn lock(&self, tenant: &Tenant) -> MutexGuard<'_, Option<(Metrics, Instant)>> {
        self.0[tenant.number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
