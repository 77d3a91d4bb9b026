//! How many requests the upstream received, and when.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::plan::{Arrival, Group, Plan, Tenant};

/// Requests received, by tenant and by time.
#[derive(Debug)]
pub(crate) struct Tally {
    start: OnceLock<Instant>,
    bin: Duration,
    tenants: Vec<Mutex<OfTenant>>,
    groups: Mutex<[Vec<u32>; Group::ALL.len()]>,
}

#[derive(Debug, Default)]
struct OfTenant {
    requests: u64,
    second: u64,
    in_second: u64,
}

/// Requests received in each `bin_ms` of a run, by group.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Load {
    pub(crate) bin_ms: u64,
    pub(crate) requests: BTreeMap<Group, Vec<u32>>,
}

impl Tally {
    pub(crate) fn new(plan: &Plan, bin: Duration) -> Self {
        let tenants = plan.tenants().iter().map(|_| Mutex::default()).collect();
        Self { start: OnceLock::new(), bin, tenants, groups: Mutex::default() }
    }

    /// The start of the run: when this is called for the first time.
    pub(crate) fn start(&self) -> Instant {
        *self.start.get_or_init(Instant::now)
    }

    /// Counts one request.
    pub(crate) fn count(&self, tenant: &Tenant) -> Arrival {
        let at = self.start().elapsed();
        let bin = (at.as_millis() / self.bin.as_millis().max(1)) as usize;
        let mut groups = lock(&self.groups);
        let bins = &mut groups[tenant.group as usize];
        bins.resize(bins.len().max(bin + 1), 0);
        bins[bin] += 1;
        drop(groups);

        let mut of_tenant = lock(&self.tenants[tenant.number]);
        let OfTenant { requests, second, in_second } = &mut *of_tenant;
        if at.as_secs() > *second {
            (*second, *in_second) = (at.as_secs(), 0);
        }
        *requests += 1;
        *in_second += 1;
        Arrival { nth: *requests - 1, nth_in_second: *in_second - 1, at }
    }

    pub(crate) fn of_group(&self, group: Group) -> u64 {
        lock(&self.groups)[group as usize].iter().map(|&requests| u64::from(requests)).sum()
    }

    /// Every group has as many bins as the longest.
    pub(crate) fn load(&self) -> Load {
        let groups = lock(&self.groups);
        let bins = groups.iter().map(Vec::len).max().unwrap_or(0);
        let padded = |group: Group| {
            let mut requests = groups[group as usize].clone();
            requests.resize(bins, 0);
            (group, requests)
        };
        Load { bin_ms: self.bin.as_millis() as u64, requests: Group::ALL.map(padded).into() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted_by_second_and_by_bin() {
        let plan = Plan::new(1, 40, Duration::from_secs(5));
        let tally = Tally::new(&plan, Duration::from_millis(250));
        let tenant = plan.find("throttled-01").unwrap();
        let mut seen = Vec::new();
        for _ in 0..3 {
            for _ in 0..2 {
                let Arrival { nth, nth_in_second, at } = tally.count(tenant);
                seen.push((nth, nth_in_second, at.as_millis()));
            }
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        assert_eq!(seen, [(0, 0, 0), (1, 1, 0), (2, 2, 500), (3, 3, 500), (4, 0, 1_000), (5, 1, 1_000)]);
        assert_eq!((tally.of_group(Group::Throttled), tally.of_group(Group::Down)), (6, 0));

        let load = tally.load();
        assert_eq!(load.bin_ms, 250);
        assert_eq!(load.requests[&Group::Throttled], [2, 0, 2, 0, 2]);
        assert_eq!(load.requests[&Group::Down], [0; 5]);
    }
}
