//! One budget for each key.

use super::RetryLayer;
use crate::registry::partition::{Keyed, Unpartitioned};
use crate::retry::config::SharedConfig;
use crate::retry::policy::Budget;
use crate::settings::invalid_setting::{InvalidSetting, valid};

impl<Classifier, Replay, OnRetry> RetryLayer<Classifier, Replay, OnRetry, Unpartitioned> {
    /// Gives each tenant, host or other key a budget of its own, so that a tenant that is down does not spend the
    /// retries of the others.
    ///
    /// - [`partition`](crate::breaker::partition) finds the key of a request, as for a breaker. Each new key gets a new
    ///   budget with the settings of `budget`, whatever that has left. Requests without a key share `budget` itself.
    /// - The budget of a call is found once, when the call is made. If its key has one already, nothing is allocated.
    /// - All clones of the layer share the budgets of the keys, until one of them sets
    ///   [`budget`](RetryLayer::budget) or [`max_partitions`](RetryLayer::max_partitions) and begins with new ones.
    /// - `max_partitions` bounds the memory. Nothing bounds the retries of all keys together: a thousand tenants that
    ///   fail at once retry as often as a thousand budgets allow.
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    /// use tower_rampart::breaker::partition;
    /// use tower_rampart::retry::Budget;
    ///
    /// let layer = RetryLayer::new_for_http().budget_by(partition::header("x-tenant-id"), Budget::ratio(0.2));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn budget_by<Partition: Keyed>(
        self,
        partition: Partition,
        budget: Budget,
    ) -> RetryLayer<Classifier, Replay, OnRetry, Partition> {
        let SharedConfig { policy, replay, budgets, pace } = self.budget(budget).shared;
        let budgets = budgets.partition_by(partition);
        RetryLayer { shared: SharedConfig { policy, replay, budgets, pace } }
    }
}

impl<Classifier, Replay, OnRetry, Partition: Keyed> RetryLayer<Classifier, Replay, OnRetry, Partition> {
    /// Sets how many keys can have a [budget of their own](RetryLayer::budget_by). When room is needed, a budget
    /// without a call in flight is forgotten if it holds what it began with, or if it has had no call for a minute, or
    /// for its [`ttl`](Budget::ttl) if that is longer. A new key looks at eight others; if none of them can go, it
    /// shares one of 16 budgets with other new keys.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn max_partitions(self, partitions: usize) -> Self {
        valid(self.try_max_partitions(partitions))
    }

    /// Returns the [balance](Budget::balance) of the budget of a key. `None` if the key has none of its own: there was
    /// no call for it, its budget was forgotten or is shared, or all budgets are unlimited. For monitoring: keep a
    /// clone of the layer, which shares the budgets.
    ///
    /// ```
    /// use tower_rampart::RetryLayer;
    /// use tower_rampart::breaker::partition;
    /// use tower_rampart::retry::Budget;
    ///
    /// let layer = RetryLayer::new_for_http().budget_by(partition::by(|tenant: &u64| *tenant), Budget::ratio(0.2));
    /// assert_eq!(layer.balance(&7), None);
    /// ```
    #[must_use]
    pub fn balance(&self, key: &Partition::Key) -> Option<f64> {
        self.shared.budgets.balance(key)
    }

    /// [`max_partitions`](Self::max_partitions), with an error in place of a panic.
    pub fn try_max_partitions(mut self, partitions: usize) -> Result<Self, InvalidSetting> {
        self.shared.budgets = self.shared.budgets.try_max_partitions(partitions)?;
        Ok(self)
    }
}
