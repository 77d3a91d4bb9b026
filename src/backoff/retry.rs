use std::time::Duration;

use crate::classify::Verdict;

/// What the wait before a retry depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retry {
    /// Counted from 0.
    pub(crate) number: u32,
    /// What the attempt before it came to.
    pub(crate) verdict: Option<Verdict>,
    /// The wait before the retry before it.
    pub(crate) last_wait: Option<Duration>,
    /// A wait with jitter is drawn from at least as much, within the longest wait.
    pub(crate) spread: Duration,
}

impl Retry {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, ..Self::default() }
    }
}
