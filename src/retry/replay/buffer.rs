//! The copy of a request body that lets an attempt read it again from the start.

use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use super::frames::FrameCopy;
use crate::BoxError;
use crate::classify::RequestBodyFailed;
use crate::retry::policy::GiveUp;

/// The body of a request and a copy of what was read from it so far. The attempts read it in turn.
///
/// The body must outlive the attempt that started to read it, so it stays here and is polled under the lock. The lock
/// is uncontended in practice: only the current reader takes it, and the retry layer between attempts.
pub(super) struct ReplayBuffer<B> {
    /// The turn of the reader that is alive, or 0. Outside the lock, so that dropping a reader does not take it.
    alive: AtomicU32,
    /// Whether the body knew its length before anything was read.
    has_exact_length: bool,
    shared: Mutex<Shared<B>>,
}

/// One attempt's view of the buffer.
pub(super) struct Reader<B> {
    buffer: Arc<ReplayBuffer<B>>,
    turn: u32,
    // Set at the end of the body. Stays set when a later attempt rewinds the buffer.
    ended: bool,
}

struct Shared<B> {
    /// The turn of the current reader. Readers of earlier turns get an error.
    turn: u32,
    source: Source<B>,
    copy: FrameCopy,
    /// The waker of the reader that waits for the source.
    waiting: Option<Waker>,
}

enum Source<B> {
    // Boxed because a body must not move once it was polled, and the mutex does not pin its content.
    Open(Pin<Box<B>>),
    Ended,
    Failed,
}

/// Why a replayed body returns no more frames.
const SUPERSEDED: &str = "another attempt has taken the request body over";
const FAILED_BEFORE: &str = "the request body has failed before";

impl<B: Body> ReplayBuffer<B> {
    pub(super) fn new(body: B, cap: usize) -> Arc<Self> {
        // A body that is known to be too large is not kept. It can be sent again as long as nothing was read.
        let size = body.size_hint();
        let is_keeping = size.lower() <= cap as u64;
        let copy = FrameCopy::new(cap, is_keeping);
        let shared = Shared { turn: 1, source: Source::Open(Box::pin(body)), copy, waiting: None };
        Arc::new(Self {
            alive: AtomicU32::new(0),
            has_exact_length: size.exact().is_some(),
            shared: Mutex::new(shared),
        })
    }

    /// Returns the reader for the current turn. Stops keeping frames if no other attempt can follow.
    pub(super) fn reader(buffer: &Arc<Self>, more: bool) -> Reader<B> {
        let mut shared = buffer.lock();
        if !more {
            shared.copy.stop_keeping();
        }
        let turn = shared.turn;
        buffer.alive.store(turn, Ordering::Release);
        drop(shared);
        Reader { buffer: Arc::clone(buffer), turn, ended: false }
    }

