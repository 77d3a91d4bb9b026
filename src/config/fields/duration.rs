use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::{Serialize, Serializer};

use super::setting::{Culprit, Setting, nearest_step};

/// A duration as people write it: a string of numbers with units, such as `"250ms"`, `"1m30s"` or `"2h 15m"`.
///
/// A number without a unit is an error, in quotes or not: it does not say whether it means seconds or milliseconds.
/// Units go from large to small, each at most once. A month is `"1month"`, because `"1M"` may also mean a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

struct HumanDurationVisitor;

pub(crate) const fn millis(millis: u64) -> HumanDuration {
    HumanDuration(Duration::from_millis(millis))
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Setting for HumanDuration {
    fn culprit(&self, _: &Self, allowed: &dyn Fn(&Self) -> bool) -> Option<Culprit> {
        let rejected = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let nearest = millis(nearest_step(rejected, |step| allowed(&millis(step)))?);
        Some(Culprit::new(Some(format!("\"{nearest}\""))))
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HumanDurationVisitor)
    }
}

impl Visitor<'_> for HumanDurationVisitor {
    type Value = HumanDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, each number with its unit, such as \"250ms\" or \"1m30s\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let duration = if is_plain(text) { humantime::parse_duration(text).ok() } else { None };
        duration.map(HumanDuration).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// Each number has a unit, and each unit is smaller than the one before. `humantime` also takes "0", adds up "1m1m",
/// joins the numbers of "5 5s", and reads "1M" as a month.
fn is_plain(text: &str) -> bool {
    let is_number = |character: char| character.is_ascii_digit() || character == '.';
    let numbers = text.split(|character| !is_number(character)).filter(|number| !number.is_empty());
    let units =
        || text.split(|character| is_number(character) || character.is_whitespace()).filter(|unit| !unit.is_empty());
    let mut last = Duration::MAX;
    let is_smaller = |unit: Duration| std::mem::replace(&mut last, unit) > unit;
    numbers.count() == units().count()
        && !units().any(|unit| unit == "M")
        && units().map_while(|unit| humantime::parse_duration(&format!("1{unit}")).ok()).all(is_smaller)
}

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for HumanDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HumanDuration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A duration, each number with its unit, such as \"250ms\" or \"1m30s\".",
            "pattern": r"^\s*([0-9.]+\s*[a-zµ]+\s*)+$",
            "examples": ["250ms", "1m30s"],
        })
    }
}
