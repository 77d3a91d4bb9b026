use super::Kind::{Counter, Gauge};

/// One metric: its name, what it is and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name in OpenTelemetry and in the facade `metrics`.
    pub name: &'static str,
    /// The name in Prometheus.
    pub prometheus: &'static str,
    /// Whether it can fall.
    pub kind: Kind,
    /// The unit as OpenTelemetry writes it: `s`, or what is counted in braces.
    pub unit: &'static str,
    /// What it counts.
    pub help: &'static str,
}

/// Whether a metric can fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process restarts.
    Counter,
    /// It rises and falls.
    Gauge,
}

macro_rules! metrics {
    ($($constant:ident: $name:literal, $prometheus:literal, $kind:ident, $unit:literal, $help:literal;)+) => {
        impl Metric {
            $(
                #[doc = concat!("`", $name, "`: ", $help)]
                pub const $constant: Self =
                    Self { name: $name, prometheus: $prometheus, kind: $kind, unit: $unit, help: $help };
            )+

            /// All metrics.
            pub const ALL: &[Self] = &[$(Self::$constant),+];
        }
    };
}

metrics! {
    BREAKER_PARTITIONS: "rampart.breaker.partitions", "rampart_breaker_partitions", Gauge, "{partition}",
        "Breakers in use, by state.";
    BREAKER_CALLS: "rampart.breaker.calls", "rampart_breaker_calls_total", Counter, "{call}",
        "Calls by outcome: those that counted as success or failure, and those that were rejected.";
    BREAKER_TRANSITIONS: "rampart.breaker.transitions", "rampart_breaker_transitions_total", Counter, "{transition}",
        "Changes of state, by cause.";
    BREAKER_PROBES: "rampart.breaker.probes", "rampart_breaker_probes_total", Counter, "{probe}",
        "Probes and calls of a ramp that ended while their half-open period lasted, by result.";
    BREAKER_OVERFLOWED: "rampart.breaker.overflowed", "rampart_breaker_overflowed_total", Counter, "{call}",
        "Calls that shared a breaker because all partitions were in use.";
    BREAKER_OPEN: "rampart.breaker.open", "rampart_breaker_open_seconds", Gauge, "s",
        "Time since a breaker was last closed, of the 20 that have not been for the longest time.";
    RETRY_CALLS: "rampart.retry.calls", "rampart_retry_calls_total", Counter, "{call}",
        "Calls that succeeded after a retry, and calls that failed, by why there was no further attempt.";
    RETRY_ATTEMPTS: "rampart.retry.attempts", "rampart_retry_attempts_total", Counter, "{attempt}",
        "Further attempts, by the reason of the failure before.";
    RETRY_RESENDS: "rampart.retry.resends", "rampart_retry_resends_total", Counter, "{request}",
        "Transparent retries: requests that a connection gave back and that were sent again at once.";
    RETRY_WAIT: "rampart.retry.wait", "rampart_retry_wait_seconds_sum", Counter, "s",
        "Waits before further attempts.";
    RETRY_WAITS: "rampart.retry.waits", "rampart_retry_wait_seconds_count", Counter, "{wait}",
        "Number of waits before further attempts.";
    RETRY_HEDGES: "rampart.retry.hedges", "rampart_retry_hedges_total", Counter, "{attempt}",
        "Hedges that were sent.";
    RETRY_BUDGET: "rampart.retry.budget.balance", "rampart_retry_budget_balance", Gauge, "{token}",
        "Tokens of the retry budget, of the emptiest one if there are several.";
    RETRY_OVERFLOWED: "rampart.retry.overflowed", "rampart_retry_overflowed_total", Counter, "{call}",
        "Calls that shared a budget because all partitions were in use.";
}

impl Metric {
    /// Its place in [`ALL`](Self::ALL).
    pub(super) fn place(&self) -> usize {
        Self::ALL.iter().position(|metric| metric == self).unwrap_or(Self::ALL.len())
    }
}
