//! Storms that are worth a name, and those of one's own in files.
//!
//! A scenario is a load, an upstream in trouble, and goals that each stack must reach. The built-in ones lie in
//! `sim/scenarios`; each says what it must show and where it comes from.

mod error;
mod file;
mod goals;
pub(crate) mod toml_file;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::error::ScenarioError;
pub use self::goals::Goals;
use crate::{Load, Upstream};

/// A load, an upstream in trouble, and when the trouble is over.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// One word.
    pub name: String,
    /// What happens, in a line.
    pub title: String,
    /// Who calls.
    pub load: Load,
    /// What is called.
    pub upstream: Upstream,
    /// What is wrong, in two or three words.
    pub trouble_label: String,
    /// From when on something is wrong.
    pub trouble_from: Duration,
    /// From when on the upstream is well again; not before the end of the load if it never is.
    pub well_from: Duration,
    /// What each stack must show, by its name.
    pub expect: BTreeMap<String, Goals>,
}

impl Scenario {
    /// Whether the upstream is well at the end.
    #[must_use]
    pub fn ends_well(&self) -> bool {
        self.well_from < self.load.duration
    }

    /// The whole seconds in which calls are made.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.load.duration.as_secs()
    }

    /// Whether the calls are those of tenants, named in the header `x-tenant-id`.
    #[must_use]
    pub fn has_tenants(&self) -> bool {
        self.load.tenants > 0
    }
}

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        /// Name and text of each built-in scenario.
        const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),+];
    };
}

built_in![
    "storm",
    "total-outage",
    "brown-out",
    "slow-upstream",
    "one-bad-tenant",
    "idle-night",
    "rolling-restart",
    "metastable",
];

/// The names of the built-in scenarios.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The built-in scenario of this name.
#[must_use]
pub fn built_in(name: &str) -> Option<Scenario> {
    let (name, text) = BUILT_IN.iter().find(|built_in| built_in.0 == name)?;
    #[allow(clippy::panic)] // The text is compiled in, and a test reads each.
    Some(Scenario::parse(name, &format!("{name}.toml"), text).unwrap_or_else(|error| panic!("{error}")))
}

/// 2,000 processes, one call a second each; an upstream of 1.25 times that capacity with three seconds of backlog, 20
/// times slower for ten seconds.
#[must_use]
#[allow(clippy::expect_used)] // It is in the list above.
pub fn storm() -> Scenario {
    built_in("storm").expect("built in")
}

/// The same fleet; every connection is refused for a minute.
#[must_use]
#[allow(clippy::expect_used)]
pub fn total_outage() -> Scenario {
    built_in("total-outage").expect("built in")
}

/// The same fleet; half of the answers are errors for a minute.
#[must_use]
#[allow(clippy::expect_used)]
pub fn brown_out() -> Scenario {
    built_in("brown-out").expect("built in")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_is_valid_and_says_when_it_is_in_trouble() {
        for name in names() {
            let scenario = built_in(name).unwrap();
            assert!(scenario.trouble_from < scenario.well_from, "{name}");
            assert!(!scenario.expect.is_empty() && !scenario.title.is_empty(), "{name}");
        }
        assert!(storm().ends_well() && !built_in("one-bad-tenant").unwrap().ends_well());
        assert!(built_in("no such storm").is_none());
    }
}
