//! Scenarios as TOML. The fields are described in `sim/scenarios/README.md`.

mod load;
mod upstream;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use self::load::LoadFields;
use self::upstream::UpstreamFields;
use super::goals::Goals;
use super::value::Span;
use super::{Scenario, ScenarioError, toml_file};

const WEEK: u64 = 7 * 86_400;

type Time = Span<WEEK>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFields {
    title: Option<String>,
    #[serde(default)]
    trouble: TroubleFields,
    load: LoadFields,
    upstream: UpstreamFields,
    #[serde(default)]
    expect: BTreeMap<String, Goals>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TroubleFields {
    label: Option<String>,
    from: Option<Time>,
    until: Option<Time>,
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
        let (file, text) = toml_file::read(path)?;
        let name = path.file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned());
        Self::parse(&name, &file, &text)
    }

    /// Reads the text of a file. `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// If the text is no valid scenario.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, ScenarioError> {
        let fields: FileFields = toml_file::parse(file, text)?;
        fields.scenario(name).map_err(|(field, why)| ScenarioError::new(file, field, why))
    }
}

impl FileFields {
    fn scenario(self, name: &str) -> Result<Scenario, Invalid> {
        let load = self.load.load()?;
        let tenants = load.tenants;
        let (upstream, episodes) = self.upstream.upstream(load.duration, tenants)?;
        let (first, last) = episodes.unwrap_or_default();
        let trouble = self.trouble;
        let trouble_from = trouble.from.map_or(first, |from| from.0);
        let well_from = trouble.until.map_or(last, |until| until.0);
        if trouble_from >= load.duration {
            let why = format!("{trouble_from:?} is not before the end of the load at {:?}", load.duration);
            return Err(("trouble.from".to_owned(), why));
        }
        if well_from < trouble_from {
            return Err(in_wrong_order("trouble", trouble_from, well_from));
        }
        let trouble_label = one_line("trouble.label", trouble.label.unwrap_or_else(|| "trouble".to_owned()))?;
        let title = one_line("title", self.title.unwrap_or_else(|| name.to_owned()))?;
        Ok(Scenario {
            name: name.to_owned(),
            title,
            load,
            upstream,
            trouble_label,
            trouble_from,
            well_from,
            expect: self.expect,
        })
    }
}

fn in_wrong_order(field: &str, from: Duration, until: Duration) -> Invalid {
    (format!("{field}.until"), format!("{until:?} is not after the beginning at {from:?}"))
}

/// Text that fits above a table or a picture.
fn one_line(field: &str, text: String) -> Result<String, Invalid> {
    if text.chars().any(char::is_control) || text.chars().count() > 100 {
        return Err((field.to_owned(), "must be one line of at most 100 characters".to_owned()));
    }
    Ok(text)
}
