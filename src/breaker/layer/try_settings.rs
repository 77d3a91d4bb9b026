//! The settings that panic, with an error in place of the panic.

use std::time::Duration;

use super::{CircuitBreakerLayer, Shared};
use crate::backoff::Backoff;
use crate::breaker::config::Config;
use crate::breaker::partition::{Keyed, NestedIn};
use crate::breaker::{InvalidSetting, Window};

impl<Classifier, Partition: Keyed, SettleAt, Requests> CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests> {
    /// [`name`](Self::name), with an error in place of a panic.
    pub fn try_name(self, name: &str) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_name(name))
    }

    /// [`minimum_children`](Self::minimum_children), with an error in place of a panic.
    pub fn try_minimum_children(self, children: u32) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_minimum_children(children))
    }

    /// [`window`](Self::window), with an error in place of a panic.
    pub fn try_window(self, window: Window) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_window(window))
    }

    /// [`failure_rate`](Self::failure_rate), with an error in place of a panic.
    pub fn try_failure_rate(self, rate: f64) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_failure_rate(rate))
    }

    /// [`minimum_calls`](Self::minimum_calls), with an error in place of a panic.
    pub fn try_minimum_calls(self, calls: u32) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_minimum_calls(calls))
    }

    /// [`slow_calls`](Self::slow_calls), with an error in place of a panic.
    pub fn try_slow_calls(self, limit: Duration, rate: f64) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_slow_calls(limit, rate))
    }

    /// [`outage`](Self::outage), with an error in place of a panic.
    pub fn try_outage(self, failures: u32, lasting: Duration) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_outage(failures, lasting))
    }

    /// [`consecutive_failures`](Self::consecutive_failures), with an error in place of a panic.
    pub fn try_consecutive_failures(self, failures: u32) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_consecutive_failures(failures))
    }

    /// [`open_for`](Self::open_for), with an error in place of a panic.
    pub fn try_open_for(self, open_for: impl Into<Backoff>) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_open_for(open_for.into()))
    }

    /// [`honor_retry_after`](Self::honor_retry_after), with an error in place of a panic.
    pub fn try_honor_retry_after(self, longest: Duration) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_honor_retry_after(longest))
    }

    /// [`half_open_max_calls`](Self::half_open_max_calls), with an error in place of a panic.
    pub fn try_half_open_max_calls(self, calls: u32) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_half_open_max_calls(calls))
    }

    /// [`success_threshold`](Self::success_threshold), with an error in place of a panic.
    pub fn try_success_threshold(self, successes: u32) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_success_threshold(successes))
    }

    /// [`probe_lease`](Self::probe_lease), with an error in place of a panic.
    pub fn try_probe_lease(self, lease: Duration) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_probe_lease(lease))
    }

    /// [`ramp`](Self::ramp), with an error in place of a panic.
    pub fn try_ramp(self, shares: &[f64], calls: u32) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_ramp(shares, calls))
    }

    /// [`flight_recorder`](Self::flight_recorder), with an error in place of a panic.
    pub fn try_flight_recorder(self, decisions: usize) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_flight_recorder(decisions))
    }

    /// [`max_partitions`](Self::max_partitions), with an error in place of a panic.
    pub fn try_max_partitions(self, partitions: usize) -> Result<Self, InvalidSetting> {
        self.try_set(|config| config.set_max_partitions(partitions))
    }

    /// [`nested_in`](Self::nested_in), with an error in place of a panic.
    pub fn try_nested_in<Q: Keyed>(
        self,
        outer: Q,
        share: f64,
    ) -> Result<CircuitBreakerLayer<Classifier, NestedIn<Partition, Q>, SettleAt, Requests>, InvalidSetting> {
        let Self { classifier, partition, scope, requests, mut config, breakers: _ } = self;
        config.set_share(share)?;
        let partition = NestedIn { inner: partition, outer };
        Ok(CircuitBreakerLayer { classifier, partition, scope, requests, config, breakers: Shared::default() })
    }

    fn try_set(mut self, set: impl FnOnce(&mut Config) -> Result<(), InvalidSetting>) -> Result<Self, InvalidSetting> {
        set(&mut self.config)?;
        self.breakers = Shared::default();
        Ok(self)
    }
}
