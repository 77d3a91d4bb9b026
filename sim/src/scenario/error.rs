use std::error::Error;
use std::fmt;

/// Why a scenario file cannot be used. Shown in one line: file, line, field and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    file: String,
    line: Option<usize>,
    field: String,
    why: String,
}

impl ScenarioError {
    pub(crate) fn new(file: &str, field: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), line: None, field: field.into(), why: one_line(&why.to_string()) }
    }

    /// Reports the line of this byte of the text.
    pub(super) fn at(mut self, text: &str, byte: Option<usize>) -> Self {
        let before = byte.and_then(|byte| text.as_bytes().get(..byte));
        self.line = before.map(|before| before.iter().filter(|byte| **byte == b'\n').count() + 1);
        self
    }

    /// The field with the tables around it, such as `load.processes`. Empty if the file as a whole cannot be read.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

/// No text of a file can break the line or move the cursor.
fn one_line(text: &str) -> String {
    let printable: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match printable.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &printable[..end]),
        None => printable,
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.file))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", one_line(&self.field))?;
        }
        write!(f, ": {}", self.why)
    }
}

impl Error for ScenarioError {}
