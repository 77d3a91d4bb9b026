use std::time::Duration;

use serde::Serialize;

/// What a run showed of one upstream and the calls to it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Calls made.
    pub calls: u64,
    /// Requests that reached the upstream.
    pub attempts: u64,
    /// Calls that ended with an answer of success.
    pub good: u64,
    /// Calls that ended otherwise after at least one attempt.
    pub failed: u64,
    /// Calls that ended without any attempt.
    pub rejected: u64,
    /// Those of them that came while the upstream would have answered.
    pub rejected_in_vain: u64,
    /// Seconds of work on requests whose caller had left, or whose server went down.
    pub wasted_work: f64,
    /// Seconds of work in all.
    pub work: f64,
    /// Seconds that a request waited for a server on average.
    pub mean_queueing: f64,
    /// Latency of good calls.
    pub latency_ms: Latencies,
    /// The calls of each tenant. Empty without tenants.
    pub tenants: Vec<TenantCalls>,
    /// By the second in which the calls began; attempts and changes of breakers by the second in which they came.
    pub seconds: Vec<Second>,
    /// The report of the upstream that this one [calls](crate::Upstream::calling). Its calls are those of the handlers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Box<Report>>,
}

/// Milliseconds in which the share of the calls was answered that the name says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Latencies {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
}

/// The calls of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TenantCalls {
    /// Calls made.
    pub calls: u64,
    /// Calls that ended with an answer of success.
    pub good: u64,
}

/// One second of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Calls that began.
    pub calls: u32,
    /// Requests that reached the upstream.
    pub attempts: u32,
    /// Calls that began in it and ended well.
    pub good: u32,
    /// Calls that began in it and were never sent.
    pub rejected: u32,
    /// Breakers that opened, those that were half-open included. Counted for [watched](crate::Process::watch) breakers.
    pub opened: u32,
    /// Breakers that closed.
    pub closed: u32,
    /// The longest time that the upstream took for a request which came in it, also if its caller did not wait so long.
    pub longest_answer_ms: u32,
}

impl Report {
    /// The load of the worst second: requests in it per call that is usual.
    #[must_use]
    pub fn worst_load(&self) -> f64 {
        let usual = self.calls as f64 / self.seconds.iter().filter(|second| second.calls > 0).count().max(1) as f64;
        self.seconds.iter().map(|second| f64::from(second.attempts)).fold(0.0, f64::max) / usual
    }

    /// Requests that reached the upstream per call.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        self.attempts as f64 / self.calls.max(1) as f64
    }

    /// The second in which the first [watched](crate::Process::watch) breaker opened.
    #[must_use]
    pub fn opened_at(&self) -> Option<Duration> {
        let first = self.seconds.iter().position(|second| second.opened > 0)?;
        Some(Duration::from_secs(first as u64))
    }

    /// The time from which on every second had at least this share of its calls answered well; `None` if the last
    /// second had not.
    #[must_use]
    pub fn recovered_at(&self, share: f64) -> Option<Duration> {
        let is_good = |second: &Second| f64::from(second.good) >= share * f64::from(second.calls);
        let called = self.seconds.iter().rposition(|second| second.calls > 0)? + 1;
        let bad = self.seconds[..called].iter().rposition(|second| !is_good(second));
        match bad {
            Some(bad) if bad + 1 == called => None,
            bad => Some(Duration::from_secs(bad.map_or(0, |bad| bad as u64 + 1))),
        }
    }

    /// The time from which on the upstream answered every request within `limit`: requests that came before were sent
    /// in vain, whatever protects the calls. An upstream that is well again may first have to work off a backlog.
    #[must_use]
    pub fn answering_from(&self, limit: Duration) -> Duration {
        let is_late = |second: &Second| u128::from(second.longest_answer_ms) > limit.as_millis();
        Duration::from_secs(self.seconds.iter().rposition(is_late).map_or(0, |late| late as u64 + 1))
    }

    /// The reports of all tiers: this one, and those of the upstreams below it, in the order of the calls.
    pub fn tiers(&self) -> impl Iterator<Item = &Report> {
        std::iter::successors(Some(self), |report| report.next.as_deref())
    }
}

impl TenantCalls {
    /// The share of the calls that ended with an answer of success; 1 without calls.
    #[must_use]
    pub fn answered(&self) -> f64 {
        if self.calls == 0 { 1.0 } else { self.good as f64 / self.calls as f64 }
    }
}
