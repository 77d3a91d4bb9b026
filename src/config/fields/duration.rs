use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::{Serialize, Serializer};

use super::setting::{Setting, nearest_step};

/// A duration as people write it: a string of numbers with units, such as `"250ms"`, `"1m30s"` or `"2h 15m"`.
///
/// A number without a unit is an error, in quotes or not: it does not say whether it means seconds or milliseconds.
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
    fn nearest(&self, allowed: impl Fn(&Self) -> bool) -> Option<String> {
        let rejected = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        nearest_step(rejected, |step| allowed(&millis(step))).map(|step| format!("\"{}\"", millis(step)))
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
        let invalid = || E::invalid_value(Unexpected::Str(text), &self);
        // `humantime` takes "0" for a duration.
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        humantime::parse_duration(text).map(HumanDuration).map_err(|_| invalid())
    }
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
            "pattern": "[a-zA-Zµ]",
            "examples": ["250ms", "1m30s"],
        })
    }
}
