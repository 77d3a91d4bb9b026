mod reconfigure;

use std::convert::Infallible;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::observe::Tally;
use super::policy::{Bucket, GiveUp};
use super::settings::{Eras, Settings, Tuning};
use crate::metrics::{Metric, Sample, Source};
use crate::registry::Registry;

/// Reads what a [`RetryLayer`](crate::RetryLayer) or a [`RetryPolicy`](super::RetryPolicy) has counted since it was
/// made, and [changes its settings](Self::reconfigure), from anywhere and without waiting. Clones of the layer or of the
/// policy count together and change together.
///
/// A call that succeeds at once is not counted, because it would pay for it: subtract from the calls of the breaker
/// inside, or count with [`Counters`](crate::classify::Counters). Neither is a call that its caller drops.
///
/// ```
/// use tower_rampart::RetryLayer;
/// use tower_rampart::retry::GiveUp;
///
/// let layer = RetryLayer::new_for_http().name("billing");
/// let retries = layer.handle();
/// assert_eq!((retries.gave_up(GiveUp::Budget), retries.balance()), (0, Some(10.0)));
/// ```
pub struct Handle<K = Infallible> {
    /// Those that the layer or policy was made with.
    settings: Settings,
    eras: Arc<Eras<Tuning>>,
    tally: Arc<Tally>,
    /// The budgets of keys, if each has its own.
    by_key: Option<Arc<Registry<K, Bucket>>>,
}

impl<K> Handle<K> {
    pub(super) fn new(
        settings: Settings,
        eras: Arc<Eras<Tuning>>,
        tally: Arc<Tally>,
        by_key: Option<Arc<Registry<K, Bucket>>>,
    ) -> Self {
        Self { settings, eras, tally, by_key }
    }

    /// Returns the name of the layer or policy.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Returns the number of calls that succeeded after a retry or a hedge.
    #[must_use]
    pub fn recovered(&self) -> u64 {
        self.tally.recovered()
    }

    /// Returns the number of calls that failed for this reason.
    #[must_use]
    pub fn gave_up(&self, kind: GiveUp) -> u64 {
        self.tally.given_up(kind)
    }

    /// Returns the number of further attempts, without hedges and [resends](Self::resends).
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.tally.retries().map(|(_, count)| count).sum()
    }

    /// Returns the sum of the waits before further attempts.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.tally.waited()
    }

    /// Returns the number of transparent retries.
    #[must_use]
    pub fn resends(&self) -> u64 {
        self.tally.resends()
    }

    /// Returns the number of hedges that were sent.
    #[must_use]
    pub fn hedges(&self) -> u64 {
        self.tally.hedges()
    }
}

impl<K: Hash + Eq + Clone> Handle<K> {
    /// Returns the [balance](super::Budget::balance) of the budget; of the emptiest one, if
    /// [each key has its own](crate::RetryLayer::budget_by) and there is one. `None` if it is unlimited.
    #[must_use]
    pub fn balance(&self) -> Option<f64> {
        let mut lowest = None;
        self.visit_buckets(|bucket| {
            let balance = bucket.kind().balance();
            lowest = Some(lowest.map_or(balance, |lowest: f64| lowest.min(balance)));
        });
        lowest.or_else(|| self.settings.budget.balance())
    }

    /// Visits the budgets of keys.
    fn visit_buckets(&self, mut visit: impl FnMut(&Bucket)) {
        if let Some(by_key) = &self.by_key {
            by_key.overflow_nodes().for_each(|bucket| visit(bucket));
            by_key.visit(|bucket| visit(bucket));
        }
    }
}

impl<K: Hash + Eq + Clone> Source for Handle<K> {
    fn collect(&self, samples: &mut Vec<Sample>) {
        let mut add = |metric, labels: &[(&'static str, &str)], value: f64| {
            samples.push(Sample::new(metric, &self.settings.name, labels, value));
        };
        add(Metric::RETRY_CALLS, &[("result", "recovered")], self.recovered() as f64);
        for kind in GiveUp::ALL {
            add(Metric::RETRY_CALLS, &[("result", kind.as_str())], self.gave_up(kind) as f64);
        }
        // Two of one reason are added up.
        for (reason, count) in self.tally.retries() {
            add(Metric::RETRY_ATTEMPTS, &[("reason", reason.as_str())], count as f64);
        }
        add(Metric::RETRY_RESENDS, &[], self.resends() as f64);
        add(Metric::RETRY_WAIT, &[], self.waited().as_secs_f64());
        add(Metric::RETRY_WAITS, &[], self.retries() as f64);
        add(Metric::RETRY_HEDGES, &[], self.hedges() as f64);
        if let Some(balance) = self.balance() {
            add(Metric::RETRY_BUDGET, &[], balance);
        }
        let overflowed = self.by_key.as_ref().map_or(0, |by_key| by_key.overflowed());
        add(Metric::RETRY_OVERFLOWED, &[], overflowed as f64);
    }
}

// Not derived: a derive would require the keys to be `Clone`.
impl<K> Clone for Handle<K> {
    fn clone(&self) -> Self {
        let Self { settings, eras, tally, by_key } = self;
        Self { settings: settings.clone(), eras: eras.clone(), tally: tally.clone(), by_key: by_key.clone() }
    }
}

impl<K> fmt::Debug for Handle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
