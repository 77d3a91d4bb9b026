use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_rampart::breaker::{Decision, Record, State};
use tower_rampart::classify::Health;

/// What became of the calls in a recording, as recorded and with other settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay {
    /// As recorded.
    pub recorded: Outcome,
    /// With the other settings.
    pub replayed: Outcome,
}

/// What breakers did with the calls of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// When each opening came, in the time of the recording, and of which partition.
    pub openings: Vec<(Duration, Arc<str>)>,
    /// Rejected calls.
    pub rejected: u64,
    /// Of those, calls that had succeeded when they were recorded.
    pub rejected_good: u64,
    /// Of those, calls that had failed, or were throttled, when they were recorded.
    pub rejected_failed: u64,
    /// Calls that were admitted though they had been rejected when they were recorded, so that nothing is known of them.
    pub unknown: u64,
}

impl Outcome {
    pub(super) fn recorded(records: &[Record]) -> Self {
        let mut recorded = Self::default();
        for record in records {
            match record.decision {
                Decision::Rejected { .. } => recorded.reject(None),
                Decision::Changed { from, to: State::Open, .. } if from != State::Open => {
                    recorded.open(record.at, &record.partition);
                }
                _ => {}
            }
        }
        recorded
    }

    pub(super) fn open(&mut self, at: Duration, partition: &Arc<str>) {
        self.openings.push((at, partition.clone()));
    }

    /// Counts a rejected call, which had this health if it was admitted when it was recorded.
    pub(super) fn reject(&mut self, health: Option<Health>) {
        self.rejected += 1;
        match health {
            Some(Health::Success) => self.rejected_good += 1,
            Some(Health::Failure | Health::Throttled) => self.rejected_failed += 1,
            Some(Health::Neutral) | None => {}
        }
    }

    fn first(&self) -> Option<Duration> {
        self.openings.first().map(|(at, _)| *at)
    }
}

/// In sentences, for a terminal.
impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recorded, replayed } = self;
        writeln!(f, "recorded: {}", Sentence(recorded))?;
        writeln!(f, "replayed: {}", Sentence(replayed))?;
        match (recorded.first(), replayed.first()) {
            (Some(before), Some(after)) if after < before => writeln!(f, "Opens {:?} earlier.", before - after)?,
            (Some(before), Some(after)) if after > before => writeln!(f, "Opens {:?} later.", after - before)?,
            (Some(_), Some(_)) => writeln!(f, "Opens at the same time.")?,
            (Some(_), None) => writeln!(f, "Does not open.")?,
            (None, Some(after)) => writeln!(f, "Opens after {after:?}, and did not before.")?,
            (None, None) => writeln!(f, "Opens in neither.")?,
        }
        let Outcome { rejected_good, rejected_failed, unknown, .. } = replayed;
        if replayed.rejected > 0 {
            let good = count(*rejected_good, "call");
            writeln!(f, "Rejects {good} that worked, and {rejected_failed} that failed.")?;
        }
        if *unknown > 0 {
            let unknown = count(*unknown, "rejected call");
            writeln!(f, "Admits {unknown}, of which nothing more is known.")?;
        }
        Ok(())
    }
}

struct Sentence<'a>(&'a Outcome);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { openings, rejected, .. } = self.0;
        write!(f, "{}, ", count(openings.len() as u64, "opening"))?;
        if let Some((at, partition)) = openings.first() {
            write!(f, "the first after {at:?} of {partition}, ")?;
        }
        write!(f, "{} rejected", count(*rejected, "call"))
    }
}

/// `1 call`, `2 calls`.
fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
