//! Any bytes as `grpc-status` and `grpc-retry-pushback-ms`: the code and the wait are those of a slow reading by the
//! grammar.
//!
//! The first line is the status; each further line is a pushback.
#![no_main]

use std::time::Duration;

use http::{HeaderValue, Response};
use libfuzzer_sys::fuzz_target;
use tower_rampart::classify::Verdict;

const UNKNOWN: u16 = 2;

/// Reads one digit after the other. None if there is none, or anything else.
fn number(bytes: &[u8]) -> Option<u128> {
    let add = |sum: u128, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u128::from(byte - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    };
    if bytes.is_empty() { None } else { bytes.iter().try_fold(0, add) }
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let Some(status) = lines.next() else { return };
    let pushbacks: Vec<_> = lines.collect();
    let mut response = Response::new(());
    response.headers_mut().insert("grpc-status", status.clone());
    for pushback in &pushbacks {
        response.headers_mut().append("grpc-retry-pushback-ms", pushback.clone());
    }
    let verdict = Verdict::of_grpc(&response);

    let code = number(status.as_bytes()).filter(|code| *code <= 16).map_or(UNKNOWN, |code| code as u16);
    assert_eq!(verdict.is_success(), code == 0, "{status:?}");
    if code == 0 {
        return;
    }
    assert_eq!(verdict.code(), Some(code), "{status:?}");
    let (wait, retry) = match &pushbacks[..] {
        // RESOURCE_EXHAUSTED is retried only if the server says when.
        [] => (None, (code == 8).then_some(false)),
        [pushback] => match number(pushback.as_bytes()).filter(|millis| *millis <= i32::MAX as u128) {
            Some(millis) => (Some(Duration::from_millis(millis as u64)), None),
            None => (None, Some(false)),
        },
        _ => (None, Some(false)),
    };
    assert_eq!((verdict.retry_after(), verdict.should_retry()), (wait, retry), "{pushbacks:?}");
});
