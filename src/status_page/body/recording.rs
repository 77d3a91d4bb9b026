use std::fmt::Write;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::breaker;
use crate::status_page::breakers::Watched;
use crate::status_page::viewers::Place;

/// A flight recording as its text. The copy is made when it is read first, so an answer to `HEAD` costs nothing.
#[derive(Debug)]
pub(in crate::status_page) struct Recording {
    watched: Arc<Watched>,
    layer: usize,
    copy: Option<breaker::Recording>,
    /// The number of records that have been sent.
    sent: usize,
    _place: Place,
}

/// Records a poll: about 16 KiB.
const CHUNK: usize = 256;

impl Recording {
    pub(in crate::status_page) fn new(watched: Arc<Watched>, layer: usize, place: Place) -> Self {
        Self { watched, layer, copy: None, sent: 0, _place: place }
    }

    pub(super) fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(copy) = &self.copy else {
            self.copy = self.watched.recording(self.layer);
            return Poll::Ready(self.copy.as_ref().map(|copy| copy.head().into()));
        };
        let mut text = String::new();
        for record in copy.records().iter().skip(self.sent).take(CHUNK) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{record}");
        }
        self.sent += CHUNK;
        Poll::Ready(if text.is_empty() { None } else { Some(text.into()) })
    }
}
