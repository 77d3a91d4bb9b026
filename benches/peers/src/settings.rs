//! What every breaker is told, as far as it can be told.

use std::time::Duration;

pub(crate) const COUNT_WINDOW: usize = 100;
pub(crate) const LARGE_COUNT_WINDOW: usize = 10_000;
pub(crate) const TIME_WINDOW: Duration = Duration::from_secs(60);
pub(crate) const FAILURE_RATE: f64 = 0.5;
pub(crate) const MINIMUM_CALLS: u32 = 10;
/// Longer than any run: a breaker that is open stays open.
pub(crate) const OPEN_FOR: Duration = Duration::from_secs(3_600);
pub(crate) const MAX_ATTEMPTS: u32 = 4;
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(100);
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(5);
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Retries that may be made for every call.
pub(crate) const BUDGET: f32 = 0.2;
