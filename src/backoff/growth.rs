use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use super::retry::Retry;
use crate::classify::Verdict;

/// How waits grow with the number of the retry, before cap and jitter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Growth {
    Constant(Duration),
    Linear { first: Duration, step: Duration },
    Exponential { first: Duration, factor: f64 },
    Fibonacci { first: Duration },
    Custom(WaitFn),
}

/// A function of the user.
#[derive(Clone)]
pub(super) struct WaitFn(Arc<Function>);

type Function = dyn Fn(u32, Option<&Verdict>, Option<Duration>) -> Duration + Send + Sync;

impl Growth {
    /// Returns the wait before a retry. Saturates at `Duration::MAX`.
    pub(super) fn wait(&self, retry: &Retry) -> Duration {
        match self {
            Self::Constant(wait) => *wait,
            Self::Linear { first, step } => first.saturating_add(step.saturating_mul(retry.number)),
            Self::Exponential { first, factor } => scaled(*first, factor.powf(f64::from(retry.number))),
            Self::Fibonacci { first } => fibonacci(*first, retry.number),
            Self::Custom(function) => function.call(retry),
        }
    }

    /// Returns the wait before the first retry, unless only the function of the user knows it.
    pub(super) fn first(&self) -> Option<Duration> {
        match self {
            Self::Constant(first)
            | Self::Linear { first, .. }
            | Self::Exponential { first, .. }
            | Self::Fibonacci { first } => Some(*first),
            Self::Custom(_) => None,
        }
    }

    /// Returns true if the formula never makes a wait longer.
    pub(super) fn is_flat(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Custom(_) => true,
            Self::Exponential { factor, .. } => *factor == 1.0,
            Self::Linear { .. } | Self::Fibonacci { .. } => false,
        }
    }
}

impl WaitFn {
    pub(super) fn new(
        function: impl Fn(u32, Option<&Verdict>, Option<Duration>) -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(function))
    }

    pub(super) fn call(&self, retry: &Retry) -> Duration {
        (self.0)(retry.number, retry.verdict.as_ref(), retry.last_wait)
    }
}

/// Functions have no equality, so this compares identities.
impl PartialEq for WaitFn {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for WaitFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fn")
    }
}

/// No state of this crate depends on whether the function returned.
impl UnwindSafe for WaitFn {}
impl RefUnwindSafe for WaitFn {}

/// Returns `wait * by`, or `Duration::MAX` if that is longer. `by` is not negative; a power that overflows is infinite.
pub(super) fn scaled(wait: Duration, by: f64) -> Duration {
    Duration::try_from_secs_f64(wait.as_secs_f64() * by).unwrap_or(Duration::MAX)
}

/// Ends after at most 137 steps, when even a nanosecond has grown to `Duration::MAX`.
fn fibonacci(first: Duration, retry: u32) -> Duration {
    let (mut wait, mut next) = (first, first);
    for _ in 0..retry {
        if wait == Duration::MAX {
            break;
        }
        (wait, next) = (next, wait.saturating_add(next));
    }
    wait
}
