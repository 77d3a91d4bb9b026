use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use serde_path_to_error::{Path, Segment};

use crate::InvalidSetting;

/// So many characters at each end of a path or reason are shown, because a value in it may be of any length.
const SHOWN: usize = 500;

/// What is wrong in a configuration. The message names the field, its value, the reason and the nearest allowed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: Box<str>,
    reason: Box<str>,
    nearest: Option<Box<str>>,
}

impl ConfigError {
    pub(super) fn parse(path: &Path, error: &impl fmt::Display) -> Self {
        let mut text = String::new();
        for segment in path {
            match segment {
                Segment::Seq { index } => text += &format!("[{index}]"),
                Segment::Map { key: name } | Segment::Enum { variant: name } => {
                    text += if text.is_empty() { "" } else { "." };
                    text += &key(name);
                }
                Segment::Unknown => {}
            }
        }
        Self { path: text.into(), reason: error.to_string().trim_end().into(), nearest: None }
    }

    pub(crate) fn invalid(path: String, invalid: &InvalidSetting, nearest: Option<String>) -> Self {
        Self { path: path.into(), reason: invalid.reason().into(), nearest: nearest.map(Into::into) }
    }

    /// Returns the path of the value, such as `per_name.billing.retry.max_attempts` or `classify.statuses[0].first`. A
    /// name with other characters than letters, digits, `_` and `-` is quoted. Empty if the file as a whole is wrong.
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
            write!(f, "{}: ", shown(path))?;
        }
        f.write_str(&shown(reason))?;
        match nearest {
            Some(nearest) => write!(f, "; the nearest allowed value is {nearest}"),
            None => Ok(()),
        }
    }
}

impl Error for ConfigError {}

/// Quotes a name of a file where a path needs it.
pub(super) fn key(name: &str) -> Cow<'_, str> {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(is_bare) { name.into() } else { format!("{name:?}").into() }
}

fn shown(text: &str) -> Cow<'_, str> {
    match (text.char_indices().nth(SHOWN), text.char_indices().nth_back(SHOWN)) {
        (Some((head, _)), Some((tail, _))) if head < tail => format!("{}…{}", &text[..head], &text[tail..]).into(),
        _ => text.into(),
    }
}
