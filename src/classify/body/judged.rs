use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::Response;
use http::header::{CONTENT_LENGTH, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{ClassifyEos, Eos};
use crate::BoxError;
use crate::classify::http::hint;
use crate::classify::{ClassifiedError, ClassifyHttp, Verdict};

/// Receives the final verdict on a response, once.
///
/// Implemented by closures: `|verdict: &Verdict| …`.
pub trait Settle {
    /// Receives the verdict.
    fn settle(self, verdict: &Verdict);

    /// Called when the head has arrived and the verdict waits for the end of the body. The default does nothing.
    fn await_end(&mut self) {}
}

impl<F: FnOnce(&Verdict)> Settle for F {
    fn settle(self, verdict: &Verdict) {
        self(verdict);
    }
}

pin_project! {
    /// A body that is judged when it ends.
    ///
    /// Forwards frames, trailers, `size_hint` and `is_end_stream` of the inner body, and allocates and copies nothing.
    /// Wraps an error that ends the body in [`ClassifiedError`].
    ///
    /// ```
    /// use std::cell::Cell;
    /// use http_body_util::{BodyExt, Full};
    /// use tower_rampart::classify::body::JudgedBody;
    /// use tower_rampart::classify::{HttpClassifier, Verdict};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let settled = Cell::new(None);
    /// let response = http::Response::new(Full::<bytes::Bytes>::from("metrics"));
    /// let head = Verdict::of(&response);
    /// let response = JudgedBody::wrap(response, head, &HttpClassifier::new(), |verdict: &Verdict| settled.set(Some(*verdict)));
    /// assert_eq!(settled.get(), None);
    /// response.into_body().collect().await.unwrap();
    /// assert_eq!(settled.get(), Some(Verdict::success()));
    /// # });
    /// ```
    // The bounds are on the struct because dropping it settles.
    pub struct JudgedBody<B, ClassifyEosT: ClassifyEos, SettleT: Settle> {
        #[pin]
        inner: B,
        pending: Option<Pending<ClassifyEosT, SettleT>>,
        // True while the inner body is polled, so that `drop` can recognize a panic.
        polling: bool,
    }

    impl<B, ClassifyEosT: ClassifyEos, SettleT: Settle> PinnedDrop for JudgedBody<B, ClassifyEosT, SettleT> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(pending) = this.pending.take() {
                let eos = match *this.polling {
                    true => Eos::Panicked,
                    false => Eos::Abandoned { all_read: pending.missing == Some(0) },
                };
                pending.settle(eos);
            }
        }
    }
}

/// What to do when the body ends.
#[derive(Debug)]
struct Pending<ClassifyEosT, SettleT> {
    classifier: ClassifyEosT,
    settle: SettleT,
    // The bytes still to come, if the length was announced.
    missing: Option<u64>,
}

impl<B: Body, ClassifyEosT: ClassifyEos, SettleT: Settle> JudgedBody<B, ClassifyEosT, SettleT> {
    /// Watches the body of a response whose head had the verdict `head` from this classifier.
    ///
    /// Settles at once if the body cannot change the verdict: the head is not a success, or the body is empty.
    pub fn wrap<Classifier>(
        response: Response<B>,
        head: Verdict,
        classifier: &Classifier,
        settle: SettleT,
    ) -> Response<Self>
    where
        Classifier: ClassifyHttp<Eos = ClassifyEosT>,
    {
        let eos_classifier = classifier.eos(&response, head);
        let (parts, inner) = response.into_parts();
        let pending = match eos_classifier {
            None => {
                settle.settle(&head);
                None
            }
            Some(classifier) => Some(Pending { missing: announced(&inner, &parts.headers), classifier, settle }),
        };
        let mut judged = Self { inner, pending, polling: false };
        if judged.inner.is_end_stream() {
            if let Some(pending) = judged.pending.take() {
                pending.settle(Eos::Complete(None));
            }
        } else if let Some(pending) = &mut judged.pending {
            pending.settle.await_end();
        }
        Response::from_parts(parts, judged)
    }
}

impl<B, ClassifyEosT, SettleT> Body for JudgedBody<B, ClassifyEosT, SettleT>
where
    B: Body,
    B::Error: Into<BoxError>,
    ClassifyEosT: ClassifyEos,
    SettleT: Settle,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        *this.polling = true;
        let polled = this.inner.as_mut().poll_frame(cx);
        *this.polling = false;
        let frame = ready!(polled);
        if let (Some(pending), Some(Ok(frame))) = (this.pending.as_mut(), &frame) {
            pending.read(frame);
        }
        let is_last = match &frame {
            // Trailers come last, and many readers stop polling once `is_end_stream` is true.
            Some(Ok(frame)) => frame.is_trailers() || this.inner.is_end_stream(),
            Some(Err(_)) | None => true,
        };
        let Some(pending) = this.pending.take_if(|_| is_last) else {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                pending.finish(frame.trailers_ref());
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let error = error.into();
                let verdict = pending.settle(Eos::Failed(&*error));
                Some(Err(ClassifiedError::wrap(verdict, error)))
            }
            None => {
                pending.finish(None);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<ClassifyEosT: ClassifyEos, SettleT: Settle> Pending<ClassifyEosT, SettleT> {
    fn read<D: Buf>(&mut self, frame: &Frame<D>) {
        let bytes = frame.data_ref().map_or(0, Buf::remaining);
        // Saturates: a body longer than announced is not short.
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.missing = self.missing.map(|missing| missing.saturating_sub(bytes));
    }

    fn finish(self, trailers: Option<&HeaderMap>) {
        let short = self.missing.is_some_and(|missing| missing > 0);
        self.settle(if short { Eos::Short } else { Eos::Complete(trailers) });
    }

    fn settle(self, eos: Eos<'_>) -> Verdict {
        let verdict = self.classifier.classify_eos(eos);
        self.settle.settle(&verdict);
        verdict
    }
}

/// Returns the announced length: from the body, or from `Content-Length` if the body does not know it.
///
/// A response to HEAD and a 304 announce the length of a body that they do not have. Their bodies are at the end from
/// the start, so they are never watched.
fn announced<B: Body>(body: &B, headers: &HeaderMap) -> Option<u64> {
    let in_header = || hint::digits(headers.get(CONTENT_LENGTH)?.to_str().ok()?).filter(|length| *length < u64::MAX);
    body.size_hint().exact().or_else(in_header)
}

impl<B: fmt::Debug, ClassifyEosT: ClassifyEos, SettleT: Settle> fmt::Debug for JudgedBody<B, ClassifyEosT, SettleT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JudgedBody").field("inner", &self.inner).field("settled", &self.pending.is_none()).finish()
    }
}
