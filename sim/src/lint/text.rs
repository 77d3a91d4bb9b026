//! Durations as people write them, and numbers as they read them.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};

use super::settings::Waits;
use crate::duration::parse;

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
