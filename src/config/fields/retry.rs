use http::HeaderName;

use super::section::{Section, set_all};
use super::table::{kinds, table};
use super::{BackoffConfig, BudgetConfig, HumanDuration};
use crate::InvalidSetting;
use crate::classify::DistrustRefusals;
use crate::config::error::ConfigError;
use crate::registry::partition::Keyed;
use crate::retry::{Budget, DeadlineHeader, Hedge, ReplayBodies, RetryGuard, RetryLayer};

table! {
    /// The settings of a [`RetryLayer`]. Each field is its setter; left out, it keeps the default of that.
    pub struct RetryConfig {
        /// [`RetryLayer::max_attempts`]: the first one included, at least 1.
        max_attempts: u32,
        /// [`RetryLayer::backoff`]: the wait if the server sends no hint.
        backoff: BackoffConfig,
        /// [`RetryLayer::attempt_timeout`]: over zero.
        attempt_timeout: HumanDuration,
        /// [`RetryLayer::deadline`]: over zero.
        deadline: HumanDuration,
        /// [`RetryLayer::deadline_header`].
        deadline_header: DeadlineHeaderConfig,
        /// [`RetryLayer::guard`].
        guard: GuardConfig,
        /// [`RetryLayer::budget`].
        budget: BudgetConfig,
        /// [`RetryLayer::max_partitions`]: at least 1.
        max_partitions: usize,
        /// [`RetryLayer::max_retry_after`].
        max_retry_after: HumanDuration,
        /// [`RetryLayer::clamp_retry_after`].
        clamp_retry_after: bool,
        /// [`RetryLayer::max_replay_bytes`]: bytes.
        max_replay_bytes: usize,
        /// [`RetryLayer::retry_circuit_open`].
        retry_circuit_open: bool,
        /// [`RetryLayer::distrust_refusals`].
        distrust_refusals: bool,
        /// [`RetryLayer::hedge`].
        hedge: HedgeConfig,
    }
}

kinds! {
    /// The name and the unit of a [`DeadlineHeader`], for example `milliseconds = "x-request-timeout-ms"`.
    pub enum DeadlineHeaderConfig {
        /// [`DeadlineHeader::milliseconds`].
        Milliseconds(String) = "milliseconds",
        /// [`DeadlineHeader::seconds`].
        Seconds(String) = "seconds",
    }
}

table! {
    /// A [`RetryGuard`]. An empty table sets one with the defaults.
    pub struct GuardConfig {
        /// [`RetryGuard::max_depth`].
        max_depth: u32,
        /// [`RetryGuard::attempt_header`].
        attempt_header: String,
    }
}

kinds! {
    /// A [`Hedge`], for example `quantile = 0.95`.
    pub enum HedgeConfig {
        /// [`Hedge::after`].
        After(HumanDuration) = "after",
        /// [`Hedge::quantile`]: between 0 and 1.
        Quantile(f64) = "quantile",
    }
}

impl Section<'_, RetryConfig> {
    pub(crate) fn layer<Classifier, Idempotency, OnRetry, Partition>(
        &self,
        layer: RetryLayer<Classifier, ReplayBodies<Idempotency>, OnRetry, Partition>,
    ) -> Result<RetryLayer<Classifier, ReplayBodies<Idempotency>, OnRetry, Partition>, ConfigError>
    where
        Classifier: DistrustRefusals + Clone,
        Idempotency: Clone,
        OnRetry: Clone,
        Partition: Keyed + Clone,
    {
        let layer = self.set_name(layer.try_name(self.name))?;
        Ok(set_all! { self, layer;
            max_attempts => |layer, attempts| layer.try_max_attempts(*attempts);
            backoff => |layer, backoff| Ok(layer.backoff(backoff.backoff()?));
            attempt_timeout => |layer, timeout| layer.try_attempt_timeout(timeout.0);
            deadline => |layer, deadline| layer.try_deadline(deadline.0);
            deadline_header => |layer, header| Ok(layer.deadline_header(header.header()?));
            guard => |layer, guard| Ok(layer.guard(guard.guard()?));
            budget => |layer, budget| Ok(layer.budget(budget.budget()?));
            max_partitions => |layer, partitions| layer.try_max_partitions(*partitions);
            max_retry_after => |layer, longest| Ok(layer.max_retry_after(longest.0));
            clamp_retry_after => |layer, clamp| Ok(layer.clamp_retry_after(*clamp));
            max_replay_bytes => |layer, bytes| Ok(layer.max_replay_bytes(*bytes));
            retry_circuit_open => |layer, retry| Ok(layer.retry_circuit_open(*retry));
            distrust_refusals => |layer, distrust| Ok(if *distrust { layer.distrust_refusals() } else { layer });
        })
    }

    pub(crate) fn budget(&self) -> Result<Budget, ConfigError> {
        let default = Budget::default();
        self.set(default, "budget", |table| table.budget.as_ref(), |_, budget| budget.budget())
    }

    pub(crate) fn hedge(&self) -> Result<Option<Hedge>, ConfigError> {
        self.set(None, "hedge", |table| table.hedge.as_ref(), |_, hedge| hedge.hedge().map(Some))
    }

    pub(crate) fn unexpected_hedge(&self) -> ConfigError {
        let reason = "retry: a hedge makes a layer of another type, so build it with `Config::hedged_retry`";
        let is_own = self.own.as_ref().is_some_and(|own| own.hedge.is_some());
        self.error("hedge", is_own, &InvalidSetting::new(reason.to_owned()), None)
    }
}

impl DeadlineHeaderConfig {
    fn header(&self) -> Result<DeadlineHeader, InvalidSetting> {
        match self {
            Self::Milliseconds(name) => DeadlineHeader::try_milliseconds(name),
            Self::Seconds(name) => DeadlineHeader::try_seconds(name),
        }
    }
}

impl GuardConfig {
    fn guard(&self) -> Result<RetryGuard, InvalidSetting> {
        let mut guard = RetryGuard::new();
        if let Some(tiers) = self.max_depth {
            guard = guard.max_depth(tiers);
        }
        match &self.attempt_header {
            Some(name) => match HeaderName::try_from(name) {
                Ok(name) => guard.try_attempt_header(name),
                Err(_) => Err(InvalidSetting::new(format!("config: {name:?} is not the name of a header"))),
            },
            None => Ok(guard),
        }
    }
}

impl HedgeConfig {
    fn hedge(&self) -> Result<Hedge, InvalidSetting> {
        match self {
            Self::After(delay) => Ok(Hedge::after(delay.0)),
            Self::Quantile(quantile) => Hedge::try_quantile(*quantile),
        }
    }
}
