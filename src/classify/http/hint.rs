//! Reads hints: response headers that ask for a wait, for another attempt, or for none.

use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, RETRY_AFTER};

use crate::classify::{Health, Verdict};

/// Smaller numbers are seconds from now, larger ones are seconds since 1970. No server asks for a wait of 31 years, and
/// no clock is set before September 2001.
const FIRST_EPOCH: u64 = 1_000_000_000;

/// Larger numbers (beyond the year 5138) are probably milliseconds, which no specification mentions.
const LAST_EPOCH: u64 = 100_000_000_000;

/// More precise than `Retry-After`, so these are read first.
const MILLISECONDS: [HeaderName; 2] =
    [HeaderName::from_static("retry-after-ms"), HeaderName::from_static("x-ms-retry-after-ms")];

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

const RATE_LIMIT_RESET: [HeaderName; 2] =
    [HeaderName::from_static("ratelimit-reset"), HeaderName::from_static("x-ratelimit-reset")];

/// Adds the hints of the headers to a verdict. What the verdict already sets stays.
pub(in crate::classify) fn apply(verdict: Verdict, headers: &HeaderMap) -> Verdict {
    let verdict = match (verdict.should_retry(), should_retry(headers)) {
        (None, Some(retry)) => verdict.with_should_retry(retry),
        _ => verdict,
    };
    apply_wait_hint(verdict, headers)
}

/// Adds only the wait that the server asks for.
pub(in crate::classify) fn apply_wait_hint(verdict: Verdict, headers: &HeaderMap) -> Verdict {
    apply_wait(verdict, || wait(headers, SystemTime::now))
}

/// Adds the time until the quota resets to the verdict on a throttled call, if there is no better hint.
pub(in crate::classify) fn apply_rate_limit(verdict: Verdict, headers: &HeaderMap) -> Verdict {
    match verdict.health() {
        // Servers send the header with every response. It is a wait only if the quota ran out.
        Health::Throttled => apply_wait(verdict, || rate_limit_reset(headers, SystemTime::now)),
        Health::Success | Health::Failure | Health::Neutral => verdict,
    }
}

/// Adds `grpc-retry-pushback-ms` (gRPC proposal A6): a wait, or no further attempt if the value is negative, invalid or
/// repeated.
pub(in crate::classify) fn apply_pushback(verdict: Verdict, metadata: &HeaderMap) -> Verdict {
    if verdict.retry_after().is_some() || verdict.should_retry().is_some() {
        return verdict;
    }
    let mut values = metadata.get_all(PUSHBACK).iter();
    match (values.next(), values.next()) {
        (None, _) => verdict,
        (Some(value), None) => match value.to_str().ok().and_then(digits) {
            // The reference implementations read a 32-bit integer.
            Some(millis) if millis <= i32::MAX as u64 => verdict.with_retry_after(Duration::from_millis(millis)),
            _ => verdict.with_should_retry(false),
        },
        (Some(_), Some(_)) => verdict.with_should_retry(false),
    }
}

fn apply_wait(verdict: Verdict, wait: impl FnOnce() -> Option<Duration>) -> Verdict {
    match verdict.retry_after().map_or_else(wait, |_| None) {
        Some(wait) => verdict.with_retry_after(wait),
        None => verdict,
    }
}

/// Returns the wait that the headers ask for. Reads `now` only for a date.
fn wait(headers: &HeaderMap, now: impl Fn() -> SystemTime) -> Option<Duration> {
    MILLISECONDS
        .iter()
        .find_map(|name| longest(headers, name, milliseconds))
        .or_else(|| longest(headers, &RETRY_AFTER, |text| retry_after(text, &now)))
}

fn rate_limit_reset(headers: &HeaderMap, now: impl Fn() -> SystemTime) -> Option<Duration> {
    RATE_LIMIT_RESET.iter().find_map(|name| longest(headers, name, |text| reset(text, &now)))
}

/// Reads `x-should-retry: true` or `false`. Ignores a server that sends both.
fn should_retry(headers: &HeaderMap) -> Option<bool> {
    let mut words = headers.get_all(SHOULD_RETRY).iter().map(|value| match value.as_bytes().trim_ascii() {
        word if word.eq_ignore_ascii_case(b"true") => Some(true),
        word if word.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    });
    let first = words.next()??;
    words.all(|word| word == Some(first)).then_some(first)
}

/// Returns the longest wait among the values of this header, which satisfies all of them.
fn longest(headers: &HeaderMap, name: &HeaderName, parse: impl Fn(&str) -> Option<Duration>) -> Option<Duration> {
    headers.get_all(name).iter().filter_map(|value| parse(value.to_str().ok()?.trim())).max()
}

/// Parses `Retry-After`: seconds or an HTTP date (RFC 9110 section 10.2.3). A date in the past is a wait of zero.
fn retry_after(text: &str, now: impl Fn() -> SystemTime) -> Option<Duration> {
    match digits(text) {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => Some(httpdate::parse_http_date(text).ok()?.duration_since(now()).unwrap_or_default()),
    }
}

/// Parses milliseconds. Some servers compute the number and send a fraction, which is rounded up.
fn milliseconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let (whole, fraction) = (digits(whole)?, digits(fraction)?);
    Some(Duration::from_millis(whole.saturating_add(u64::from(fraction > 0))))
}

/// Parses seconds from now or since 1970: the headers are not standardized, and servers send both.
fn reset(text: &str, now: impl Fn() -> SystemTime) -> Option<Duration> {
    match digits(text)? {
        seconds @ ..FIRST_EPOCH => Some(Duration::from_secs(seconds)),
        epoch @ FIRST_EPOCH..LAST_EPOCH => {
            let reset = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(epoch))?;
            Some(reset.duration_since(now()).unwrap_or_default())
        }
        LAST_EPOCH.. => None,
    }
}

/// Parses digits only, without the sign that `parse` accepts. Saturates if the number does not fit.
pub(crate) fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
}