    /// Returns true if the body itself failed.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.lock().source, Source::Failed)
    }

    /// Returns true if the current reader has seen all of the body, and the copy holds all of it.
    pub(super) fn is_complete(&self) -> bool {
        self.lock().is_complete()
    }

    /// Returns a reader of a copy of its own, which leaves the current reader alone, if the body is complete.
    pub(super) fn second_reader(&self) -> Option<Reader<B>> {
        let shared = self.lock();
        let copy = shared.is_complete().then(|| shared.copy.of_all())?;
        let shared = Shared { turn: 1, source: Source::Ended, copy, waiting: None };
        let (alive, has_exact_length) = (AtomicU32::new(0), self.has_exact_length);
        Some(Self::reader(&Arc::new(Self { alive, has_exact_length, shared: Mutex::new(shared) }), false))
    }

    /// Ends the turn of the current reader. If a connection still holds that reader, it gets an error from now on,
    /// because an end of stream would make a truncated body look complete.
    ///
    /// Checks and rewinds under one lock, because that reader may continue to read in between.
    pub(super) fn rewind(&self, answered: bool) -> Result<(), GiveUp> {
        let mut shared = self.lock();
        if matches!(shared.source, Source::Failed) {
            return Err(GiveUp::BodyFailed);
        }
        let sending = self.alive.load(Ordering::Acquire) == shared.turn && !shared.is_at_end();
        if shared.copy.is_lost() || (answered && sending) {
            return Err(GiveUp::BodyNotReplayable);
        }
        shared.turn += 1;
        shared.copy.rewind();
        let waiting = shared.waiting.take();
        drop(shared);
        if let Some(waker) = waiting {
            waker.wake();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Shared<B>> {
        self.shared.lock().unwrap_or_else(|poisoned| {
            // The body panicked in a poll and must not be polled again.
            let mut shared = poisoned.into_inner();
            shared.source = Source::Failed;
            shared
        })
    }
}

impl<B> Reader<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(self.poll_shared(cx));
        // Checked with the last frame, so that a later rewind cannot turn this reader's end into an error.
        self.ended = match &frame {
            Some(Ok(_)) => self.is_end_stream(),
            Some(Err(_)) => false,
            None => true,
        };
        Poll::Ready(frame)
    }

    fn poll_shared(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // With the only reference here, the call has ended and no attempt can follow.
        let more = Arc::strong_count(&self.buffer) > 1;
        let mut shared = self.buffer.lock();
        if shared.turn != self.turn {
            return Poll::Ready(Some(Err(SUPERSEDED.into())));
        }
        let Shared { turn: _, source, copy, waiting } = &mut *shared;
        if !more {
            copy.stop_keeping();
        }
        if let Some(frame) = copy.next() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let polled = match source {
            Source::Open(body) => body.as_mut().poll_frame(cx),
            Source::Ended => return Poll::Ready(None),
            Source::Failed => return Poll::Ready(Some(Err(RequestBodyFailed::new(FAILED_BEFORE).into()))),
        };
        match polled {
            Poll::Pending => {
                match waiting {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waiting = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                copy.keep(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let failed = mem::replace(source, Source::Failed);
                drop((shared, failed));
                Poll::Ready(Some(Err(RequestBodyFailed::new(error).into())))
            }
            Poll::Ready(None) => {
                let ended = mem::replace(source, Source::Ended);
                drop((shared, ended));
                Poll::Ready(None)
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.ended || {
            let shared = self.buffer.lock();
            shared.turn == self.turn && shared.is_at_end()
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        if self.ended {
            return SizeHint::with_exact(0);
        }
        let shared = self.buffer.lock();
        if shared.turn == self.turn { shared.size_hint(self.buffer.has_exact_length) } else { SizeHint::default() }
    }
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        let _ = self.buffer.alive.compare_exchange(self.turn, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

impl<B: Body> Shared<B> {
    fn is_complete(&self) -> bool {
        self.is_at_end() && !self.copy.is_lost()
    }

    fn is_at_end(&self) -> bool {
        self.copy.is_seen()
            && match &self.source {
                Source::Open(body) => body.is_end_stream(),
                Source::Ended => true,
                Source::Failed => false,
            }
    }

    /// Omits a length that became known only by reading to the end. With a length HTTP/1 frames a body differently, so
    /// that a replay would lose its trailers.
    fn size_hint(&self, exact: bool) -> SizeHint {
        let copied = self.copy.unseen_len();
        let rest = match &self.source {
            Source::Open(body) => body.size_hint(),
            Source::Ended => SizeHint::with_exact(0),
            Source::Failed => SizeHint::default(),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(copied));
        if let Some(upper) = rest.upper().filter(|_| exact).and_then(|upper| upper.checked_add(copied)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn next(reader: &mut Reader<Full<Bytes>>) -> Option<Bytes> {
        match reader.poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => frame.map(|frame| frame.unwrap().into_data().unwrap()),
            Poll::Pending => panic!("a body in memory is always ready"),
        }
    }

    #[test]
    fn the_last_attempt_drops_the_copy_even_while_a_connection_holds_an_earlier_reader() {
        for size in [1_000, 60_000] {
            let buffer = ReplayBuffer::new(Full::new(Bytes::from(vec![7; size])), 64 * 1024);
            let mut first = ReplayBuffer::reader(&buffer, true);
            assert_eq!(next(&mut first).unwrap().len(), size);
            buffer.rewind(false).unwrap();
            let mut last = ReplayBuffer::reader(&buffer, false);
            assert_eq!(next(&mut last).unwrap().len(), size);
            assert!(buffer.lock().copy.is_empty(), "{size} bytes");
            drop(first);
        }
    }
}
