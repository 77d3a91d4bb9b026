use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use reqwest::Body;
use sync_wrapper::SyncWrapper;

use crate::BoxError;

pin_project! {
    /// A body that need not be `Sync`, as a body of reqwest must be.
    struct SyncBody<B> {
        // What the body said last, because it cannot be asked through a shared reference.
        hint: SizeHint,
        is_end_stream: bool,
        #[pin]
        body: SyncWrapper<B>,
    }
}

pin_project! {
    /// A body whose first frame was read already.
    struct Peeked {
        first: Option<Result<Frame<Bytes>, reqwest::Error>>,
        #[pin]
        rest: Body,
    }
}

/// Returns a body that reqwest cannot send again by itself.
pub(in crate::clients) fn into_stream<B>(body: B) -> Body
where
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
{
    Body::wrap(SyncBody { hint: body.size_hint(), is_end_stream: body.is_end_stream(), body: SyncWrapper::new(body) })
}

/// Returns the bytes of a body if one look shows that all of it is in memory, else a stream.
///
/// Middlewares that sign or log read the bytes; nothing has to be boxed to send them.
pub(in crate::clients) fn into_bytes_or_stream<B>(body: B) -> Body
where
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + 'static,
{
    if body.is_end_stream() {
        return Body::default();
    }
    // A body of unknown length is produced as it is sent.
    let is_sized = body.size_hint().exact().is_some();
    let mut body = into_stream(body);
    if !is_sized {
        return body;
    }
    let mut unwoken = Context::from_waker(Waker::noop());
    match http_body::Body::poll_frame(Pin::new(&mut body), &mut unwoken) {
        Poll::Pending | Poll::Ready(None) => body,
        Poll::Ready(Some(Ok(frame))) if http_body::Body::is_end_stream(&body) && frame.is_data() => {
            frame.into_data().unwrap_or_default().into()
        }
        Poll::Ready(first) => Body::wrap(Peeked { first, rest: body }),
    }
}

impl<B: http_body::Body> http_body::Body for SyncBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let mut body = this.body.get_pin_mut();
        let frame = body.as_mut().poll_frame(cx);
        *this.hint = body.size_hint();
        *this.is_end_stream = body.is_end_stream();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.is_end_stream
    }

    #[allow(clippy::clone_on_copy, reason = "no `Copy` before http-body 1.1")]
    fn size_hint(&self) -> SizeHint {
        SizeHint::clone(&self.hint)
    }
}

impl http_body::Body for Peeked {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let this = self.project();
        match this.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => this.rest.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        let Some(first) = self.first.as_ref().and_then(|first| first.as_ref().ok()?.data_ref()) else { return rest };
        let first = first.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(first)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    /// Of length zero, and with trailers.
    struct Trailers(Option<HeaderMap>);

    impl http_body::Body for Trailers {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(self.0.take().map(|trailers| Ok(Frame::trailers(trailers))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_none()
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(0)
        }
    }

    #[test]
    fn trailers_alone_are_not_taken_for_bytes() {
        let mut body = into_bytes_or_stream(Trailers(Some(HeaderMap::new())));
        assert_eq!((body.as_bytes(), http_body::Body::size_hint(&body).exact()), (None, Some(0)));
        let mut frame = || http_body::Body::poll_frame(Pin::new(&mut body), &mut Context::from_waker(Waker::noop()));
        assert!(matches!(frame(), Poll::Ready(Some(Ok(frame))) if frame.is_trailers()));
        assert!(matches!(frame(), Poll::Ready(None)));
    }
}
