mod changes;
mod list;
mod live;
mod recording;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pub(super) use self::list::List;
pub(super) use self::live::Live;
pub(super) use self::recording::Recording;

pin_project! {
    /// The body of a response of the [`StatusPage`](super::StatusPage).
    ///
    /// A list of all breakers, a recording and the stream of changes are made while they are sent, a few lines a poll.
    #[derive(Debug)]
    pub struct ResponseBody {
        #[pin]
        content: Content,
    }
}

pin_project! {
    #[project = ContentProj]
    #[derive(Debug)]
    pub(super) enum Content {
        Whole { bytes: Bytes },
        List { list: List },
        Recording { recording: Recording },
        Live { #[pin] live: Live },
    }
}

impl ResponseBody {
    pub(super) fn new(content: Content) -> Self {
        Self { content }
    }

    pub(super) fn empty() -> Self {
        Self::new(Content::Whole { bytes: Bytes::new() })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = match self.project().content.project() {
            ContentProj::Whole { bytes } => Poll::Ready(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            ContentProj::List { list } => list.poll_chunk(cx),
            ContentProj::Recording { recording } => recording.poll_chunk(cx),
            ContentProj::Live { live } => live.poll_chunk(cx).map(Some),
        };
        chunk.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole { bytes } if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Content::List { .. } | Content::Recording { .. } | Content::Live { .. } => SizeHint::default(),
        }
    }
}
