use std::error::Error;
use std::fmt;

use crate::InvalidSetting;

/// What is wrong in a configuration. The message names the field, its value, the reason and the nearest allowed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: Box<str>,
    reason: Box<str>,
    nearest: Option<Box<str>>,
}

impl ConfigError {
    pub(super) fn parse(path: String, error: &impl fmt::Display) -> Self {
        let path = if path == "." { Box::default() } else { path.into() };
        Self { path, reason: error.to_string().trim_end().into(), nearest: None }
    }

    pub(crate) fn invalid(path: String, invalid: &InvalidSetting, nearest: Option<String>) -> Self {
        Self { path: path.into(), reason: invalid.reason().into(), nearest: nearest.map(Into::into) }
    }

    /// Returns the path of the field, such as `per_name.billing.retry.max_attempts`. Empty if the file as a whole is wrong.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the allowed value next to the rejected one, as a file holds it. Shares are searched in thousandths,
    /// durations in milliseconds. `None` if the value has no neighbors, such as a name, or if the format reported the
    /// error.
    #[must_use]
    pub fn nearest(&self) -> Option<&str> {
        self.nearest.as_deref()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, reason, nearest } = self;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(reason)?;
        match nearest {
            Some(nearest) => write!(f, "; the nearest allowed value is {nearest}"),
            None => Ok(()),
        }
    }
}

impl Error for ConfigError {}
