use std::path::Path;

use serde::Deserialize;

use super::{Facts, Finding, Settings, lint};
use crate::scenario::{ScenarioError, toml_file};

/// Settings and what they have to fit, as a file holds them.
///
/// ```toml
/// [settings]               # those that are not the defaults
/// max_attempts = 4
/// attempt_timeout = "1s"
///
/// [facts]
/// processes = 2000
/// calls_per_second = 1
/// capacity = 2500
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The settings of the layers.
    #[serde(default)]
    pub settings: Settings,
    /// The traffic and the upstream.
    pub facts: Facts,
}

impl Case {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If there is no such file, a field is wrong, or the layers refuse a setting.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let (file, text) = toml_file::read(path)?;
        let case: Self = toml_file::parse(&file, &text)?;
        let refused = case.settings.retry_layer().err().or_else(|| case.settings.breaker_layer().err());
        match refused {
            Some(error) => Err(ScenarioError::new(&file, "settings", error)),
            None => Ok(case),
        }
    }

    /// Judges the settings by the facts.
    #[must_use]
    pub fn lint(&self) -> Vec<Finding> {
        lint(&self.settings, &self.facts)
    }
}
