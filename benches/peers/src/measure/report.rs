//! What was measured, for people and for scripts.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::contenders::floor;
use crate::measure::{Measured, Row};
use crate::paths::Path;

/// Everything that was measured of crates, as one JSON object.
pub(crate) fn json(measured: &[Measured]) -> serde_json::Result<String> {
    let rows = measured.iter().flat_map(|measured| &measured.rows).filter(|row| row.who != floor::WHO);
    let rows = rows.map(JsonRow::from).collect();
    serde_json::to_string(&Json { rows })
}

#[derive(Serialize)]
struct Json {
    rows: Vec<JsonRow>,
}

#[derive(Serialize)]
struct JsonRow {
    path: &'static str,
    who: &'static str,
    value: f64,
    median: f64,
    allocs: f64,
}

impl From<&Row> for JsonRow {
    fn from(&Row { path, who, value, median, allocs }: &Row) -> Self {
        Self { path: path.name(), who, value: tenth(value), median: tenth(median), allocs: tenth(allocs) }
    }
}

fn tenth(value: f64) -> f64 {
    // Adding zero turns -0.0, which JSON would show, into 0.0.
    (value * 10.0).round() / 10.0 + 0.0
}

/// A table, a block for each path, the cheapest first.
pub(crate) struct Table<'a>(pub(crate) &'a [Measured]);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Measured { path, bare, rows } in self.0 {
            let unit = if *path == Path::BytesPerKey { "bytes" } else { "ns over bare" };
            writeln!(f, "{}: {}", path.name(), path.about())?;
            writeln!(f, "  {:<18}{unit:>14}{:>10}{:>10}", "", "median", "allocs")?;
            let mut rows = rows.clone();
            rows.sort_by(|one, other| one.value.total_cmp(&other.value));
            for Row { path: _, who, value, median, allocs } in rows {
                let (value, median, allocs) = (value + 0.0, median + 0.0, tenth(allocs));
                writeln!(f, "  {who:<18}{value:>14.0}{median:>10.0}{allocs:>10}")?;
            }
            if *path != Path::BytesPerKey {
                writeln!(f, "  {:<18}{bare:>14.0} ns alone", "bare")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
