use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};

/// Makes the labels of partitions in errors and telemetry.
#[derive(Debug)]
pub(crate) struct Labels {
    /// Labels cannot be guessed back from their hashes: the hash is keyed anew in every process.
    redact: Option<RandomState>,
}

pub(crate) const DEFAULT: &str = "(default)";
pub(crate) const OVERFLOW: &str = "(overflow)";

/// Keys come from callers, and longer labels are hard to read.
const LONGEST: usize = 64;

impl Labels {
    pub(crate) fn new(redact: bool) -> Self {
        Self { redact: redact.then(RandomState::new) }
    }

    /// What `Debug` writes of the key, which escapes all that could break a line, without the quotes of a string.
    pub(crate) fn of(&self, key: &impl Debug) -> Box<str> {
        let text = format!("{key:?}");
        if let Some(hasher) = &self.redact {
            return format!("#{:016x}", hasher.hash_one(text)).into();
        }
        let bare = bare(&text);
        match bare.char_indices().nth(LONGEST) {
            None => bare.into_owned().into(),
            Some((end, _)) => format!("{}…", &bare[..end]).into(),
        }
    }
}

/// What `Debug` writes of a string, without the quotes. Text that would pass for a label of our own stands in quotes,
/// also if `Debug` writes none, as that of a host does.
pub(crate) fn bare(text: &str) -> Cow<'_, str> {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(DEFAULT | OVERFLOW) => text.into(),
        Some(bare) => bare.into(),
        None if matches!(text, DEFAULT | OVERFLOW) => format!("{text:?}").into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn labels_read_well_and_break_no_line() {
        let labels = Labels::new(false);
        assert_eq!(&*labels.of(&"tenant-7"), "tenant-7");
        assert_eq!(&*labels.of(&7_u64), "7");
        assert_eq!(&*labels.of(&"a\nb\"c"), r#"a\nb\"c"#);
        assert_eq!(&*labels.of(&HeaderValue::from_static("tenant-7")), "tenant-7");
        assert_eq!(&*labels.of(&HeaderValue::from_bytes(b"\xff\xfe").unwrap()), r"\xff\xfe");
        let mut secret = HeaderValue::from_static("hunter2");
        secret.set_sensitive(true);
        assert_eq!(&*labels.of(&secret), "Sensitive");
        assert_eq!(&*labels.of(&""), "");
        assert_eq!(labels.of(&"ü".repeat(65)).chars().count(), 65);
    }

    #[test]
    fn a_key_that_spells_a_built_in_label_is_quoted() {
        use http::uri::Authority;

        use crate::breaker::partition::{Host, Nested};

        let labels = Labels::new(false);
        assert_eq!(&*labels.of(&"(default)"), r#""(default)""#);
        assert_eq!(&*labels.of(&HeaderValue::from_static("(overflow)")), r#""(overflow)""#);
        assert_eq!(&*labels.of(&r#""(default)""#), r#"\"(default)\""#);
        assert_eq!(&*labels.of(&"(other)"), "(other)");
        let host = || Host::from(Authority::from_static("(default)"));
        assert_eq!(&*labels.of(&host()), r#""(default)""#);
        assert_eq!(&*labels.of(&Nested::<_, &str>::Outer(host())), r#""(default)""#);
        assert_eq!(&*labels.of(&Nested::Inner("host", Some(host()))), r#"host/"(default)""#);
        let inner = |key| labels.of(&Nested::Inner("host", key));
        assert_eq!((&*inner(None), &*inner(Some("(default)"))), ("host/(default)", r#"host/"(default)""#));
        assert_eq!(&*labels.of(&Nested::<_, &str>::Outer("(overflow)")), r#""(overflow)""#);
    }

    #[test]
    fn redacted_labels_differ_and_reveal_nothing() {
        let labels = Labels::new(true);
        let label = labels.of(&"tenant-7");
        assert!(label.len() == 17 && !label.contains("tenant"), "{label}");
        assert_eq!(label, labels.of(&"tenant-7"));
        assert_ne!(label, labels.of(&"tenant-8"));
        assert_ne!(label, Labels::new(true).of(&"tenant-7"));
    }
}
