use std::fmt::Write;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::breaker;

/// A flight recording as its text.
#[derive(Debug)]
pub(in crate::status_page) struct Recording {
    recording: breaker::Recording,
    next: Next,
}

#[derive(Debug)]
enum Next {
    Head,
    /// The place of the first record that has not been sent.
    Records(usize),
}

/// Records a poll: about 16 KiB.
const CHUNK: usize = 256;

impl Recording {
    pub(in crate::status_page) fn new(recording: breaker::Recording) -> Self {
        Self { recording, next: Next::Head }
    }

    pub(super) fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let first = match self.next {
            Next::Head => {
                self.next = Next::Records(0);
                return Poll::Ready(Some(self.recording.head().into()));
            }
            Next::Records(first) => first,
        };
        let mut text = String::new();
        let records = self.recording.records().iter().skip(first).take(CHUNK);
        for record in records {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{record}");
        }
        self.next = Next::Records(first + CHUNK);
        Poll::Ready(if text.is_empty() { None } else { Some(text.into()) })
    }
}
