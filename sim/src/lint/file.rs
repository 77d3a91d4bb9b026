use std::path::Path;

use tower_rampart::config::Config;

use crate::scenario::{ScenarioError, toml_file};

/// Reads a configuration in TOML, as `docs/CONFIG.md` describes it, for [`Settings::of`](super::Settings::of).
///
/// # Errors
///
/// If there is no such file, a field is wrong, or a setter rejects its value.
pub fn read(path: &Path) -> Result<Config, ScenarioError> {
    let (file, text) = toml_file::read(path)?;
    let config: Config = toml_file::parse(&file, &text)?;
    config.check().map_err(|error| ScenarioError::new(&file, "", error))?;
    Ok(config)
}
