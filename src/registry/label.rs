use std::borrow::Cow;
use std::fmt::{self, Debug, Write};
use std::hash::BuildHasher;

use crate::seed::{HashState, Seed};

/// Makes the labels of partitions in errors and telemetry.
#[derive(Debug)]
pub(crate) struct Labels {
    /// Labels cannot be guessed back from their hashes: unless seeded, the hash is keyed anew in every layer.
    redact: Option<HashState>,
}

/// The start of a text.
struct Start {
    text: String,
    /// Characters that still fit.
    room: usize,
}

pub(crate) const DEFAULT: &str = "(default)";

/// Characters. Keys come from callers, and longer labels are hard to read.
const LONGEST: usize = 64;

impl Labels {
    pub(crate) fn new(redact: bool, seed: Seed) -> Self {
        Self { redact: redact.then(|| seed.hash_state()) }
    }

    /// What `Debug` writes of the key, without the quotes of a string.
    pub(crate) fn of(&self, key: &impl Debug) -> Box<str> {
        if let Some(hasher) = &self.redact {
            return format!("#{:016x}", hasher.hash_one(format!("{key:?}"))).into();
        }
        // Both quotes may go. A long key is not written to its end.
        let mut start = Start { text: String::new(), room: LONGEST + 2 };
        let is_whole = write!(start, "{key:?}").is_ok();
        let bare =
            if is_whole { bare(&start.text) } else { start.text.strip_prefix('"').unwrap_or(&start.text).into() };
        match bare.char_indices().nth(LONGEST) {
            None => in_one_line(&bare).into(),
            Some((end, _)) => format!("{}…", in_one_line(&bare[..end])).into(),
        }
    }
}

/// A name, or what a key of the user's own writes with `Debug`, may break a line.
pub(crate) fn in_one_line(text: &str) -> String {
    if text.contains(char::is_control) { text.escape_debug().to_string() } else { text.to_owned() }
}

impl Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.char_indices().nth(self.room) {
            None => {
                self.room -= text.chars().count();
                self.text.push_str(text);
                Ok(())
            }
            Some((end, _)) => {
                self.room = 0;
                self.text.push_str(&text[..end]);
                Err(fmt::Error)
            }
        }
    }
}

/// The label of what new keys share when all partitions are in use.
pub(crate) fn overflow(which: usize) -> Box<str> {
    format!("(overflow-{which})").into()
}

/// What `Debug` writes of a string, without the quotes. Text that would pass for a label of our own stands in quotes,
/// also if `Debug` writes none, as that of a host does.
pub(crate) fn bare(text: &str) -> Cow<'_, str> {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(bare) if is_own(bare) => text.into(),
        Some(bare) => bare.into(),
        None if is_own(text) => format!("{text:?}").into(),
        None => text.into(),
    }
}

fn is_own(text: &str) -> bool {
    text == DEFAULT || text.starts_with("(overflow-")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    struct Unquoted(usize);

    impl Debug for Unquoted {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&"ü".repeat(self.0))
        }
    }

    #[test]
    fn labels_read_well_and_break_no_line() {
        let labels = Labels::new(false, Seed::default());
        assert_eq!(&*labels.of(&"tenant-7"), "tenant-7");
        assert_eq!(&*labels.of(&7_u64), "7");
        assert_eq!(&*labels.of(&"a\nb\"c"), r#"a\nb\"c"#);
        assert_eq!(&*labels.of(&HeaderValue::from_static("tenant-7")), "tenant-7");
        assert_eq!(&*labels.of(&HeaderValue::from_bytes(b"\xff\xfe").unwrap()), r"\xff\xfe");
        let mut secret = HeaderValue::from_static("hunter2");
        secret.set_sensitive(true);
        assert_eq!(&*labels.of(&secret), "Sensitive");
        assert_eq!(&*labels.of(&""), "");
        assert_eq!(&*labels.of(&format_args!("a\nb \"c\"")), r#"a\nb \"c\""#);
        assert_eq!(&*labels.of(&"ü".repeat(64)), "ü".repeat(64));
        for len in [65, 66, 67, 8_192] {
            assert_eq!(*labels.of(&"ü".repeat(len)), format!("{}…", "ü".repeat(64)), "{len}");
            assert_eq!(*labels.of(&Unquoted(len)), format!("{}…", "ü".repeat(64)), "{len}");
        }
    }

    #[test]
    fn a_key_that_spells_a_built_in_label_is_quoted() {
        use http::uri::Authority;

        use crate::registry::partition::{Host, Nested};

        let labels = Labels::new(false, Seed::default());
        assert_eq!(&*labels.of(&"(default)"), r#""(default)""#);
        assert_eq!(&*labels.of(&HeaderValue::from_static("(overflow-7)")), r#""(overflow-7)""#);
        assert_eq!(&*labels.of(&r#""(default)""#), r#"\"(default)\""#);
        assert_eq!(&*labels.of(&"(other)"), "(other)");
        let host = || Host::from(Authority::from_static("(default)"));
        assert_eq!(&*labels.of(&host()), r#""(default)""#);
        assert_eq!(&*labels.of(&Nested::<_, &str>::Outer(host())), r#""(default)""#);
        assert_eq!(&*labels.of(&Nested::Inner("host", Some(host()))), r#"host/"(default)""#);
        let inner = |key| labels.of(&Nested::Inner("host", key));
        assert_eq!((&*inner(None), &*inner(Some("(default)"))), ("host/(default)", r#"host/"(default)""#));
        assert_eq!(&*labels.of(&Nested::<_, &str>::Outer("(overflow-7)")), r#""(overflow-7)""#);
    }

    #[test]
    fn redacted_labels_differ_and_reveal_nothing() {
        let labels = Labels::new(true, Seed::default());
        let label = labels.of(&"tenant-7");
        assert!(label.len() == 17 && !label.contains("tenant"), "{label}");
        assert_eq!(label, labels.of(&"tenant-7"));
        assert_ne!(label, labels.of(&"tenant-8"));
        assert_ne!(label, Labels::new(true, Seed::default()).of(&"tenant-7"));
    }
}
