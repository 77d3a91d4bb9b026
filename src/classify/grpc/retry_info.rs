//! The wait that a gRPC server asks for in the details of its status.
//!
//! `grpc-status-details-bin` is a `google.rpc.Status` in base64, whose field 3 repeats `google.protobuf.Any`; one of them
//! may be a `google.rpc.RetryInfo`, whose field 1 is a `google.protobuf.Duration`. These five fields are all there is to
//! read, and no failure to read them matters, so they are picked out of the bytes as they are.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{HeaderMap, HeaderName};

const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const RETRY_INFO: &[u8] = b"/google.rpc.RetryInfo";

/// Binary metadata may be padded or not ("PROTOCOL-HTTP2" of the gRPC documentation).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The delay of the first `RetryInfo` in these headers or trailers that has a sensible one.
pub(super) fn delay(metadata: &HeaderMap) -> Option<Duration> {
    let status = BASE64.decode(metadata.get(DETAILS)?.as_bytes()).ok()?;
    Fields(&status).bytes(3).find_map(delay_of_any)
}

fn delay_of_any(any: &[u8]) -> Option<Duration> {
    if !Fields(any).bytes(1).next()?.ends_with(RETRY_INFO) {
        return None;
    }
    let retry_info = Fields(any).bytes(2).next()?;
    let duration = Fields(retry_info).bytes(1).next()?;
    // Signed, in two's complement: a negative number is a huge one, and no delay. What is zero is left out.
    let seconds = i64::try_from(Fields(duration).number(1).unwrap_or(0)).ok()?;
    let nanos = u32::try_from(Fields(duration).number(2).unwrap_or(0)).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(seconds.unsigned_abs(), nanos))
}

/// The fields of a protobuf message, as far as they can be read.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Fixed width, which nothing here has.
    Fixed,
}

impl<'a> Fields<'a> {
    fn bytes(self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.filter_map(move |(number, value)| match value {
            Value::Bytes(bytes) if number == field => Some(bytes),
            _ => None,
        })
    }

    /// Of several the last, as protobuf has it.
    fn number(self, field: u64) -> Option<u64> {
        let numbers = self.filter_map(|(number, value)| match value {
            Value::Number(value) if number == field => Some(value),
            _ => None,
        });
        numbers.last()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    /// Ends at the first thing that is no field.
    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let value = match tag & 0b111 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}
