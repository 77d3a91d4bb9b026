use super::section::{Section, set_all};
use super::setting::required;
use super::table::{kinds, table};
use super::{BackoffConfig, HumanDuration};
use crate::InvalidSetting;
use crate::breaker::{Abandoned, CircuitBreakerLayer, Mode, Window};
use crate::classify::DistrustRefusals;
use crate::config::error::ConfigError;
use crate::registry::partition::Keyed;

table! {
    /// The settings of a [`CircuitBreakerLayer`]. Each field is its setter; left out, it keeps the default of that.
    pub struct BreakerConfig {
        /// [`CircuitBreakerLayer::window`].
        window: WindowConfig,
        /// [`CircuitBreakerLayer::minimum_calls`]: at least 1, and at most a window of calls.
        minimum_calls: u32,
        /// [`CircuitBreakerLayer::failure_rate`]: over 0 and at most 1.
        failure_rate: f64,
        /// [`CircuitBreakerLayer::slow_calls`].
        slow_calls: SlowCallsConfig,
        /// [`CircuitBreakerLayer::consecutive_failures`]: from 1 to 16,383.
        consecutive_failures: u32,
        /// [`CircuitBreakerLayer::outage`].
        outage: OutageConfig,
        /// [`CircuitBreakerLayer::no_outage`]: if true, `outage` does not count.
        no_outage: bool,
        /// [`CircuitBreakerLayer::open_for`].
        open_for: BackoffConfig,
        /// [`CircuitBreakerLayer::honor_retry_after`]: the longest time, over zero.
        honor_retry_after: HumanDuration,
        /// [`CircuitBreakerLayer::half_open_max_calls`]: at least 1.
        half_open_max_calls: u32,
        /// [`CircuitBreakerLayer::success_threshold`]: at least 1.
        success_threshold: u32,
        /// [`CircuitBreakerLayer::probe_lease`]: over zero.
        probe_lease: HumanDuration,
        /// [`CircuitBreakerLayer::ramp`].
        ramp: RampConfig,
        /// [`CircuitBreakerLayer::abandoned`].
        abandoned: AbandonedConfig,
        /// [`CircuitBreakerLayer::mode`]: the mode that breakers begin in.
        mode: Mode,
        /// [`CircuitBreakerLayer::max_partitions`]: at least 1.
        max_partitions: usize,
        /// [`CircuitBreakerLayer::minimum_children`]: at least 2. Counts with nested partitions.
        minimum_children: u32,
        /// [`CircuitBreakerLayer::redact_labels`].
        redact_labels: bool,
        /// [`CircuitBreakerLayer::flight_recorder`]: from 1 to 16,777,216.
        flight_recorder: usize,
        /// [`CircuitBreakerLayer::distrust_refusals`].
        distrust_refusals: bool,
    }
}

kinds! {
    /// A [`Window`], for example `time = { length = "10s" }` or `count = { calls = 100 }`.
    pub enum WindowConfig {
        /// [`Window::time`].
        Time(TimeWindowConfig) = "time",
        /// [`Window::count`].
        Count(CountWindowConfig) = "count",
    }
}

table! {
    /// A window of time.
    pub struct TimeWindowConfig {
        /// How long outcomes count, at least a millisecond for each bucket. Required.
        length: HumanDuration,
        /// [`Window::buckets`].
        buckets: u32,
    }
}

table! {
    /// A window of calls.
    pub struct CountWindowConfig {
        /// How many calls count, at most [`Window::MAX_CALLS`]. Required.
        calls: u32,
    }
}

table! {
    /// When slow calls open a breaker.
    pub struct SlowCallsConfig {
        /// Longer calls are slow. Required.
        limit: HumanDuration,
        /// The share of slow calls that opens, over 0 and at most 1. Required.
        rate: f64,
    }
}

table! {
    /// How many failures in a row, over what time, are an outage.
    pub struct OutageConfig {
        /// From 1 to 16,383. Required.
        failures: u32,
        /// From the first failure to the last. Required.
        lasting: HumanDuration,
    }
}

