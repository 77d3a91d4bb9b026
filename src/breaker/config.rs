use std::sync::Arc;
use std::time::Duration;

use super::core::half_open::{HalfOpenConfig, Limits, ProbingConfig, Ramp};
use super::core::nested::votes::VoteConfig;
use super::core::policy::{Outage, Policy, SlowCalls};
use super::core::state_machine::EngineConfig;
use super::core::window::{Kind, WindowConfig, consecutive_failures};
use super::flight_recorder::{FlightRecorder, MAX_DECISIONS};
use super::{Mode, Window};
use crate::backoff::Backoff;
use crate::clock::{millis_up, nanos};
use crate::registry::MAX_PARTITIONS;
use crate::seed::Seed;
use crate::settings::invalid_setting::{InvalidSetting, ensure};

/// All settings, each checked where it is set.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(super) name: Arc<str>,
    /// `None` if not set: the default is longer with nested partitions.
    pub(super) window: Option<Window>,
    /// `None` if not set: the default shrinks to a smaller window.
    pub(super) minimum_calls: Option<u32>,
    pub(super) failure_rate: f64,
    pub(super) slow_calls: Option<SlowCalls>,
    pub(super) consecutive_failures: Option<u32>,
    /// `None` if not set: the default gives way to a limit of consecutive failures.
    pub(super) outage: Option<Option<Outage>>,
    pub(super) open_for: Backoff,
    pub(super) max_retry_after: Option<Duration>,
    pub(super) half_open_max_calls: u32,
    pub(super) success_threshold: u32,
    pub(super) probe_lease: Duration,
    pub(super) ramp: Option<Ramp>,
    pub(super) abandoned: Option<Abandoned>,
    pub(super) mode: Mode,
    pub(super) max_partitions: usize,
    pub(super) redact_labels: bool,
    pub(super) share: Option<f64>,
    pub(super) minimum_children: u32,
    /// `None` without a flight recorder.
    pub(super) recorded_decisions: Option<usize>,
    pub(super) seed: Seed,
}

/// How a call counts that is dropped before it ends.
///
/// A call that a time limit cuts has failed: one of the [`RetryLayer`](crate::RetryLayer) around the breaker, or any
/// other once the [`Deadline`](crate::retry::Deadline) in the extensions of the HTTP request has passed. For other
/// calls the default is `FailureAfter` the limit of the slow calls if there is one; else they are neutral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Abandoned {
    /// Neutral, however long it ran and even if a time limit cut it.
    Neutral,
    /// A failure if it had run longer than this or a time limit cut it; else neutral. Zero makes every such call a
    /// failure.
    FailureAfter(Duration),
}

const DEFAULT_MINIMUM: u32 = 20;
const NESTED_WINDOW: Duration = Duration::from_secs(60);
const DEFAULT_OUTAGE: Outage = Outage { failures: 10, lasting: Duration::from_secs(2) };
/// Votes need a time, which a window of calls has not.
const COUNT_WINDOW_VOTES: Duration = Duration::from_secs(60);

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "default".into(),
            window: None,
            minimum_calls: None,
            failure_rate: 0.9,
            slow_calls: None,
            consecutive_failures: None,
            outage: None,
            open_for: default_open_for(),
            max_retry_after: None,
            half_open_max_calls: 3,
            success_threshold: 1,
            probe_lease: Duration::from_secs(30),
            ramp: None,
            abandoned: None,
            mode: Mode::Automatic,
            max_partitions: MAX_PARTITIONS,
            redact_labels: false,
            share: None,
            minimum_children: 3,
            recorded_decisions: None,
            seed: Seed::default(),
        }
    }
}

impl Config {
    pub(crate) fn set_name(&mut self, name: &str) -> Result<(), InvalidSetting> {
        ensure!(!name.is_empty(), "name: must not be empty, but is {name:?}");
        self.name = name.into();
        Ok(())
    }

    pub(crate) fn set_window(&mut self, window: Window) -> Result<(), InvalidSetting> {
        check_minimum(window, self.minimum_calls)?;
        self.window = Some(window);
        Ok(())
    }

    pub(crate) fn set_minimum_calls(&mut self, calls: u32) -> Result<(), InvalidSetting> {
        ensure!(calls >= 1, "minimum_calls: must be at least 1, but is {calls}");
        check_minimum(self.window(), Some(calls))?;
        self.minimum_calls = Some(calls);
        Ok(())
    }

    pub(crate) fn set_failure_rate(&mut self, rate: f64) -> Result<(), InvalidSetting> {
        check_rate("failure_rate", rate)?;
        self.failure_rate = rate;
        Ok(())
    }

    pub(crate) fn set_slow_calls(&mut self, limit: Duration, rate: f64) -> Result<(), InvalidSetting> {
        ensure!(!limit.is_zero(), "slow_calls: the limit must not be zero");
        check_rate("slow_calls", rate)?;
        self.slow_calls = Some(SlowCalls { limit, rate });
        Ok(())
    }

