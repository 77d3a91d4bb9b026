use std::time::Duration;

use super::kind::Kind;
use crate::clock::Moment;
use crate::registry::Forgettable;
use crate::sync::{AtomicU64, Ordering};

/// The budget of one partition.
#[derive(Debug)]
pub(in crate::retry) struct Bucket {
    kind: Kind,
    /// When it was first found unused since its last call, in nanoseconds; [`IN_USE`] after a call. So a call reads no
    /// clock.
    unused_since: AtomicU64,
}

const IN_USE: u64 = u64::MAX;
/// How long a budget without calls is remembered, so that leaving and returning is no way to new tokens.
const REMEMBERED: Duration = Duration::from_secs(60);

impl Bucket {
    pub(in crate::retry) fn new(kind: Kind) -> Self {
        Self { kind, unused_since: AtomicU64::new(IN_USE) }
    }

    pub(in crate::retry) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Notes a call.
    #[inline]
    pub(in crate::retry) fn touch(&self) {
        if self.unused_since.load(Ordering::Relaxed) != IN_USE {
            self.unused_since.store(IN_USE, Ordering::Relaxed);
        }
    }
}

impl Forgettable for Bucket {
    fn is_forgettable(&self, now: Moment) -> bool {
        if self.kind.is_as_new() {
            return true;
        }
        // The registry asks under its lock, so no other thread writes the time.
        let since = self.unused_since.load(Ordering::Relaxed);
        if since == IN_USE {
            self.unused_since.store(now.nanos().min(IN_USE - 1), Ordering::Relaxed);
            return false;
        }
        let remembered = self.kind.ttl().map_or(REMEMBERED, |ttl| ttl.max(REMEMBERED));
        Duration::from_nanos(now.nanos().saturating_sub(since)) > remembered
    }
}
