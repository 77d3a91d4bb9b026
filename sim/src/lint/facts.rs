use std::time::Duration;

use serde::Deserialize;

use super::text;

/// What the settings have to fit.
///
/// ```
/// use rampart_sim::lint::Facts;
///
/// let facts: Facts = serde_json::from_str(
///     r#"{ "processes": 40, "calls_per_second": 2.5, "capacity": 125, "typical_outage": "2m" }"#,
/// )?;
/// assert_eq!(facts.utilisation(), 0.8);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Processes that call the upstream, each with a stack of its own.
    pub processes: u32,
    /// Calls a second of one process on one breaker: of one host or tenant, if each has a breaker.
    #[serde(deserialize_with = "text::positive")]
    pub calls_per_second: f64,
    /// Requests a second that the upstream can answer, all processes together.
    #[serde(deserialize_with = "text::positive")]
    pub capacity: f64,
    /// Tiers of services that call each other and all retry with these settings. Default: 1.
    #[serde(default = "one")]
    pub tiers: u32,
    /// The share of the calls that fails while the upstream is well. Default: 0.01.
    #[serde(default = "default_failures", deserialize_with = "text::share")]
    pub usual_failures: f64,
    /// How long an answer takes that is still usual, such as the 99 % quantile. Default: 100 ms.
    #[serde(default = "default_latency", deserialize_with = "text::positive_duration")]
    pub typical_latency: Duration,
    /// How long the upstream is in trouble, when it is. Default: 60 s.
    #[serde(default = "default_outage", deserialize_with = "text::positive_duration")]
    pub typical_outage: Duration,
}

impl Facts {
    /// So many processes with so many calls a second each, and an upstream that can answer this many a second;
    /// everything else is the default.
    #[must_use]
    pub fn new(processes: u32, calls_per_second: f64, capacity: f64) -> Self {
        Self {
            processes,
            calls_per_second,
            capacity,
            tiers: one(),
            usual_failures: default_failures(),
            typical_latency: default_latency(),
            typical_outage: default_outage(),
        }
    }

    /// The share of the capacity that calls take while nothing fails.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        self.calls() / self.capacity
    }

    /// What protects an upstream must work, and end, within this part of an outage, in seconds.
    pub(super) fn soon(&self) -> f64 {
        self.typical_outage.as_secs_f64() / 4.0
    }

    /// Calls a second of all processes.
    pub(super) fn calls(&self) -> f64 {
        f64::from(self.processes) * self.calls_per_second
    }
}

fn one() -> u32 {
    1
}

fn default_failures() -> f64 {
    0.01
}

fn default_latency() -> Duration {
    Duration::from_millis(100)
}

fn default_outage() -> Duration {
    Duration::from_secs(60)
}
