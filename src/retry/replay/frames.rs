//! The kept frames of a request body.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

/// The frames that were read from the source, and the position of the reader.
pub(super) struct FrameCopy {
    frames: VecDeque<KeptFrame>,
    /// Small chunks that arrived after the last of `frames`, copied into one. The current reader has seen them.
    tail: BytesMut,
    /// How many of `frames` the reader has seen. Always 0 once nothing is kept, because frames are then dropped when
    /// read.
    seen: usize,
    /// The bytes of data in `frames` and `tail`.
    len: usize,
    cap: usize,
    /// Whether further frames are kept.
    is_keeping: bool,
    /// Whether a frame was dropped.
    is_lost: bool,
}

#[derive(Clone)]
enum KeptFrame {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl FrameCopy {
    pub(super) fn new(cap: usize, is_keeping: bool) -> Self {
        Self { frames: VecDeque::new(), tail: BytesMut::new(), seen: 0, len: 0, cap, is_keeping, is_lost: false }
    }

    /// Returns true if a frame was dropped, so that the body can no longer be read from the start.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.tail.is_empty()
    }

    /// Returns the next kept frame that this turn has not seen.
    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        if !self.is_keeping {
            return self.frames.pop_front().map(Frame::from);
        }
        let frame = self.frames.get(self.seen)?.to_frame();
        self.seen += 1;
        Some(frame)
    }

    /// Drops the frames that were seen and keeps no further ones, because no attempt will read from the start again.
    pub(super) fn stop_keeping(&mut self) {
        self.is_keeping = false;
        self.is_lost = true;
        self.frames.drain(..self.seen);
        self.seen = 0;
        self.tail = BytesMut::new();
    }

    /// Keeps a frame from the source that the current reader is about to return.
    pub(super) fn keep(&mut self, frame: &Frame<Bytes>) {
        if frame.data_ref().is_some_and(Bytes::is_empty) {
            return;
        }
        let fits = match (frame.data_ref(), frame.trailers_ref()) {
            // HTTP allows no frame after the trailers. Such frames are passed on; keeping them would be unbounded.
            _ if self.frames.back().is_some_and(|last| matches!(last, KeptFrame::Trailers(_))) => false,
            (Some(data), _) => data.len() <= self.cap - self.len,
            (None, Some(_)) => true,
            (None, None) => false,
        };
        if !(self.is_keeping && fits) {
            self.discard();
        } else if let Some(data) = frame.data_ref() {
            self.len += data.len();
            // A `Bytes` keeps the whole allocation alive that it was sliced from, of unknown size. Only large chunks
            // are kept by reference, so there are at most eight such allocations; small chunks are copied.
            if data.len() < (self.cap / 8).max(4 * 1024) {
                self.tail.extend_from_slice(data);
            } else {
                self.push(KeptFrame::Data(data.clone()));
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.push(KeptFrame::Trailers(trailers.clone()));
        }
    }

    fn push(&mut self, kept: KeptFrame) {
        self.seal_tail();
        self.frames.push_back(kept);
        self.seen = self.frames.len();
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.frames.push_back(KeptFrame::Data(self.tail.split().freeze()));
        }
    }

    fn discard(&mut self) {
        self.is_keeping = false;
        self.is_lost = true;
        self.frames = VecDeque::new();
        self.tail = BytesMut::new();
        self.seen = 0;
    }

    /// Moves to the start for the next reader.
    pub(super) fn rewind(&mut self) {
        self.seal_tail();
        self.seen = 0;
    }

    /// Copies all frames for a reader that begins at the start. The bytes are shared, except for small chunks.
    pub(super) fn of_all(&self) -> Self {
        let mut copy = Self { frames: self.frames.clone(), tail: self.tail.clone(), ..Self::new(self.cap, true) };
        copy.seal_tail();
        copy
    }

    /// Returns true if the reader has seen every kept frame, so that the source comes next.
    pub(super) fn is_seen(&self) -> bool {
        self.seen == self.frames.len()
    }

    pub(super) fn unseen_len(&self) -> u64 {
        self.frames.iter().skip(self.seen).map(KeptFrame::len).sum()
    }
}

impl KeptFrame {
    fn to_frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers(trailers.clone()),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Trailers(_) => 0,
        }
    }
}

impl From<KeptFrame> for Frame<Bytes> {
    fn from(kept: KeptFrame) -> Self {
        match kept {
            KeptFrame::Data(data) => Frame::data(data),
            KeptFrame::Trailers(trailers) => Frame::trailers(trailers),
        }
    }
}
