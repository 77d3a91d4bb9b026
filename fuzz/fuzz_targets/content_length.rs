//! Any bytes as the `Content-Length` of a body that does not know its own: the body is short if and only if the header
//! is a number that is larger than the bytes that came.
#![no_main]

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::{Body, Frame};
use libfuzzer_sys::fuzz_target;
use tower_rampart::classify::body::JudgedBody;
use tower_rampart::classify::{HttpClassifier, Reason, Verdict};

/// Chunks of these lengths.
struct Chunks<'a>(&'a [u8]);

impl Body for Chunks<'_> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((&length, rest)) = self.0.split_first() else { return Poll::Ready(None) };
        self.0 = rest;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; length.into()])))))
    }
}

/// Reads one digit after the other. None if there is none, anything else, or too many.
fn number(bytes: &[u8]) -> Option<u64> {
    let add = |sum: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    if bytes.is_empty() { None } else { bytes.iter().try_fold(0, add) }
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (Some(value), Some(chunks)) = (lines.next(), lines.next()) else { return };
    let Ok(announced) = HeaderValue::from_bytes(value) else { return };
    let length: u64 = chunks.iter().map(|length| u64::from(*length)).sum();

    let verdict = Cell::new(None);
    let response = Response::builder().header("content-length", announced).body(Chunks(chunks)).expect("a response");
    let settle = |settled: &Verdict| assert_eq!(verdict.replace(Some(*settled)), None);
    let response = JudgedBody::wrap(response, Verdict::success(), &HttpClassifier::new(), settle);
    let mut body = pin!(response.into_body());
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
        frame.expect("the body never fails");
    }
    let short = number(value).is_some_and(|announced| length < announced && announced < u64::MAX);
    let expected = if short { Verdict::ambiguous().with_reason(Reason::BODY) } else { Verdict::success() };
    assert_eq!(verdict.get(), Some(expected), "{:?} and {length} bytes", value.escape_ascii().to_string());
});
