//! Answers nobody can bill by, kept for a human to reconcile: one JSON object a line.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::failure::Failure;
use super::payload::Unusable;

/// The file of dead letters of one run.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    path: PathBuf,
    file: File,
    written: AtomicU64,
}

/// What is kept: enough to ask again by hand, and nothing of the payload, the headers or the address.
#[derive(Debug, Serialize)]
struct DeadLetter<'a> {
    tenant: &'a str,
    /// Milliseconds since 1970-01-01 UTC.
    time_ms: u64,
    reason: String,
    bytes: usize,
}

impl DeadLetters {
    /// Starts a fresh file, in place of that of an earlier run.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Self { path: path.to_owned(), file, written: AtomicU64::new(0) })
    }

    /// A line is short and written at once, so that lines of concurrent pulls do not mix.
    pub(crate) fn write(&self, tenant: &str, unusable: &Unusable) -> Result<(), Failure> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let letter = DeadLetter {
            tenant,
            time_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            reason: unusable.reason.to_string(),
            bytes: unusable.bytes,
        };
        self.append(&letter).map_err(|error| cannot_write(&self.path, &error))?;
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn append(&self, letter: &DeadLetter<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(letter)?;
        line.push(b'\n');
        (&self.file).write_all(&line)
    }
}

impl fmt::Display for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dead letters in {}", self.written.load(Ordering::Relaxed), self.path.display())
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write dead letters to {}: {error}", path.display()))
}
