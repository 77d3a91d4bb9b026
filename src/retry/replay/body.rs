use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::buffer::Reader;
use crate::BoxError;
use crate::classify::RequestBodyFailed;

pin_project! {
    /// The body that the inner service sees: the caller's body, read from the start in every attempt.
    ///
    /// - The first attempt streams without delay. Its frames are copied up to
    ///   [`max_replay_bytes`](crate::RetryLayer::max_replay_bytes). One byte more drops the copy; the attempt
    ///   continues, and no other can follow. A body that is known to be larger is never copied.
    /// - A further attempt reads the copy, then the rest of the caller's body, then the trailers. The bytes are the
    ///   same, the chunks may differ.
    /// - `size_hint` and `is_end_stream` describe what remains. The length is exact if the caller's body knew it from
    ///   the start, so that every attempt is framed like the first, with or without a `Content-Length`.
    /// - An empty body allocates nothing. With [`max_attempts(1)`](crate::RetryLayer::max_attempts) nothing is copied.
    /// - A [hedge](crate::RetryLayer::hedge) reads a copy of its own. There is none before the first attempt has sent
    ///   the body.
    /// - Frames after the trailers, which HTTP does not allow, are passed on, and no other attempt can follow.
    ///
    /// # Errors
    ///
    /// An error of the caller's body ends the retrying. It is the source of an error that classifiers distinguish from
    /// one of the client, and that has the same text. An attempt that was replaced by another one gets an error instead
    /// of more frames, so that the server cannot mistake a truncated body for a complete one.
    pub struct ReplayBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Empty,
        Direct { #[pin] body: B },
        Buffered { reader: Reader<B> },
    }
}

impl<B> ReplayBody<B> {
    pub(super) fn empty() -> Self {
        Self { kind: Kind::Empty }
    }

    /// For a single attempt: reads the body directly.
    pub(super) fn direct(body: B) -> Self {
        Self { kind: Kind::Direct { body } }
    }

    pub(super) fn buffered(reader: Reader<B>) -> Self {
        Self { kind: Kind::Buffered { reader } }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            KindProj::Empty => Poll::Ready(None),
            KindProj::Direct { body } => body.poll_frame(cx).map(|frame| {
                Some(match frame? {
                    Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
                    Err(error) => Err(RequestBodyFailed::new(error).into()),
                })
            }),
            KindProj::Buffered { reader } => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Direct { body } => body.is_end_stream(),
            Kind::Buffered { reader } => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Direct { body } => body.size_hint(),
            Kind::Buffered { reader } => reader.size_hint(),
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}
