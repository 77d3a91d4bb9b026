//! A recording as a text: a line for each decision, with its label last, because a label may hold spaces.
//!
//! ```text
//! tower-rampart flight recording 1
//! 2 decisions of billing-api
//! 12.345678901 ended failure 0.020000000 - call #0123456789abcdef
//! 12.345678901 changed closed open automatic failure-rate #0123456789abcdef
//! ```

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::decision::{BY_OUTER, CAUSES, CountedAs, Decision, HEALTHS, KINDS_OF_COUNT, MODES, STATES};
use super::recording::{Record, Recording};
use crate::breaker::{Cause, Mode, State};
use crate::classify::Health;

/// A text that is no [`Recording`]. The message names the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseRecordingError {
    line: usize,
    expected: &'static str,
}

/// A value of a small set, as one word.
trait Word: Copy + 'static {
    fn word(self) -> &'static str;
}

struct Seconds(Duration);

const TITLE: &str = "tower-rampart flight recording 1";
const NONE: &str = "-";

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head())?;
        self.records.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

/// One line of a recording.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, partition, decision } = self;
        write!(f, "{} ", Seconds(*at))?;
        match decision {
            Decision::Ended { health, took, retry_after, counted_as } => {
                write!(f, "ended {} {} ", health.word(), Seconds(*took))?;
                match retry_after {
                    Some(hint) => write!(f, "{} {}", Seconds(*hint), counted_as.word())?,
                    None => write!(f, "{NONE} {}", counted_as.word())?,
                }
            }
            Decision::Rejected { state, by_outer } => {
                write!(f, "rejected {} {} {NONE} {NONE}", state.word(), by_outer.word())?;
            }
            Decision::Changed { from, to, mode, cause } => {
                write!(f, "changed {} {} {} {}", from.word(), to.word(), mode.word(), cause.word())?;
            }
        }
        write!(f, " {partition}")
    }
}

impl Recording {
    /// The lines before the decisions.
    pub(crate) fn head(&self) -> String {
        format!("{TITLE}\n{} decisions of {}\n", self.decisions, self.name)
    }
}

impl FromStr for Recording {
    type Err = ParseRecordingError;

    fn from_str(text: &str) -> Result<Self, ParseRecordingError> {
        let mut lines = text.lines();
        let title = lines.next().filter(|line| *line == TITLE);
        title.ok_or(ParseRecordingError { line: 1, expected: TITLE })?;
        let head = lines.next().and_then(|line| line.split_once(" decisions of "));
        let (decisions, name) = head
            .and_then(|(decisions, name)| Some((decisions.parse().ok()?, name.to_owned())))
            .ok_or(ParseRecordingError { line: 2, expected: "the number of decisions and the name" })?;
        let records = lines
            .zip(3..)
            .map(|(line, number)| {
                record(line).ok_or(ParseRecordingError { line: number, expected: "a time, a decision and a label" })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { name, decisions, records })
    }
}

fn record(line: &str) -> Option<Record> {
    let mut fields = line.splitn(7, ' ');
    let mut next = || fields.next();
    let (at, kind) = (seconds(next()?)?, next()?);
    let (first, second, third, fourth) = (next()?, next()?, next()?, next()?);
    let decision = match kind {
        "ended" => Decision::Ended {
            health: find(&HEALTHS, first)?,
            took: seconds(second)?,
            retry_after: if third == NONE { None } else { Some(seconds(third)?) },
            counted_as: find(&KINDS_OF_COUNT, fourth)?,
        },
        "rejected" => Decision::Rejected { state: find(&STATES, first)?, by_outer: find(&BY_OUTER, second)? },
        "changed" => Decision::Changed {
            from: find(&STATES, first)?,
            to: find(&STATES, second)?,
            mode: find(&MODES, third)?,
            cause: find(&CAUSES, fourth)?,
        },
        _ => return None,
    };
    Some(Record { at, partition: next()?.into(), decision })
}

fn find<T: Word>(values: &[T], word: &str) -> Option<T> {
    values.iter().copied().find(|value| value.word() == word)
}

/// Seconds with nine digits of a fraction, and no sign: exact, unlike a floating-point number.
fn seconds(text: &str) -> Option<Duration> {
    let (seconds, nanos) = text.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if nanos.len() != 9 || !is_number(nanos) || !is_number(seconds) {
        return None;
    }
    let time = Duration::new(seconds.parse().ok()?, nanos.parse().ok()?);
    // No clock of a layer counts further, and a replay adds it to a moment.
    u64::try_from(time.as_nanos()).is_ok().then_some(time)
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0.as_secs(), self.0.subsec_nanos())
    }
}

impl Word for Health {
    fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Throttled => "throttled",
            Self::Neutral => "neutral",
        }
    }
}

impl Word for CountedAs {
    fn word(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Probe => "probe",
            Self::Late => "late",
            Self::Uncounted => "uncounted",
        }
    }
}

impl Word for State {
    fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl Word for bool {
    fn word(self) -> &'static str {
        if self { "outer" } else { "own" }
    }
}

impl Word for Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::ForcedOpen => "forced-open",
            Self::Disabled => "disabled",
            Self::ObserveOnly => "observe-only",
            Self::RejectRetriesOnly => "reject-retries-only",
        }
    }
}

impl Word for Cause {
    fn word(self) -> &'static str {
        match self {
            Self::FailureRate => "failure-rate",
            Self::SlowRate => "slow-rate",
            Self::ConsecutiveFailures => "consecutive-failures",
            Self::Outage => "outage",
            Self::PartitionsOpen => "partitions-open",
            Self::OpenTimeOver => "open-time-over",
            Self::ProbesSucceeded => "probes-succeeded",
            Self::ProbeFailed => "probe-failed",
            Self::ByHand => "by-hand",
        }
    }
}

impl fmt::Display for ParseRecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, expected } = self;
        write!(f, "line {line} of the flight recording must hold {expected}")
    }
}

impl Error for ParseRecordingError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Recording>().map_or_else(|error| error.to_string(), |read| format!("read {read:?}"))
    }

    #[test]
    fn what_is_no_recording_names_the_line() {
        let head = format!("{TITLE}\n7 decisions of billing");
        assert_eq!(error(""), format!("line 1 of the flight recording must hold {TITLE}"));
        assert_eq!(error(TITLE), "line 2 of the flight recording must hold the number of decisions and the name");
        for line in [
            "",
            "1.000000000 ended success 0.000000000 - call",
            "1.0 ended success 0.000000000 - call tenant",
            "-1.000000000 ended success 0.000000000 - call tenant",
            "+1.000000000 ended success 0.000000000 - call tenant",
            "99999999999999999999.000000000 ended success 0.000000000 - call tenant",
            "18446744073.709551616 ended success 0.000000000 - call tenant",
            "1.000000000 ended success 18446744073.709551616 - call tenant",
            "1.000000000 ended well 0.000000000 - call tenant",
            "1.000000000 rejected open both - - tenant",
            "1.000000000 began - - - - tenant",
        ] {
            let text = format!("{head}\n1.000000000 rejected open own - - a b\n{line}\n");
            assert_eq!(
                error(&text),
                "line 4 of the flight recording must hold a time, a decision and a label",
                "{line}"
            );
        }
    }
}
