//! How many requests the upstream received.

use std::sync::atomic::{AtomicU64, Ordering};

use super::plan::{Group, Plan, Tenant};

/// Requests received, by tenant.
#[derive(Debug)]
pub(crate) struct Tally(Vec<AtomicU64>);

impl Tally {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self(plan.tenants().iter().map(|_| AtomicU64::new(0)).collect())
    }

    /// Counts one request and returns how many this tenant had before it.
    pub(crate) fn count(&self, tenant: &Tenant) -> u64 {
        self.0[tenant.number].fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn of_group(&self, plan: &Plan, group: Group) -> u64 {
        let tenants = plan.tenants().iter().filter(|tenant| tenant.group == group);
        tenants.map(|tenant| self.0[tenant.number].load(Ordering::Relaxed)).sum()
    }
}
