use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// What a run showed.
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
    /// Seconds of work on requests whose caller had left.
    pub wasted_work: f64,
    /// Seconds of work in all.
    pub work: f64,
    /// Seconds that a request waited for a server on average.
    pub mean_queueing: f64,
    /// Latency of good calls in milliseconds: 50 %, 99 % and 99.9 % were no slower.
    pub latency_ms: [u64; 3],
    /// By the second in which the calls began; attempts by the second in which they came.
    pub seconds: Vec<Second>,
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
}

/// What is counted while a run goes on.
#[derive(Debug)]
pub(crate) struct Ledger {
    seconds: Vec<Second>,
    latency: Histogram<u64>,
    served: u64,
    queueing: Duration,
    work: Duration,
    wasted: Duration,
    rejected_in_vain: u64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Good,
    Failed,
    Rejected { in_vain: bool },
}

impl Report {
    /// The load of the worst second: requests in it per call that is usual.
    #[must_use]
    pub fn worst_load(&self) -> f64 {
        let usual = self.calls as f64 / self.seconds.iter().filter(|second| second.calls > 0).count().max(1) as f64;
        self.seconds.iter().map(|second| f64::from(second.attempts)).fold(0.0, f64::max) / usual
    }

    /// The time from which on every second had at least this share of its calls answered well; `None` if the last second
    /// had not.
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
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            seconds: Vec::new(),
            // Up to an hour in milliseconds, to 0.1 %: constants that the constructor accepts.
            latency: Histogram::new_with_max(3_600_000, 3).unwrap_or_else(|_| unreachable!()),
            served: 0,
            queueing: Duration::ZERO,
            work: Duration::ZERO,
            wasted: Duration::ZERO,
            rejected_in_vain: 0,
        }
    }
}

impl Ledger {
    fn second(&mut self, at: Duration) -> &mut Second {
        let second = at.as_secs() as usize;
        if second >= self.seconds.len() {
            self.seconds.resize(second + 1, Second::default());
        }
        &mut self.seconds[second]
    }

    pub(crate) fn called(&mut self, at: Duration) {
        self.second(at).calls += 1;
    }

    pub(crate) fn sent(&mut self, at: Duration) {
        self.second(at).attempts += 1;
    }

    pub(crate) fn served(&mut self, queueing: Duration, work: Duration) {
        self.served += 1;
        self.queueing += queueing;
        self.work += work;
    }

    pub(crate) fn wasted(&mut self, work: Duration) {
        self.wasted += work;
    }

    pub(crate) fn ended(&mut self, began: Duration, took: Duration, ending: Ending) {
        match ending {
            Ending::Good => {
                self.second(began).good += 1;
                self.latency.saturating_record(took.as_millis() as u64);
            }
            Ending::Failed => {}
            Ending::Rejected { in_vain } => {
                self.second(began).rejected += 1;
                self.rejected_in_vain += u64::from(in_vain);
            }
        }
    }

    pub(crate) fn report(&self) -> Report {
        let sum = |of: fn(&Second) -> u32| self.seconds.iter().map(|second| u64::from(of(second))).sum::<u64>();
        let (calls, good, rejected) = (sum(|s| s.calls), sum(|s| s.good), sum(|s| s.rejected));
        Report {
            calls,
            attempts: sum(|s| s.attempts),
            good,
            failed: calls - good - rejected,
            rejected,
            rejected_in_vain: self.rejected_in_vain,
            wasted_work: self.wasted.as_secs_f64(),
            work: self.work.as_secs_f64(),
            mean_queueing: self.queueing.as_secs_f64() / self.served.max(1) as f64,
            latency_ms: [0.5, 0.99, 0.999].map(|quantile| self.latency.value_at_quantile(quantile)),
            seconds: self.seconds.clone(),
        }
    }
}
