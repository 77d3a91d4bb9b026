//! Reads and writes the deadline header of gRPC: see `Timeout` in "PROTOCOL-HTTP2" of the gRPC documentation.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The grammar allows eight digits.
const LARGEST: u128 = 99_999_999;

/// Each unit with its length in nanoseconds, the finest first.
const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60 * 1_000_000_000),
    ('H', 3_600 * 1_000_000_000),
];

/// Returns the timeout of a call, or `None` if the grammar does not allow the value.
pub(super) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let unit = text.chars().next_back()?;
    let (_, nanos) = UNITS.into_iter().find(|(known, _)| *known == unit)?;
    let digits = &text[..text.len() - 1];
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos = digits.parse::<u128>().ok()? * nanos;
    // At most 99,999,999 hours, so the seconds fit.
    Some(Duration::new(u64::try_from(nanos / 1_000_000_000).ok()?, (nanos % 1_000_000_000) as u32))
}

/// Replaces the timeout of a call by what remains of it, in the finest unit that eight digits can express. The grammar
/// allows no zero.
pub(super) fn write(headers: &mut HeaderMap, remaining: Duration) {
    let nanos = remaining.as_nanos().max(1);
    let fits = UNITS.into_iter().find(|(_, unit)| nanos / unit <= LARGEST);
    let (unit, value) = fits.map_or(('H', LARGEST), |(unit, length)| (unit, nanos / length));
    if let Ok(value) = HeaderValue::from_str(&format!("{value}{unit}")) {
        headers.insert(TIMEOUT, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(TIMEOUT, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn reads_every_unit_and_nothing_that_the_grammar_forbids() {
        for (value, expected) in [
            ("1n", Duration::from_nanos(1)),
            ("250u", Duration::from_micros(250)),
            ("300m", Duration::from_millis(300)),
            ("2S", Duration::from_secs(2)),
            ("3M", Duration::from_secs(180)),
            ("99999999H", Duration::from_secs(99_999_999 * 3_600)),
            ("0S", Duration::ZERO),
        ] {
            assert_eq!(read(&headers(value)), Some(expected), "{value}");
        }
        for value in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "1 S", "123456789m", "1é"] {
            let headers = HeaderMap::from_iter([(TIMEOUT, HeaderValue::from_bytes(value.as_bytes()).unwrap())]);
            assert_eq!(read(&headers), None, "{value}");
        }
        assert_eq!(read(&HeaderMap::new()), None);
    }

    #[test]
    fn writes_the_finest_unit_that_fits_and_never_more_than_remains() {
        for (remaining, expected) in [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_999), "100000u"),
            (Duration::from_millis(300), "300000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999H"),
        ] {
            let mut headers = headers("5S");
            write(&mut headers, remaining);
            assert_eq!(headers[TIMEOUT], expected);
            assert!(read(&headers).unwrap() <= remaining.max(Duration::from_nanos(1)));
        }
    }
}
