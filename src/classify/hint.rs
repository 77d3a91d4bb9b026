use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderValue, RETRY_AFTER};

use super::Verdict;

/// A longer wait than this is no wait but an outage; it also keeps every sum of waits far from overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Adds to a verdict what the server asks for in its headers.
pub(super) fn apply(verdict: Verdict, headers: &HeaderMap) -> Verdict {
    match headers.get(RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now())) {
        Some(wait) => verdict.with_retry_after(wait),
        None => verdict,
    }
}

/// `Retry-After`: delta-seconds or an HTTP-date (RFC 9110 section 10.2.3). A date in the past is no wait; junk is no hint.
fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit mean "very long", not "no hint".
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(LONGEST))
}
