//! The codes of gRPC and what each means.

use http::StatusCode;
use http::header::{HeaderMap, HeaderName};

use crate::classify::http::hint;
use crate::classify::{Class, Health, Processed, Reason, Verdict};

/// The number of gRPC codes, from `OK` to `UNAUTHENTICATED`.
pub(super) const CODES: usize = 17;

pub(super) const STATUS: HeaderName = HeaderName::from_static("grpc-status");

pub(super) const UNKNOWN: u16 = 2;

/// Returns the verdict on a code, without hints.
pub(in crate::classify) const fn verdict(code: u16) -> Verdict {
    let (class, processed, health) = match code {
        0 => (Class::Success, Processed::Yes, Health::Success),
        // DEADLINE_EXCEEDED, UNAVAILABLE
        4 | 14 => (Class::Transient, Processed::Maybe, Health::Failure),
        // RESOURCE_EXHAUSTED
        8 => (Class::Transient, Processed::Maybe, Health::Throttled),
        // ABORTED
        10 => (Class::Ambiguous, Processed::Maybe, Health::Success),
        // CANCELLED
        1 => (Class::Terminal, Processed::Maybe, Health::Neutral),
        // INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE,
        // UNIMPLEMENTED, UNAUTHENTICATED
        3 | 5 | 6 | 7 | 9 | 11 | 12 | 16 => (Class::Terminal, Processed::Yes, Health::Success),
        // UNKNOWN, INTERNAL, DATA_LOSS, and undefined codes
        _ => (Class::Ambiguous, Processed::Maybe, Health::Failure),
    };
    let verdict = Verdict::new(class).with_processed(processed).with_health(health);
    if code == 0 { verdict } else { verdict.with_reason(Reason::GRPC).with_code(code) }
}

/// Returns the code in the headers or trailers, `UNKNOWN` if gRPC does not define it.
pub(super) fn code_in(metadata: &HeaderMap) -> Option<u16> {
    let code = hint::digits(metadata.get(STATUS)?.to_str().unwrap_or_default());
    Some(code.and_then(|code| u16::try_from(code).ok()).filter(|&code| usize::from(code) < CODES).unwrap_or(UNKNOWN))
}

/// Maps the status of a response that is not gRPC, by "HTTP to gRPC Status Code Mapping" of the gRPC documentation.
pub(super) fn code_of_http(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => UNKNOWN,
    }
}
