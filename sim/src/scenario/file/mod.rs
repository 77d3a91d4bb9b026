//! Scenarios as TOML. The fields are described in `sim/scenarios/README.md`.

mod load;
mod upstream;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use self::load::LoadFields;
use self::upstream::UpstreamFields;
use super::goals::Goals;
use super::value::Span;
use super::{Scenario, ScenarioError};

const WEEK: u64 = 7 * 86_400;
const MOST_BYTES: u64 = 1 << 20;

type Time = Span<WEEK>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFields {
    title: Option<String>,
    trouble: Option<TroubleFields>,
    load: LoadFields,
    upstream: UpstreamFields,
    #[serde(default)]
    expect: BTreeMap<String, Goals>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TroubleFields {
    from: Time,
    until: Time,
}

/// A field, and what is wrong with it.
type Invalid = (String, String);

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If there is no such file, or it is no valid scenario.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
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
        let text = std::str::from_utf8(&bytes).map_err(|_| whole(&"not a text in UTF-8"))?;
        let name = path.file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned());
        Self::parse(&name, &file, text)
    }

    /// Reads the text of a file. `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// If the text is no valid scenario.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, ScenarioError> {
        let fields = toml::Deserializer::parse(text).map_err(|error| {
            ScenarioError::new(file, "", error.message()).at(text, error.span().map(|span| span.start))
        })?;
        let fields: FileFields = serde_path_to_error::deserialize(fields).map_err(|error| {
            let field = error.path().to_string();
            let inner = error.into_inner();
            let field = if field == "." { String::new() } else { field };
            ScenarioError::new(file, field, inner.message()).at(text, inner.span().map(|span| span.start))
        })?;
        fields.scenario(name).map_err(|(field, why)| ScenarioError::new(file, field, why))
    }
}

impl FileFields {
    fn scenario(self, name: &str) -> Result<Scenario, Invalid> {
        let load = self.load.load()?;
        let tenants = load.tenants;
        let (upstream, episodes) = self.upstream.upstream(load.duration, tenants)?;
        let (trouble_from, well_from) = match self.trouble {
            Some(trouble) => {
                in_order("trouble", trouble.from.0, trouble.until.0)?;
                (trouble.from.0, trouble.until.0)
            }
            None => episodes.unwrap_or_default(),
        };
        let title = self.title.unwrap_or_else(|| name.to_owned());
        Ok(Scenario { name: name.to_owned(), title, load, upstream, trouble_from, well_from, expect: self.expect })
    }
}

fn in_order(field: &str, from: Duration, until: Duration) -> Result<(), Invalid> {
    if from < until {
        return Ok(());
    }
    Err((format!("{field}.until"), format!("{until:?} is not after the beginning at {from:?}")))
}
