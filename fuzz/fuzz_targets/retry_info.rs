//! Any bytes as the details of a gRPC status: no panic, no wait above the maximum. Then the same bytes choose a delay
//! and what stands around it, and the delay is read back.
#![no_main]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::Response;
use libfuzzer_sys::fuzz_target;
use tower_rampart::classify::Verdict;

const RETRY_INFO: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";

fn delay(details: &[u8]) -> Option<Duration> {
    let [padded, bare] = [STANDARD.encode(details), STANDARD_NO_PAD.encode(details)].map(|text| {
        let response = Response::builder().header("grpc-status", "14").header("grpc-status-details-bin", text);
        Verdict::of_grpc(&response.body(()).expect("base64 is a header value")).retry_after()
    });
    assert_eq!(padded, bare);
    padded
}

fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

fn number_field(message: &mut Vec<u8>, field: u64, number: u64) {
    varint(message, field << 3);
    varint(message, number);
}

fn bytes_field(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(message, field << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// A field that has no meaning in any of the messages.
fn noise(message: &mut Vec<u8>, bytes: &[u8]) {
    let [kind, rest @ ..] = bytes else { return };
    match kind % 4 {
        0 => number_field(message, 9, u64::from(*kind)),
        1 => message.extend([9 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8]),
        2 => bytes_field(message, 9, rest),
        _ => message.extend([9 << 3 | 5, 1, 2, 3, 4]),
    }
}

fuzz_target!(|data: &[u8]| {
    assert!(delay(data).is_none_or(|wait| wait <= Verdict::LONGEST_RETRY_AFTER));

    let Some((numbers, around)) = data.split_first_chunk::<12>() else { return };
    let [seconds @ .., a, b, c, d] = *numbers;
    let (seconds, nanos) = (u64::from_be_bytes(seconds), u32::from_be_bytes([a, b, c, d]));

    let mut duration = Vec::new();
    noise(&mut duration, around);
    number_field(&mut duration, 1, seconds);
    number_field(&mut duration, 2, nanos.into());
    let mut retry_info = Vec::new();
    bytes_field(&mut retry_info, 1, &duration);
    noise(&mut retry_info, around);
    let mut any = Vec::new();
    bytes_field(&mut any, 1, RETRY_INFO);
    noise(&mut any, around);
    bytes_field(&mut any, 2, &retry_info);
    let mut other = Vec::new();
    bytes_field(&mut other, 1, b"type.googleapis.com/google.rpc.ErrorInfo");
    bytes_field(&mut other, 2, around);
    let mut status = Vec::new();
    number_field(&mut status, 1, 14);
    bytes_field(&mut status, 2, b"unavailable");
    bytes_field(&mut status, 3, &other);
    bytes_field(&mut status, 3, &any);

    let valid = seconds <= i64::MAX as u64 && nanos < 1_000_000_000;
    let expected = valid.then(|| Duration::new(seconds, nanos).min(Verdict::LONGEST_RETRY_AFTER));
    assert_eq!(delay(&status), expected, "{seconds} s, {nanos} ns");
});
