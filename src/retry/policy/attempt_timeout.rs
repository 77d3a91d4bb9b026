use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use crate::call::attempt::Attempt;

/// How long an attempt may take.
#[derive(Clone)]
pub(in crate::retry) enum AttemptTimeout {
    Fixed(Duration),
    By(Arc<TimeoutFn>),
}

type TimeoutFn = dyn Fn(Attempt, Duration) -> Duration + Send + Sync;

impl AttemptTimeout {
    /// No timer is finer, and an attempt without time would be cut before it is sent.
    const SHORTEST: Duration = Duration::from_millis(1);

    /// Returns the limit of an attempt. `remaining` is the time until the deadline, if there is one.
    #[inline]
    pub(in crate::retry) fn of(&self, attempt: Attempt, remaining: impl FnOnce() -> Option<Duration>) -> Duration {
        match self {
            Self::Fixed(timeout) => *timeout,
            Self::By(timeout) => timeout(attempt, remaining().unwrap_or(Duration::MAX)).max(Self::SHORTEST),
        }
    }
}

/// Functions have no equality, so this compares identities.
impl PartialEq for AttemptTimeout {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(other)) => one == other,
            (Self::By(one), Self::By(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// No state of this crate depends on whether the function returned.
impl UnwindSafe for AttemptTimeout {}
impl RefUnwindSafe for AttemptTimeout {}

impl fmt::Debug for AttemptTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(timeout) => timeout.fmt(f),
            Self::By(_) => f.write_str("By(..)"),
        }
    }
}
