//! What a call costs through this crate's layers and through those of its peers, in turn in one process, over the same
//! inner service.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml [-- OPTIONS]
//!
//!   --json         one JSON object instead of the table
//!   --brief        few rounds, some seconds in all
//!   --path NAME    this path alone
//!   --who NAME     this contender alone
//!   --maps         compare concurrent maps instead
//!   --insert-full  time new keys while all partitions are in use instead
//! ```
//!
//! With `--features metrics`, before the `--`, the path `metrics` has its contenders with their metrics on, too.

mod contenders;
mod measure;
mod paths;
mod settings;
mod upstream;

use std::env;
use std::process::ExitCode;

#[cfg(feature = "metrics")]
use contenders::metrics;
use contenders::{Contender, failsafe, floor, function, rampart, recloser, resilience, seatbelt, tower_retry};
use measure::{insert_full, maps, report};
use paths::Path;
use upstream::body::{Kilobyte, Reader};
use upstream::{Inner, Late};

/// Who takes part, what is said of their settings, and how they are built for a path, if they have such a path.
type Entry = (&'static str, &'static str, fn(Path) -> Option<Contender>);

const ENTRIES: &[Entry] = &[
    (rampart::WHO, rampart::NOTE, rampart::contender),
    (rampart::HEDGED, rampart::HEDGED_NOTE, rampart::hedged),
    (seatbelt::WHO, seatbelt::NOTE, seatbelt::contender),
    (resilience::WHO, resilience::NOTE, resilience::contender),
    (tower_retry::WHO, tower_retry::NOTE, tower_retry::contender),
    (recloser::WHO, recloser::NOTE, recloser::contender),
    (failsafe::WHO, failsafe::NOTE, failsafe::contender),
    #[cfg(feature = "metrics")]
    (metrics::RAMPART, metrics::RAMPART_NOTE, metrics::rampart),
    #[cfg(feature = "metrics")]
    (metrics::SEATBELT, metrics::SEATBELT_NOTE, metrics::seatbelt),
    #[cfg(feature = "metrics")]
    (metrics::RESILIENCE, metrics::RESILIENCE_NOTE, metrics::resilience),
    (function::BACKON, function::BACKON_NOTE, function::backon),
    (function::TOKIO_RETRY, function::TOKIO_RETRY_NOTE, function::tokio_retry),
    (floor::WHO, floor::NOTE, floor::contender),
];

const NOTES: &str = "\
All breakers are told: the window said in the row, failure rate 0.5, minimum of 10 calls, failures by status, open for an
hour; all retries: 4 attempts, exponential waits from 100 ms to 5 s. The inner service answers at once; bare is that
service alone, on the open path one that fails at once. The first number compares the fastest of the rounds, which is
what the code costs when nothing disturbs it; the median is what it cost on this machine now. Two threads wait for each
other every 5,000 calls, so that none runs alone for long; a thread whose call has to wait is parked.";

const ROUNDS: usize = 25;
const ROUNDS_IN_BRIEF: usize = 5;

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("peers: {message}");
            return ExitCode::from(2);
        }
    };
    // Entered, never driven: some peers want a runtime to be there when they are built.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime that has a thread already");
    let _entered = runtime.enter();
    if options.maps {
        maps::compare(options.brief)
    } else if options.insert_full {
        insert_full::measure(options.brief)
    } else {
        compare(&options)
    }
    ExitCode::SUCCESS
}

fn compare(options: &Options) {
    let rounds = if options.brief { ROUNDS_IN_BRIEF } else { ROUNDS };
    let taking_part = |who: &str| options.who.as_deref().is_none_or(|only| only == who);
    let mut measured = Vec::new();
    for path in Path::ALL.into_iter().filter(|path| options.path.is_none_or(|only| only == *path)) {
        let mut contenders = vec![bare(path)];
        let entries = ENTRIES.iter().filter(|(who, ..)| taking_part(who));
        contenders.extend(entries.filter_map(|(_, _, contender)| contender(path)));
        measured.push(measure::measure(path, &contenders, rounds));
    }
    if options.json {
        println!("{}", report::json(&measured).expect("numbers and names make JSON"));
        return;
    }
    print!("{}{NOTES}\n\n", report::Table(&measured));
    for (who, note, _) in ENTRIES {
        println!("{who}: {note}.");
    }
}

fn bare(path: Path) -> Contender {
    match path {
        Path::Open => Contender::new("bare", || Inner::Refusing),
        Path::RetryBody => Contender::new("bare", || Kilobyte::new(Reader)),
        Path::RetryPending => Contender::new("bare", || Late),
        _ => Contender::new("bare", || Inner::Healthy),
    }
}

#[derive(Debug, Default)]
struct Options {
    json: bool,
    brief: bool,
    maps: bool,
    insert_full: bool,
    path: Option<Path>,
    who: Option<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--json" => options.json = true,
                "--brief" => options.brief = true,
                "--maps" => options.maps = true,
                "--insert-full" => options.insert_full = true,
                "--path" => options.path = Some(path(words.next())?),
                "--who" => options.who = Some(who(words.next())?),
                _ => return Err(format!("what is {word}? See the head of src/main.rs")),
            }
        }
        Ok(options)
    }
}

fn path(name: Option<String>) -> Result<Path, String> {
    let name = name.ok_or("--path wants a name")?;
    let known = || Path::ALL.map(Path::name).join(", ");
    Path::ALL
        .into_iter()
        .find(|path| path.name() == name)
        .ok_or_else(|| format!("no path {name}; there are {}", known()))
}

fn who(name: Option<String>) -> Result<String, String> {
    let name = name.ok_or("--who wants a name")?;
    let known = || ENTRIES.iter().map(|(who, ..)| *who).collect::<Vec<_>>().join(", ");
    if ENTRIES.iter().any(|(who, ..)| *who == name) {
        Ok(name)
    } else {
        Err(format!("no contender {name}; there are {}", known()))
    }
}
