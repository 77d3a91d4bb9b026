//! The table of HTTP statuses and their default verdicts.

use http::{HeaderMap, StatusCode};

use super::hint;
use crate::classify::{Class, Health, Processed, Reason, Verdict};

/// Returns the default verdict on a status, with the hints of the headers.
///
/// RFC 9110 section 15 for the statuses, RFC 8470 for 425, RFC 6585 for 429. 520 to 530 are those of reverse proxies,
/// which send them when the server behind them fails; 509 is a web host's "bandwidth limit exceeded".
pub(in crate::classify) fn default_verdict(status: StatusCode, headers: &HeaderMap) -> Verdict {
    with_details(verdict(status), status, headers)
}

/// Returns true if the status is a success. As in [`verdict`], but cheap enough to inline.
#[inline(always)]
pub(in crate::classify) fn is_success(status: StatusCode) -> bool {
    matches!(status.as_u16(), 100..=399)
}

/// Adds the status and the server's hints to a default verdict.
fn with_details(verdict: Verdict, status: StatusCode, headers: &HeaderMap) -> Verdict {
    if verdict.is_success() { verdict } else { hint::apply(with_status(verdict, status), headers) }
}

/// Adds the status and the server's wait to a verdict that the user set. What the verdict already sets stays, and the
/// server cannot change whether to retry.
pub(in crate::classify) fn with_details_of_override(
    verdict: Verdict,
    status: StatusCode,
    headers: &HeaderMap,
) -> Verdict {
    if verdict.is_success() { verdict } else { hint::apply_wait_hint(with_status(verdict, status), headers) }
}

fn with_status(verdict: Verdict, status: StatusCode) -> Verdict {
    verdict.or_code(Reason::STATUS, status.as_u16())
}

fn verdict(status: StatusCode) -> Verdict {
    let (class, processed, health) = match status.as_u16() {
        // As in `is_success`.
        100..=399 => (Class::Success, Processed::Yes, Health::Success),
        408 => (Class::Transient, Processed::Maybe, Health::Failure),
        421 | 425 => (Class::Transient, Processed::No, Health::Neutral),
        429 => (Class::Transient, Processed::No, Health::Throttled),
        400..=499 => (Class::Terminal, Processed::Yes, Health::Success),
        501 | 505 | 506 | 508 | 510 | 511 => (Class::Terminal, Processed::Yes, Health::Failure),
        // The rest of 5xx, and undefined statuses, which RFC 9110 section 15 treats as 5xx.
        _ => (Class::Transient, Processed::Maybe, Health::Failure),
    };
    Verdict::new(class).with_processed(processed).with_health(health)
}
