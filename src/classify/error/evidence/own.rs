//! The errors of this crate. Each carries the verdict on the whole call, so it ends the walk.

use super::{Evidence, own_fault, unprocessed};
use crate::breaker::CircuitOpen;
use crate::classify::error::chain::{Link, downcast};
use crate::classify::{Class, Health, Processed, Reason, Verdict};
use crate::classify::{ClassifiedError, RequestBodyFailed};
use crate::retry::{RetryError, TimedOut};

pub(in crate::classify::error) fn evidence(link: Link<'_>, _connecting: bool) -> Option<Evidence> {
    let verdict = if let Some(classified) = downcast::<ClassifiedError>(link) {
        classified.verdict()
    } else if let Some(open) = downcast::<CircuitOpen>(link) {
        circuit_open(open)
    } else if let Some(timed_out) = downcast::<TimedOut>(link) {
        timed_out.verdict()
    } else if let Some(gave_up) = downcast::<RetryError>(link) {
        // The verdict on all attempts, not only on the last one.
        gave_up.verdict()
    } else if downcast::<RequestBodyFailed>(link).is_some() {
        own_fault(Processed::Maybe)
    } else {
        return None;
    };
    Some(Evidence::Final(verdict))
}

fn circuit_open(open: &CircuitOpen) -> Verdict {
    let verdict = unprocessed(Class::Terminal, Health::Neutral, Reason::CIRCUIT_OPEN);
    open.retry_after().map_or(verdict, |wait| verdict.with_retry_after(wait))
}
