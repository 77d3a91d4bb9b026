//! A scripted response body.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

/// What a body does when it is polled for a frame.
pub(crate) enum Step {
    Data(&'static str),
    Trailers(&'static [(&'static str, &'static str)]),
    Fail,
    End,
    Wait,
    Panic,
}

/// Plays its steps, then ends.
pub(crate) struct Script {
    steps: VecDeque<Step>,
    hint: SizeHint,
    // Whether `is_end_stream` is true after the last step.
    tells_its_end: bool,
}

pub(crate) fn script(steps: impl IntoIterator<Item = Step>) -> Script {
    Script { steps: steps.into_iter().collect(), hint: SizeHint::default(), tells_its_end: false }
}

impl Script {
    pub(crate) fn announced(mut self, bytes: u64) -> Self {
        self.hint = SizeHint::with_exact(bytes);
        self
    }

    pub(crate) fn telling_its_end(mut self) -> Self {
        self.tells_its_end = true;
        self
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match self.steps.pop_front() {
            Some(Step::Data(data)) => Some(Ok(Frame::data(Bytes::from_static(data.as_bytes())))),
            Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(metadata(trailers)))),
            Some(Step::Fail) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            Some(Step::Wait) => return Poll::Pending,
            Some(Step::Panic) => panic!("the body panics"),
            Some(Step::End) | None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.tells_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

fn metadata(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}
