//! Decodes the wait in the details of a gRPC status.
//!
//! `grpc-status-details-bin` is a `google.rpc.Status` in base64, whose field 3 repeats `google.protobuf.Any`; one of
//! them may be a `google.rpc.RetryInfo`, whose field 1 is a `google.protobuf.Duration`. These five fields do not
//! justify a protobuf dependency, and a hint that cannot be read is ignored.

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

/// Returns the delay of the first `RetryInfo` with a valid one in these headers or trailers.
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
    // A negative number is a huge one in two's complement: not a delay. Protobuf omits zeros.
    let seconds = i64::try_from(Fields(duration).number(1).unwrap_or(0)).ok()?;
    let nanos = u32::try_from(Fields(duration).number(2).unwrap_or(0)).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(seconds.unsigned_abs(), nanos))
}

/// Iterates over the fields of a protobuf message, up to the first invalid one.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A fixed-width number, which no field here uses.
    Fixed,
}

impl<'a> Fields<'a> {
    fn bytes(self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.filter_map(move |(number, value)| match value {
            Value::Bytes(bytes) if number == field => Some(bytes),
            _ => None,
        })
    }

    /// Returns the last number of this field, as protobuf requires.
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

    /// Ends at the first invalid field.
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
