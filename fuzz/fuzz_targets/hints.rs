//! Any bytes in any header that is a hint: no panic, no wait above the documented maximum, and dates as httpdate reads
//! them.
//!
//! The first bytes choose the status; then each line is a header, whose first byte chooses the name.
#![no_main]

use std::time::SystemTime;

use http::{HeaderName, HeaderValue, Response, StatusCode};
use libfuzzer_sys::fuzz_target;
use tower_rampart::classify::{Classifier, GrpcClassifier, HttpClassifier, Verdict};

const NAMES: [&str; 10] = [
    "retry-after",
    "retry-after-ms",
    "x-ms-retry-after-ms",
    "x-should-retry",
    "ratelimit-reset",
    "x-ratelimit-reset",
    "grpc-status",
    "grpc-retry-pushback-ms",
    "grpc-status-details-bin",
    "content-type",
];

fuzz_target!(|data: &[u8]| {
    let Some((&[high, low], lines)) = data.split_first_chunk() else { return };
    let status = 100 + u16::from_be_bytes([high, low]) % 900;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).expect("between 100 and 999");
    for line in lines.split(|byte| *byte == b'\n') {
        let Some((name, value)) = line.split_first() else { continue };
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        let name = HeaderName::from_static(NAMES[usize::from(*name) % NAMES.len()]);
        response.headers_mut().append(name, value);
    }

    let http = HttpClassifier::new().rate_limit_reset(true).classify(Ok(&response));
    let grpc = GrpcClassifier::new().classify(Ok(&response));
    for verdict in [Verdict::of(&response), http, grpc] {
        assert!(verdict.retry_after().is_none_or(|wait| wait <= Verdict::LONGEST_RETRY_AFTER));
    }

    // A single Retry-After on a failure is a hint if and only if it is a number or a date.
    let headers = response.headers();
    let mut values = headers.get_all("retry-after").iter();
    if let (Some(value), None, 1) = (values.next(), values.next(), headers.len()) {
        let text = value.to_str().unwrap_or_default().trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let date = httpdate::parse_http_date(text).ok();
        let verdict = Verdict::of(&response);
        if !verdict.is_success() {
            assert_eq!(verdict.retry_after().is_some(), digits || date.is_some(), "{text}");
            if date.is_some_and(|date| date <= SystemTime::now()) && !digits {
                assert!(verdict.retry_after().is_some_and(|wait| wait.is_zero()), "{text}");
            }
        }
    }
});
