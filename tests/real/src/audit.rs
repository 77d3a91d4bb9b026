//! Compares what was called with what was processed.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use crate::ledger::Ledger;
use crate::load::{Call, Ending, Why};

/// When the scenario itself kept the server from answering, until it accepted again and the breakers were closed.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    pub begun: Instant,
    pub ended: Instant,
}

/// The counts of one run. GET stands for everything idempotent, POST for everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub calls: usize,
    pub gets: usize,
    pub posts: usize,
    /// Calls with a good answer.
    pub good: usize,
    /// Calls that the ledger holds.
    pub processed: usize,
    /// POSTs that the ledger holds more than once.
    pub doubled: usize,
    /// Those of them that something below this crate sent twice: one attempt, two lines.
    pub doubled_below: usize,
    /// GETs without a good answer that no outage explains.
    pub lost: usize,
    /// GETs that found no server during an outage.
    pub unreachable: usize,
    /// GETs that an open circuit or an empty budget ended during an outage.
    pub shed: usize,
    /// GETs whose answer during an outage was 429, 502, 503 or 504.
    pub declined: usize,
    /// GETs whose answer an outage cut off after its head.
    pub cut: usize,
    /// POSTs without a good answer.
    pub failed_posts: usize,
    /// POSTs that failed as "not processed", and were.
    pub untrue: usize,
    /// Calls that did not end.
    pub hung: usize,
    /// Lines of the ledger with a body that the client did not send.
    pub corrupt: usize,
    /// Good answers without a line in the ledger: then the ledger is no proof.
    pub unrecorded: usize,
    /// How the lost GETs ended, and how often.
    pub losses: BTreeMap<String, usize>,
    /// How the failed POSTs ended, and how often.
    pub failures: BTreeMap<String, usize>,
}

impl Audit {
    #[must_use]
    pub fn new(calls: &[Call], ledger: &Ledger, outages: &[Outage]) -> Self {
        let mut audit = Self::default();
        for call in calls {
            audit.add(call, ledger, outages);
        }
        audit
    }

    fn add(&mut self, call: &Call, ledger: &Ledger, outages: &[Outage]) {
        let entry = ledger.get(call.id);
        let sends = entry.map_or(&[][..], |entry| &entry.sends);
        let good = call.ending == Ending::Good;
        self.calls += 1;
        self.good += usize::from(good);
        self.processed += usize::from(!sends.is_empty());
        self.corrupt += entry.map_or(0, |entry| entry.corrupt);
        self.unrecorded += usize::from(good && sends.is_empty());
        self.hung += usize::from(call.ending == Ending::Hung);
        if call.kind.is_idempotent() {
            self.gets += 1;
            if !good {
                self.add_failed_get(call, outages);
            }
        } else {
            self.posts += 1;
            self.failed_posts += usize::from(!good);
            if sends.len() > 1 {
                self.doubled += 1;
                let attempts: HashSet<_> = sends.iter().collect();
                self.doubled_below += usize::from(attempts.len() < sends.len());
            }
            self.untrue += usize::from(!sends.is_empty() && call.ending.claims_unprocessed());
            if !good {
                *self.failures.entry(call.ending.describe()).or_default() += 1;
            }
        }
    }

    fn add_failed_get(&mut self, call: &Call, outages: &[Outage]) {
        let during = outages.iter().any(|outage| call.begun <= outage.ended && outage.begun <= call.ended);
        let column = match &call.ending {
            Ending::Declined { status: 429 | 502 | 503 | 504, .. } if during => &mut self.declined,
            Ending::Failed { why: Why::Unreachable, .. } if during => &mut self.unreachable,
            Ending::Failed { why: Why::Body, .. } if during => &mut self.cut,
            Ending::Failed { why: Why::CircuitOpen | Why::Budget, .. } if during => &mut self.shed,
            ending => {
                *self.losses.entry(ending.describe()).or_default() += 1;
                &mut self.lost
            }
        };
        *column += 1;
    }

    /// Whether nothing is wrong with a run but that GETs were lost.
    #[must_use]
    pub fn only_lost(&self) -> bool {
        self.lost > 0 && Self { lost: 0, losses: BTreeMap::new(), ..self.clone() }.faults().is_empty()
    }

    /// What is wrong with a run: first whether its counts mean anything, then what it shows of the stack.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let counted = [
            (self.doubled, "POSTs were processed twice"),
            (self.untrue, "POSTs were processed although their errors deny it"),
            (self.lost, "GETs were lost"),
        ];
        let mut faults = self.flaws();
        faults.extend(
            counted.into_iter().filter(|(count, _)| *count > 0).map(|(count, fault)| format!("{count} {fault}")),
        );
        faults.extend(self.losses.iter().map(|(text, count)| format!("  lost {count}: {text}")));
        faults
    }

    /// Why the counts of a run mean nothing.
    #[must_use]
    pub fn flaws(&self) -> Vec<String> {
        let counted = [
            (self.unrecorded, "good answers are missing in the ledger"),
            (self.corrupt, "bodies were not what was sent"),
            (self.hung, "calls hung"),
        ];
        let mut flaws: Vec<_> = counted
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, flaw)| format!("{count} {flaw}"))
            .collect();
        // A run of nothing but rejections would find nothing.
        if self.good * 20 < self.calls || self.good == 0 {
            flaws.push(format!("only {} good answers of {} calls", self.good, self.calls));
        }
        flaws
    }
}

impl Ending {
    const fn claims_unprocessed(&self) -> bool {
        matches!(self, Self::Declined { unprocessed: true, .. } | Self::Failed { unprocessed: true, .. })
    }

    fn describe(&self) -> String {
        match self {
            Self::Good => "good".to_owned(),
            Self::Declined { status, .. } => format!("status {status}"),
            Self::Failed { text, .. } => text.clone(),
            Self::Hung => "hung".to_owned(),
        }
    }
}
