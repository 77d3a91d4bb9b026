//! Reads `per_name`. A map of serde keeps the last of several equal keys; here that is an error.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::NameConfig;

struct NamesVisitor;

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, NameConfig>, D::Error> {
    deserializer.deserialize_map(NamesVisitor)
}

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = BTreeMap<String, NameConfig>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with a table for each name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = BTreeMap::new();
        while let Some(name) = map.next_key()? {
            match names.entry(name) {
                Entry::Vacant(entry) => entry.insert(map.next_value()?),
                Entry::Occupied(entry) => {
                    return Err(de::Error::custom(format_args!("duplicate name {:?}", entry.key())));
                }
            };
        }
        Ok(names)
    }
}
