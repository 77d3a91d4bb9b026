//! Files that change while they are watched.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower_rampart::config::{Config, watch};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

const PERIOD: Duration = Duration::from_secs(10);
/// So many attempts make the closure panic.
const PANICS: u32 = 13;

/// A watched file in a folder of its own. Tests act in the middle between two reads.
struct Watched {
    folder: PathBuf,
    applied: Arc<Mutex<Vec<u32>>>,
    log: Log,
    task: JoinHandle<()>,
    _subscriber: DefaultGuard,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Watched {
    /// Watches a file with two attempts for its first two reads.
    async fn new(test: &str) -> Self {
        let folder = folder(test);
        fs::write(folder.join("file"), attempts(2)).unwrap();
        let watched = Self::of(folder);
        sleep(PERIOD / 2).await;
        watched.reads(1).await;
        assert_eq!(watched.applied(), [2]);
        watched
    }

    fn of(folder: PathBuf) -> Self {
        let (applied, log) = (Arc::<Mutex<Vec<u32>>>::default(), Log::default());
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        let subscriber = tracing::subscriber::set_default(subscriber);
        let notes = applied.clone();
        let task = tokio::spawn(watch(folder.join("file"), PERIOD, move |text| {
            let config = Config::read(toml::Deserializer::parse(text)?)?;
            assert_ne!(config.retry.max_attempts, Some(PANICS), "as asked");
            notes.lock().unwrap().extend(config.retry.max_attempts);
            Ok(())
        }));
        Self { folder, applied, log, task, _subscriber: subscriber }
    }

    fn write(&self, content: impl AsRef<[u8]>) {
        fs::write(self.folder.join("file"), content).unwrap();
    }

    async fn reads(&self, reads: u32) {
        sleep(PERIOD * reads).await;
    }

    /// The attempts of each configuration that was applied.
    fn applied(&self) -> Vec<u32> {
        self.applied.lock().unwrap().clone()
    }

    fn warnings(&self) -> Vec<String> {
        let log = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect()
    }

    /// There is one warning, with these words, and nothing else was applied.
    #[track_caller]
    fn keeps(&self, applied: &[u32], warning: &str) {
        let warnings = self.warnings();
        assert_eq!((self.applied().as_slice(), warnings.len()), (applied, 1), "{warnings:?}");
        assert!(warnings[0].contains("settings kept") && warnings[0].contains(warning), "{warnings:?}");
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn folder(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rampart-watch-{test}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn attempts(attempts: u32) -> String {
    format!("[retry]\nmax_attempts = {attempts}\n")
}

#[tokio::test(start_paused = true)]
async fn a_new_content_is_applied_once_after_two_reads() {
    let watched = Watched::new("new").await;
    watched.write(attempts(3));
    watched.reads(1).await;
    assert_eq!(watched.applied(), [2]);
    watched.reads(1).await;
    assert_eq!(watched.applied(), [2, 3]);
    watched.write(attempts(3));
    watched.reads(9).await;
    assert_eq!(watched.applied(), [2, 3]);
    watched.write(attempts(2));
    watched.reads(2).await;
    assert_eq!(watched.applied(), [2, 3, 2]);
    assert_eq!(watched.warnings(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_being_written_is_left_alone() {
    let watched = Watched::new("torn").await;
    // Each of these could be read: an empty file, one that ends within a word, and one that ends after a line.
    for torn in ["", "[retry]\nmax_att", "[retry]\nmax_attempts = 7\n"] {
        watched.write(torn);
        watched.reads(1).await;
    }
    watched.write("[retry]\nmax_attempts = 7\ndeadline = '3s'\n");
    watched.reads(1).await;
    assert_eq!(watched.applied(), [2]);
    watched.reads(1).await;
    assert_eq!(watched.applied(), [2, 7]);
    assert_eq!(watched.warnings(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_stays_bad_is_one_warning_for_each_content() {
    let watched = Watched::new("bad").await;
    watched.write("[retry]\nmax_att");
    watched.reads(4).await;
    watched.keeps(&[2], "file");
    watched.write("[retry]\nmax_attempts = 0");
    watched.reads(4).await;
    let warnings = watched.warnings();
    assert_eq!((warnings.len(), watched.applied()), (2, vec![2]), "{warnings:?}");
    assert!(warnings[1].contains("retry.max_attempts: max_attempts includes the first try"), "{warnings:?}");
    watched.write(attempts(4));
    watched.reads(2).await;
    watched.write("[retry]\nmax_attempts = 0");
    watched.reads(4).await;
    assert_eq!((watched.warnings().len(), watched.applied()), (3, vec![2, 4]), "it is bad again");
}

#[tokio::test(start_paused = true)]
async fn watching_goes_on_after_a_panic() {
    let watched = Watched::new("panic").await;
    watched.write(attempts(PANICS));
    watched.reads(5).await;
    watched.keeps(&[2], "the closure panicked");
    watched.write(attempts(3));
    watched.reads(2).await;
    assert_eq!(watched.applied(), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_file_is_not_the_defaults() {
    let watched = Watched::new("empty").await;
    watched.write("\n");
    watched.reads(4).await;
    watched.keeps(&[2], "the file is empty");
}

#[tokio::test(start_paused = true)]
async fn a_file_over_a_mebibyte_is_not_read() {
    let watched = Watched::new("huge").await;
    let file = |bytes: usize| attempts(5) + &"#".repeat(bytes - attempts(5).len());
    watched.write(file((1 << 20) + 1));
    watched.reads(4).await;
    watched.keeps(&[2], "larger than 1 MiB");
    watched.write(file(1 << 20));
    watched.reads(2).await;
    assert_eq!(watched.applied(), [2, 5]);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_text_are_not_passed_on() {
    let watched = Watched::new("bytes").await;
    watched.write([0xff, 0xfe]);
    watched.reads(4).await;
    watched.keeps(&[2], "valid UTF-8");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_vanishes_is_waited_for() {
    let watched = Watched::new("vanished").await;
    let file = watched.folder.join("file");
    fs::remove_file(&file).unwrap();
    watched.reads(4).await;
    watched.keeps(&[2], "file");
    watched.write(attempts(2));
    watched.reads(4).await;
    assert_eq!(watched.applied(), [2], "it has been applied already");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    watched.reads(4).await;
    assert!(watched.warnings()[1].contains("not a regular file"), "{:?}", watched.warnings());
    fs::remove_dir(&file).unwrap();
    watched.write(attempts(6));
    watched.reads(2).await;
    assert_eq!(watched.applied(), [2, 6]);
}

/// As Kubernetes mounts a ConfigMap: `file` leads to `..data/file`, and `..data` is replaced by a link to another folder.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_symlink_that_jumps_is_followed() {
    use std::os::unix::fs::symlink;

    let folder = folder("symlink");
    let version = |number: u32| {
        fs::create_dir(folder.join(format!("..{number}"))).unwrap();
        fs::write(folder.join(format!("..{number}/file")), attempts(number)).unwrap();
        symlink(format!("..{number}"), folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    version(2);
    symlink("..data/file", folder.join("file")).unwrap();
    let watched = Watched::of(folder.clone());
    sleep(PERIOD / 2).await;
    watched.reads(1).await;
    assert_eq!(watched.applied(), [2]);
    version(3);
    fs::remove_dir_all(folder.join("..2")).unwrap();
    watched.reads(2).await;
    assert_eq!(watched.applied(), [2, 3]);
    fs::remove_dir_all(folder.join("..3")).unwrap();
    watched.reads(4).await;
    watched.keeps(&[2, 3], "file");
    version(4);
    watched.reads(2).await;
    assert_eq!(watched.applied(), [2, 3, 4]);
}

#[test]
fn the_end_of_the_runtime_ends_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    runtime.spawn(watch("no such file", PERIOD, move |_| {
        let _ = &sender;
        Ok(())
    }));
    runtime.block_on(tokio::task::yield_now());
    drop(runtime);
    assert_eq!(receiver.recv(), Err(std::sync::mpsc::RecvError));
}
