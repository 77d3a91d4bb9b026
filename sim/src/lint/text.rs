//! Numbers and durations, as people write and read them.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};

use super::settings::Waits;
use crate::scenario::value::{self, Number, Share};

/// A duration in a file.
type Span = value::Span<{ 365 * 86_400 }>;

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

impl From<WaitsText> for Waits {
    fn from(text: WaitsText) -> Self {
        match text {
            WaitsText::Fixed(value::Span(wait)) => Self::fixed(wait),
            WaitsText::Growing(Growing { first, max }) => Self { first: first.0, max: max.0 },
        }
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Span::deserialize(deserializer).map(|span| span.0)
}

pub(super) fn positive_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = duration(deserializer)?;
    if duration.is_zero() { Err(Error::custom("must not be zero")) } else { Ok(duration) }
}

pub(super) fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Number::<{ u32::MAX }, true>::deserialize(deserializer).map(|number| number.0)
}

pub(super) fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Share::deserialize(deserializer).map(|share| share.0)
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
