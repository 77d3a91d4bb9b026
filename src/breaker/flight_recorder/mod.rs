//! The last decisions of the breakers of a layer, kept in a ring, to learn afterwards why one opened.
//!
//! [`flight_recorder`](crate::CircuitBreakerLayer::flight_recorder) turns it on, and
//! [`Handle::recording`](super::Handle::recording) copies it out at any time.
//!
//! 1. The ring is bounded: 32 bytes a decision, allocated once. The newest overwrites the oldest.
//! 2. Nothing waits: a call writes four words without a lock, and a copy that is made meanwhile leaves out what is just
//!    being written.
//! 3. Partitions stand in it as keyed digests, and so in a recording, unless it is made [with
//!    labels](super::Handle::recording_with_labels).
//! 4. A layer without a recorder pays nothing for it.

mod decision;
mod entry;
mod recording;
mod ring;
mod text;

use std::hash::BuildHasher;

use self::entry::Entry;
use self::ring::Ring;
use crate::clock::Moment;
use crate::seed::{HashState, Seed};

pub use self::decision::{CountedAs, Decision};
pub use self::recording::{Record, Recording};
pub use self::text::ParseRecordingError;

/// The ring of one layer.
#[derive(Debug)]
pub(crate) struct FlightRecorder {
    ring: Ring,
    /// Labels cannot be guessed back from their digests: unless seeded, the hash is keyed anew in every layer.
    digests: HashState,
}

/// The most decisions that a layer can be asked to keep: 512 MiB of them.
pub(crate) const MAX_DECISIONS: usize = 1 << 24;

impl FlightRecorder {
    pub(crate) fn new(decisions: usize, seed: Seed) -> Self {
        Self { ring: Ring::new(decisions), digests: seed.hash_state() }
    }

    pub(crate) fn record(&self, at: Moment, label: &str, decision: Decision) {
        let entry = Entry { at: at.nanos(), partition: self.digest(label), decision };
        self.ring.push(entry.pack());
    }

    /// Copies the decisions out. `labels` are those that may be shown.
    pub(crate) fn recording<'a>(&self, name: &str, labels: impl Iterator<Item = &'a str>) -> Recording {
        let labels = labels.map(|label| (self.digest(label), label.into())).collect();
        Recording::new(name, self.ring.pushed(), self.ring.read().into_iter().map(Entry::unpack), labels)
    }

    fn digest(&self, label: &str) -> u64 {
        self.digests.hash_one(label)
    }
}
