//! Durations as people write them.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};

use super::settings::Waits;

/// From the longest suffix to the shortest, because "ms" ends as "s" does.
const UNITS: [(&str, f64); 4] = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];

/// A duration in a file.
pub(super) struct Span(Duration);

/// Waits in a file.
#[derive(serde::Deserialize)]
#[serde(
    untagged,
    expecting = "a duration such as \"30s\", or `first` and `max` such as { first = \"1s\", max = \"5s\" }"
)]
pub(super) enum WaitsText {
    Fixed(Span),
    Growing(Growing),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Growing {
    first: Span,
    max: Span,
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let unknown = || D::Error::custom(format!("{text:?} is no duration such as \"250ms\", \"1.5s\" or \"2m\""));
        parse(&text).map(Self).ok_or_else(unknown)
    }
}

impl From<WaitsText> for Waits {
    fn from(text: WaitsText) -> Self {
        match text {
            WaitsText::Fixed(Span(wait)) => Self::fixed(wait),
            WaitsText::Growing(Growing { first: Span(first), max: Span(max) }) => Self { first, max },
        }
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Span::deserialize(deserializer).map(|span| span.0)
}

pub(super) fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    let is_positive = number > 0.0 && number.is_finite();
    if is_positive { Ok(number) } else { Err(D::Error::custom(format!("must be over 0, but is {number}"))) }
}

pub(super) fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    let is_share = (0.0..=1.0).contains(&number);
    if is_share { Ok(number) } else { Err(D::Error::custom(format!("must lie between 0 and 1, but is {number}"))) }
}

fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    // Only digits and a point: `parse` alone accepts "inf", "nan" and "1e300", too.
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = if is_plain { number.parse().ok()? } else { return None };
    Duration::try_from_secs_f64(number * unit).ok()
}

/// Writes a number with as many digits as a person needs.
pub(super) fn number(number: f64) -> String {
    match number {
        _ if number >= 10.0 => format!("{number:.0}"),
        _ if number >= 0.1 => format!("{}", (number * 10.0).round() / 10.0),
        _ => format!("{number:.1e}"),
    }
}

/// Writes seconds with two digits that count.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        _ if seconds.is_infinite() => "an endless time".to_owned(),
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{} s", number(seconds)),
    }
}
