use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::decision::Decision;
use super::entry::Entry;
use crate::registry::label::in_one_line;

/// The last decisions of the breakers of a layer, oldest first: a copy of its
/// [flight recorder](crate::CircuitBreakerLayer::flight_recorder).
///
/// Its [`Display`](std::fmt::Display) is a text with a line for each decision, which [`FromStr`](std::str::FromStr)
/// reads back. `rampart-sim replay` runs such a file through other settings.
///
/// ```
/// use tower_rampart::CircuitBreakerLayer;
/// use tower_rampart::breaker::{Decision, Recording, State};
///
/// let layer = CircuitBreakerLayer::new_for_http().name("billing-api").flight_recorder(1_000).consecutive_failures(1);
/// let breaker = layer.breaker();
/// breaker.try_acquire()?.fail();
/// assert!(breaker.try_acquire().is_err());
///
/// let recording = layer.handle().recording();
/// assert!(matches!(recording.records()[1].decision, Decision::Changed { to: State::Open, .. }));
/// assert_eq!(recording.records().len(), 3);
///
/// let text = recording.to_string();
/// assert_eq!(text.parse::<Recording>()?, recording);
/// # Ok::<(), tower_rampart::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    pub(super) name: String,
    pub(super) decisions: u64,
    pub(super) records: Vec<Record>,
}

/// One decision in a [`Recording`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The time since the breakers of the layer were made.
    pub at: Duration,
    /// The label of the partition, or a keyed digest of it: `#` and 16 hexadecimal digits. A label has at most 64
    /// characters, so keys that begin with the same ones look alike.
    pub partition: Arc<str>,
    /// What was decided.
    pub decision: Decision,
}

impl Recording {
    pub(super) fn new(
        name: &str,
        decisions: u64,
        entries: impl Iterator<Item = Entry>,
        mut labels: HashMap<u64, Arc<str>>,
    ) -> Self {
        let mut record = |Entry { at, partition, decision }| {
            let digest = || format!("#{partition:016x}").into();
            let partition = labels.entry(partition).or_insert_with(digest).clone();
            Record { at: Duration::from_nanos(at), partition, decision }
        };
        Self { name: in_one_line(name), decisions, records: entries.map(&mut record).collect() }
    }

    pub(crate) fn empty(name: &str) -> Self {
        Self::new(name, 0, std::iter::empty(), HashMap::new())
    }

    /// The name of the layer's breakers.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of decisions since the breakers were made, including those that are no longer kept.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.decisions
    }

    /// The decisions that are kept, oldest first.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}
