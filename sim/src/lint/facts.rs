use std::time::Duration;

/// What the settings have to fit.
///
/// ```
/// use rampart_sim::lint::Facts;
///
/// let facts = Facts::new(40, 2.5, 125.0);
/// assert_eq!(facts.utilisation(), 0.8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Processes that call the upstream, each with a stack of its own.
    pub processes: u32,
    /// Calls a second of one process on one breaker: of one host or tenant, if each has a breaker.
    pub calls_per_second: f64,
    /// Requests a second that the upstream can answer, all processes together.
    pub capacity: f64,
    /// Tiers of services that call each other and all retry with these settings. Default: 1.
    pub tiers: u32,
    /// The share of the calls that fails while the upstream is well. Default: 0.01.
    pub usual_failures: f64,
    /// How long an answer takes that is still usual, such as the 99 % quantile. Default: 100 ms.
    pub typical_latency: Duration,
    /// How long the upstream is in trouble, when it is. Default: 60 s.
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
            tiers: 1,
            usual_failures: 0.01,
            typical_latency: Duration::from_millis(100),
            typical_outage: Duration::from_secs(60),
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