    pub(crate) fn set_consecutive_failures(&mut self, failures: u32) -> Result<(), InvalidSetting> {
        ensure!(failures >= 1, "consecutive_failures: must be at least 1, but is {failures}");
        ensure!(
            failures <= consecutive_failures::COUNT_MAX,
            "consecutive_failures: must be at most {}, but is {failures}",
            consecutive_failures::COUNT_MAX
        );
        self.consecutive_failures = Some(failures);
        Ok(())
    }

    pub(crate) fn set_outage(&mut self, failures: u32, lasting: Duration) -> Result<(), InvalidSetting> {
        ensure!(
            (1..=consecutive_failures::COUNT_MAX).contains(&failures),
            "outage: the failures must lie between 1 and {}, but are {failures}",
            consecutive_failures::COUNT_MAX
        );
        self.outage = Some(Some(Outage { failures, lasting }));
        Ok(())
    }

    pub(crate) fn unset_outage(&mut self) {
        self.outage = Some(None);
    }

    pub(crate) fn set_open_for(&mut self, open_for: Backoff) -> Result<(), InvalidSetting> {
        let first = open_for.ceiling(0);
        ensure!(!first.is_zero(), "open_for: must not be zero");
        self.open_for = open_for;
        Ok(())
    }

    pub(crate) fn set_honor_retry_after(&mut self, longest: Duration) -> Result<(), InvalidSetting> {
        ensure!(!longest.is_zero(), "honor_retry_after: the longest time must not be zero");
        self.max_retry_after = Some(longest);
        Ok(())
    }

    pub(crate) fn set_half_open_max_calls(&mut self, calls: u32) -> Result<(), InvalidSetting> {
        ensure!(calls >= 1, "half_open_max_calls: must be at least 1, but is {calls}");
        self.half_open_max_calls = calls;
        Ok(())
    }

    pub(crate) fn set_success_threshold(&mut self, successes: u32) -> Result<(), InvalidSetting> {
        ensure!(successes >= 1, "success_threshold: must be at least 1, but is {successes}");
        self.success_threshold = successes;
        Ok(())
    }

    pub(crate) fn set_probe_lease(&mut self, lease: Duration) -> Result<(), InvalidSetting> {
        ensure!(!lease.is_zero(), "probe_lease: must not be zero");
        self.probe_lease = lease;
        Ok(())
    }

    pub(crate) fn set_ramp(&mut self, shares: &[f64], calls: u32) -> Result<(), InvalidSetting> {
        self.ramp = Some(Ramp::new(shares, calls)?);
        Ok(())
    }

    pub(crate) fn set_abandoned(&mut self, abandoned: Abandoned) {
        self.abandoned = Some(abandoned);
    }

    pub(crate) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    pub(crate) fn set_max_partitions(&mut self, partitions: usize) -> Result<(), InvalidSetting> {
        ensure!(partitions >= 1, "max_partitions: must be at least 1, but is {partitions}");
        self.max_partitions = partitions;
        Ok(())
    }

    pub(crate) fn set_redact_labels(&mut self, redact: bool) {
        self.redact_labels = redact;
    }

    pub(crate) fn set_share(&mut self, share: f64) -> Result<(), InvalidSetting> {
        check_rate("nested_in", share)?;
        ensure!(self.share.is_none(), "nested_in: partitions nest once, but this is a second time, with {share}");
        self.share = Some(share);
        Ok(())
    }

    pub(crate) fn set_minimum_children(&mut self, children: u32) -> Result<(), InvalidSetting> {
        ensure!(children >= 2, "minimum_children: must be at least 2, but is {children}");
        self.minimum_children = children;
        Ok(())
    }

    pub(crate) fn set_flight_recorder(&mut self, decisions: usize) -> Result<(), InvalidSetting> {
        ensure!(
            (1..=MAX_DECISIONS).contains(&decisions),
            "flight_recorder: the decisions must lie between 1 and {MAX_DECISIONS}, but are {decisions}"
        );
        self.recorded_decisions = Some(decisions);
        Ok(())
    }

    pub(crate) fn flight_recorder(&self) -> Option<Arc<FlightRecorder>> {
        self.recorded_decisions.map(|decisions| Arc::new(FlightRecorder::new(decisions, self.seed.split("recordings"))))
    }

    pub(crate) fn set_seed(&mut self, seed: u64) {
        self.seed = Seed::of(seed);
    }

    pub(crate) fn seed(&self) -> Seed {
        self.seed
    }

    /// The policy of outer breakers. They have no outcomes of their own, and a mode of forced open or disabled applies
    /// to the inner ones, each of which can then be changed alone.
    pub(crate) fn outer_policy(&self) -> Policy {
        let mode = match self.mode {
            Mode::ForcedOpen | Mode::Disabled => Mode::Automatic,
            mode => mode,
        };
        Policy {
            votes: self.policy().votes,
            seed: self.seed.split("outer open times"),
            ..Self { window: Some(Window::count(1)), minimum_calls: None, ramp: None, mode, ..self.clone() }.policy()
        }
    }

    /// A minimum of calls holds for outages too.
    fn outage(&self) -> Option<Outage> {
        match (self.outage, self.consecutive_failures) {
            (Some(set), _) => set,
            (None, Some(_)) => None,
            (None, None) => {
                let minimum = self.minimum_calls.unwrap_or(0).min(consecutive_failures::COUNT_MAX);
                Some(Outage { failures: DEFAULT_OUTAGE.failures.max(minimum), ..DEFAULT_OUTAGE })
            }
        }
    }

