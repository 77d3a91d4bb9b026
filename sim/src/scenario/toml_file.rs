//! Reads a file of fields, with one line for what is wrong with it.

use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::ScenarioError;

const MOST_BYTES: u64 = 1 << 20;

/// Returns the name of the file, as errors show it, and its text.
pub(crate) fn read(path: &Path) -> Result<(String, String), ScenarioError> {
    let file = path.display().to_string();
    let whole = |why: &dyn fmt::Display| ScenarioError::new(&file, "", why);
    let metadata = path.metadata().map_err(|error| whole(&error))?;
    if !metadata.is_file() {
        return Err(whole(&"not a regular file"));
    }
    if metadata.len() > MOST_BYTES {
        return Err(whole(&format_args!("longer than {MOST_BYTES} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| whole(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| whole(&"not a text in UTF-8"))?;
    Ok((file, text))
}

pub(crate) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ScenarioError> {
    let fields = toml::Deserializer::parse(text)
        .map_err(|error| ScenarioError::new(file, "", error.message()).at(text, error.span().map(|span| span.start)))?;
    serde_path_to_error::deserialize(fields).map_err(|error| {
        let field = error.path().to_string();
        let inner = error.into_inner();
        let field = if field == "." { String::new() } else { field };
        ScenarioError::new(file, field, inner.message()).at(text, inner.span().map(|span| span.start))
    })
}
