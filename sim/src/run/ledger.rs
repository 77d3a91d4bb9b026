use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::{Latencies, Report, Second, TenantCalls};

/// What comes after twelve days counts as of the twelfth: a call without a timeout may be retried after years.
const LAST_SECOND: u64 = 1 << 20;

/// What is counted at one upstream while a run goes on. Grows with the seconds and tenants of the run, not with its
/// calls.
#[derive(Debug)]
pub(crate) struct Ledger {
    seconds: Vec<Second>,
    tenants: Vec<TenantCalls>,
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

impl Ledger {
    pub(crate) fn new(tenants: usize) -> Self {
        Self {
            seconds: Vec::new(),
            tenants: vec![TenantCalls::default(); tenants],
            // Up to an hour in milliseconds, to 0.1 %: constants that the constructor accepts.
            latency: Histogram::new_with_max(3_600_000, 3).unwrap_or_else(|_| unreachable!()),
            served: 0,
            queueing: Duration::ZERO,
            work: Duration::ZERO,
            wasted: Duration::ZERO,
            rejected_in_vain: 0,
        }
    }

    fn second(&mut self, at: Duration) -> &mut Second {
        let second = at.as_secs().min(LAST_SECOND) as usize;
        if second >= self.seconds.len() {
            self.seconds.resize(second + 1, Second::default());
        }
        &mut self.seconds[second]
    }

    pub(crate) fn called(&mut self, at: Duration, tenant: u32) {
        self.second(at).calls += 1;
        self.tenants.get_mut(tenant as usize).into_iter().for_each(|tenant| tenant.calls += 1);
    }

    pub(crate) fn sent(&mut self, at: Duration) {
        self.second(at).attempts += 1;
    }

    pub(crate) fn opened(&mut self, at: Duration) {
        self.second(at).opened += 1;
    }

    pub(crate) fn closed(&mut self, at: Duration) {
        self.second(at).closed += 1;
    }

    pub(crate) fn served(&mut self, came: Duration, queueing: Duration, work: Duration) {
        let longest = &mut self.second(came).longest_answer_ms;
        *longest = (*longest).max(u32::try_from(queueing.saturating_add(work).as_millis()).unwrap_or(u32::MAX));
        self.served += 1;
        self.queueing = self.queueing.saturating_add(queueing);
        self.work = self.work.saturating_add(work);
    }

    pub(crate) fn wasted(&mut self, work: Duration) {
        self.wasted = self.wasted.saturating_add(work);
    }

    pub(crate) fn ended(&mut self, began: Duration, took: Duration, tenant: u32, ending: Ending) {
        match ending {
            Ending::Good => {
                self.second(began).good += 1;
                self.tenants.get_mut(tenant as usize).into_iter().for_each(|tenant| tenant.good += 1);
                self.latency.saturating_record(took.as_millis() as u64);
            }
            Ending::Failed => {}
            Ending::Rejected { in_vain } => {
                self.second(began).rejected += 1;
                self.rejected_in_vain += u64::from(in_vain);
            }
        }
    }

    /// The report of this upstream, and of the tiers below it.
    pub(crate) fn report(&self, next: Option<Report>) -> Report {
        let sum = |of: fn(&Second) -> u32| self.seconds.iter().map(|second| u64::from(of(second))).sum::<u64>();
        let (calls, good, rejected) = (sum(|s| s.calls), sum(|s| s.good), sum(|s| s.rejected));
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|quantile| self.latency.value_at_quantile(quantile));
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
            latency_ms: Latencies { p50, p90, p99, p999 },
            tenants: self.tenants.clone(),
            seconds: self.seconds.clone(),
            next: next.map(Box::new),
        }
    }
}
