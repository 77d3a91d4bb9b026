//! One line for every request that the app acted on. A file, so that it outlives a killed app.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Appends to the ledger. A line is one `write` in append mode, so that concurrent writers do not mix.
pub struct Writer {
    file: File,
}

impl Writer {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().create(true).append(true).open(path)? })
    }

    /// Records that a request was acted on. `intact` says whether its body was what the client meant to send.
    pub fn record(&self, id: u64, send: u64, intact: bool) -> io::Result<()> {
        (&self.file).write_all(format!("{id} {send} {}\n", u8::from(intact)).as_bytes())
    }
}

/// What the app acted on, by the id of the call.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: HashMap<u64, Entry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The number of the attempt of each time that the request was acted on.
    pub sends: Vec<u64>,
    /// How many of them came with a wrong body.
    pub corrupt: usize,
}

impl Ledger {
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string(path)?))
    }

    /// # Panics
    ///
    /// If a line is not as [`Writer`] writes it: an audit over half a ledger would prove nothing.
    #[must_use]
    pub fn parse(lines: &str) -> Self {
        let mut entries = HashMap::<u64, Entry>::new();
        for line in lines.lines() {
            let fields: Vec<u64> = line.split(' ').map(|field| field.parse().expect("a line of the ledger")).collect();
            let [id, send, intact] = fields[..] else { panic!("a line of the ledger: {line:?}") };
            let entry = entries.entry(id).or_default();
            entry.sends.push(send);
            entry.corrupt += usize::from(intact == 0);
        }
        Self { entries }
    }

    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// How many calls were acted on at least once.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
