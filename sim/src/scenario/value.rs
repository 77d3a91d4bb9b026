//! Values of a scenario file with their limits, so that an error names both.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// A whole number within limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count<const MIN: u64, const MAX: u64>(pub(crate) u32);

/// A number from 0 to a limit. `POSITIVE` excludes 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number<const MAX: u32, const POSITIVE: bool>(pub(crate) f64);

/// A share of the whole.
pub(crate) type Share = Number<1, false>;

/// A duration such as "250ms", up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span<const MAX_SECONDS: u64>(pub(crate) Duration);

/// From the longest suffix to the shortest, because "ms" ends as "s" does.
const UNITS: [(&str, f64); 6] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];

/// Reads a number with a unit, such as "1.5s".
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, seconds) = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    // Only digits and a point: `parse` alone takes "inf", "nan", "1e300" and "-1" too.
    let plain = number.trim_end().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = plain.then(|| number.trim_end().parse().ok())??;
    Duration::try_from_secs_f64(number * seconds).ok()
}

struct CountVisitor<const MIN: u64, const MAX: u64>;
struct NumberVisitor<const MAX: u32, const POSITIVE: bool>;
struct SpanVisitor<const MAX_SECONDS: u64>;

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(CountVisitor)
    }
}

impl<const MIN: u64, const MAX: u64> Visitor<'_> for CountVisitor<MIN, MAX> {
    type Value = Count<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {MIN} to {MAX}")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        let number = u64::try_from(value).ok().filter(|number| (MIN..=MAX).contains(number));
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.map(Count).ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        i64::try_from(value)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
            .and_then(|value| self.visit_i64(value))
    }
}

impl<'de, const MAX: u32, const POSITIVE: bool> Deserialize<'de> for Number<MAX, POSITIVE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(NumberVisitor)
    }
}

impl<const MAX: u32, const POSITIVE: bool> Visitor<'_> for NumberVisitor<MAX, POSITIVE> {
    type Value = Number<MAX, POSITIVE>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number {} to {MAX}", if POSITIVE { "above 0, up" } else { "from 0" })
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        // NaN lies in no range.
        let fits = (0.0..=f64::from(MAX)).contains(&value) && !(POSITIVE && value == 0.0);
        if fits { Ok(Number(value)) } else { Err(E::invalid_value(Unexpected::Float(value), &self)) }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.visit_f64(value as f64)
    }
}

impl<'de, const MAX_SECONDS: u64> Deserialize<'de> for Span<MAX_SECONDS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SpanVisitor)
    }
}

impl<const MAX_SECONDS: u64> Visitor<'_> for SpanVisitor<MAX_SECONDS> {
    type Value = Span<MAX_SECONDS>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a duration in quotes up to {MAX_SECONDS} s, such as \"250ms\", \"1.5s\", \"2m\" or \"8h\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let limit = Duration::from_secs(MAX_SECONDS);
        let fits = duration(text).filter(|duration| *duration <= limit);
        fits.map(Span).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_a_unit() {
        for (text, millis) in [("250ms", 250), ("1.5s", 1_500), (" 2 m ", 120_000), ("8h", 28_800_000), ("0s", 0)] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(duration("1d"), Some(Duration::from_secs(86_400)));
        assert_eq!(duration("7us"), Some(Duration::from_micros(7)));
        for text in ["", "s", "10", "-1s", "nans", "infs", "1e9s", "1 week", "1s 5ms", ".s", "1..2s"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(duration(&format!("{}d", "9".repeat(400))), None, "more than a duration can hold");
    }
}