    fn window(&self) -> Window {
        match (self.window, self.share) {
            (Some(window), _) => window,
            // Tenants that call once in a while vote only in a long window.
            (None, Some(_)) => Window::time(NESTED_WINDOW),
            (None, None) => Window::default(),
        }
    }

    fn votes(&self, share: f64, minimum_calls: u32) -> VoteConfig {
        let length = match self.window().kind() {
            Kind::Count(_) => COUNT_WINDOW_VOTES,
            Kind::Time { length, .. } => length,
        };
        let length = nanos(length);
        // Between an eighth and a sixteenth of the window.
        let bucket_shift = (length / 8).ilog2();
        VoteConfig {
            share,
            minimum: self.minimum_children,
            failures: minimum_calls.min(3).into(),
            bucket_shift,
            buckets: length.div_ceil(1 << bucket_shift),
            lease: millis_up(self.probe_lease),
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        let window = self.window().kind();
        let minimum_calls = match (self.minimum_calls, window) {
            (Some(calls), _) => calls,
            (None, Kind::Count(calls)) => DEFAULT_MINIMUM.min(calls),
            (None, Kind::Time { .. }) => DEFAULT_MINIMUM,
        };
        let abandoned_after = match self.abandoned {
            Some(Abandoned::Neutral) => None,
            Some(Abandoned::FailureAfter(limit)) => Some(limit),
            None => self.slow_calls.map(|slow| slow.limit),
        };
        Policy {
            name: self.name.clone(),
            window: WindowConfig::new(window, self.slow_calls.is_some(), minimum_calls.into()),
            engine: EngineConfig {
                half_open: HalfOpenConfig {
                    probing: ProbingConfig {
                        max_calls: self.half_open_max_calls,
                        success_threshold: self.success_threshold,
                        lease: millis_up(self.probe_lease),
                    },
                    ramp: self.ramp.clone().map(|ramp| ramp.within(millis_up(self.open_for.ceiling(0)))),
                    limits: Limits {
                        failure_rate: self.failure_rate,
                        slow_rate: self.slow_calls.map(|slow| slow.rate),
                    },
                },
                open_for: self.open_for.clone(),
                max_retry_after: self.max_retry_after,
                mode: self.mode,
            },
            abandoned_after,
            timeouts_fail: self.abandoned != Some(Abandoned::Neutral),
            max_partitions: self.max_partitions,
            redact_labels: self.redact_labels,
            votes: self.share.map(|share| self.votes(share, minimum_calls)),
            minimum_calls: minimum_calls.into(),
            failure_rate: self.failure_rate,
            slow_calls: self.slow_calls,
            times_calls: self.slow_calls.is_some() || abandoned_after.is_some() || self.recorded_decisions.is_some(),
            consecutive_failures: self.consecutive_failures,
            outage: self.outage(),
            seed: self.seed.split("open times"),
        }
    }
}

fn default_open_for() -> Backoff {
    Backoff::exponential(Duration::from_secs(1), Duration::from_secs(2))
}

fn check_rate(setting: &str, rate: f64) -> Result<(), InvalidSetting> {
    ensure!(rate > 0.0 && rate <= 1.0, "{setting}: the rate must be over 0 and at most 1, but is {rate}");
    Ok(())
}

fn check_minimum(window: Window, minimum: Option<u32>) -> Result<(), InvalidSetting> {
    if let (Kind::Count(calls), Some(minimum)) = (window.kind(), minimum) {
        ensure!(minimum <= calls, "minimum_calls: {minimum} calls never fit into a window of {calls}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy<R>(set: impl FnOnce(&mut Config) -> R) -> Policy {
        let mut config = Config::default();
        set(&mut config);
        config.policy()
    }

    #[test]
    fn rule_8_the_clock_is_read_only_if_a_setting_needs_it() {
        fn reads<R>(set: impl FnOnce(&mut Config) -> R) -> (bool, bool) {
            let policy = policy(set);
            (policy.times_calls, policy.dates_calls())
        }
        assert_eq!(reads(|config| config.set_window(Window::count(100))), (false, false));
        assert_eq!(reads(|_| {}), (false, true), "a window of time needs the end of a call");
        assert_eq!(reads(|config| config.set_slow_calls(SECOND, 1.0)), (true, true));
        assert_eq!(reads(|config| config.set_abandoned(Abandoned::FailureAfter(SECOND))), (true, true));
        assert_eq!(reads(|config| config.set_abandoned(Abandoned::Neutral)), (false, true));
        assert_eq!(reads(|config| config.set_flight_recorder(1)), (true, true));
    }

    #[test]
    fn rule_5_the_default_minimum_is_no_larger_than_the_window() {
        let minimum = |calls| policy(|config| config.set_window(Window::count(calls))).minimum_calls;
        assert_eq!([minimum(1), minimum(9), minimum(10), minimum(1_000)], [1, 9, 10, 20]);
    }
}