table! {
    /// How a breaker admits a growing share of the calls.
    pub struct RampConfig {
        /// The share of each step, growing. Required.
        shares: Vec<f64>,
        /// The calls that come in each step, at least 1. Required.
        calls: u32,
    }
}

kinds! {
    /// How a call counts that is dropped: `"neutral"` or `failure_after = "1s"`.
    pub enum AbandonedConfig {
        /// [`Abandoned::Neutral`].
        Neutral = "neutral",
        /// [`Abandoned::FailureAfter`].
        FailureAfter(HumanDuration) = "failure_after",
    }
}

impl Section<'_, BreakerConfig> {
    pub(crate) fn layer<Classifier, Partition, SettleAt, Requests>(
        &self,
        layer: CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests>,
    ) -> Result<CircuitBreakerLayer<Classifier, Partition, SettleAt, Requests>, ConfigError>
    where
        Classifier: DistrustRefusals + Clone,
        Partition: Keyed + Clone,
        SettleAt: Clone,
        Requests: Clone,
    {
        let layer = self.set_name(layer.try_name(self.name))?;
        // The window before its minimum, so that an error names the minimum.
        Ok(set_all! { self, layer;
            window => |layer, window| layer.try_window(window.window()?);
            minimum_calls => |layer, calls| layer.try_minimum_calls(*calls);
            failure_rate => |layer, rate| layer.try_failure_rate(*rate);
            slow_calls => |layer, slow| {
                layer.try_slow_calls(required(&slow.limit, "limit")?.0, required(&slow.rate, "rate")?)
            };
            consecutive_failures => |layer, failures| layer.try_consecutive_failures(*failures);
            outage => |layer, outage| {
                layer.try_outage(required(&outage.failures, "failures")?, required(&outage.lasting, "lasting")?.0)
            };
            no_outage => |layer, no_outage| Ok(if *no_outage { layer.no_outage() } else { layer });
            open_for => |layer, open_for| layer.try_open_for(open_for.backoff()?);
            honor_retry_after => |layer, longest| layer.try_honor_retry_after(longest.0);
            half_open_max_calls => |layer, calls| layer.try_half_open_max_calls(*calls);
            success_threshold => |layer, successes| layer.try_success_threshold(*successes);
            probe_lease => |layer, lease| layer.try_probe_lease(lease.0);
            ramp => |layer, ramp| {
                layer.try_ramp(&required(&ramp.shares, "shares")?, required(&ramp.calls, "calls")?)
            };
            abandoned => |layer, abandoned| Ok(layer.abandoned(abandoned.abandoned()));
            mode => |layer, mode| Ok(layer.mode(*mode));
            max_partitions => |layer, partitions| layer.try_max_partitions(*partitions);
            minimum_children => |layer, children| layer.try_minimum_children(*children);
            redact_labels => |layer, redact| Ok(layer.redact_labels(*redact));
            flight_recorder => |layer, decisions| layer.try_flight_recorder(*decisions);
            distrust_refusals => |layer, distrust| Ok(if *distrust { layer.distrust_refusals() } else { layer });
        })
    }
}

impl WindowConfig {
    fn window(&self) -> Result<Window, InvalidSetting> {
        match self {
            Self::Time(TimeWindowConfig { length, buckets }) => {
                let window = Window::try_time(required(length, "time.length")?.0)?;
                buckets.map_or(Ok(window), |buckets| window.try_buckets(buckets))
            }
            Self::Count(CountWindowConfig { calls }) => Window::try_count(required(calls, "count.calls")?),
        }
    }
}

impl AbandonedConfig {
    fn abandoned(&self) -> Abandoned {
        match self {
            Self::Neutral => Abandoned::Neutral,
            Self::FailureAfter(limit) => Abandoned::FailureAfter(limit.0),
        }
    }
}
