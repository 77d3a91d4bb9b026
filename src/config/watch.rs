use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::BoxError;

const TARGET: &str = "tower_rampart::config";
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads a file every `period`, and passes its text to `apply` when it has changed. Spawn it; drop it to stop.
///
/// ```
/// use std::time::Duration;
/// use tower_rampart::config::{self, Config};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (sender, configs) = tokio::sync::watch::channel(Config::default());
/// tokio::spawn(config::watch("/etc/billing/rampart.toml", Duration::from_secs(10), move |text| {
///     sender.send_replace(Config::read(toml::Deserializer::parse(text)?)?);
///     Ok(())
/// }));
/// # let _ = configs;
/// # }
/// ```
///
/// - `apply` parses the text first and changes nothing if it returns an error. The settings then stay as they are, and
///   watching goes on, also after a panic.
/// - The content is compared, not a time or an inode, and symlinks are followed. So it notices a ConfigMap, which
///   Kubernetes replaces behind a symlink.
/// - A content counts once two reads in a row found it, so that a file is not read half-written. What the file has at
///   the start counts, too.
/// - A file that is missing, empty, over 1 MiB, no regular file or not UTF-8 is not passed on. An empty one would mean
///   all defaults, and may only be half-written.
///
/// Events with the target `tower_rampart::config` and the `path`: INFO for settings that were applied; WARN, with the
/// `error`, for a content or a state of the file that was not, once for each.
///
/// The file is read on a blocking thread of tokio, because one on a network can take long.
///
/// # Panics
///
/// Panics when polled outside of a tokio runtime with a timer.
pub async fn watch<Apply>(path: impl Into<PathBuf>, period: Duration, mut apply: Apply)
where
    Apply: FnMut(&str) -> Result<(), BoxError>,
{
    let path = path.into();
    let (mut last, mut applied, mut rejected) = (None, None, None);
    loop {
        let file = path.clone();
        let Ok(text) = tokio::task::spawn_blocking(move || read(&file)).await else {
            // The runtime shuts down.
            return;
        };
        let content = Some(fingerprint(&text));
        if content == last && content != applied && content != rejected {
            match text.map_err(BoxError::from).and_then(|text| applied_by(&mut apply, &text)) {
                Ok(()) => {
                    tracing::info!(target: TARGET, path = %path.display(), "settings applied");
                    (applied, rejected) = (content, None);
                }
                Err(error) => {
                    tracing::warn!(target: TARGET, path = %path.display(), %error, "settings kept");
                    rejected = content;
                }
            }
        }
        last = content;
        tokio::time::sleep(period).await;
    }
}

/// A panic, which the panic hook has reported, is an error: no later content would be noticed.
fn applied_by(apply: &mut impl FnMut(&str) -> Result<(), BoxError>, text: &str) -> Result<(), BoxError> {
    catch_unwind(AssertUnwindSafe(|| apply(text))).unwrap_or_else(|_| Err("the closure panicked".into()))
}

fn read(path: &Path) -> io::Result<String> {
    let invalid = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    // To open a pipe may block forever.
    if !fs::metadata(path)?.is_file() {
        return invalid("not a regular file");
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    match text.len() as u64 {
        _ if text.trim().is_empty() => invalid("the file is empty"),
        bytes if bytes > MAX_BYTES => invalid("the file is larger than 1 MiB"),
        _ => Ok(text),
    }
}

fn fingerprint(text: &io::Result<String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.as_ref().map_err(ToString::to_string).hash(&mut hasher);
    hasher.finish()
}
