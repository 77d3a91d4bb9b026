use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Classified, Classifier};
use crate::BoxError;

pin_project! {
    /// The future of [`Classify`](super::Classify).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C> {
        #[pin]
        inner: F,
        classifier: C,
    }
}

impl<F, C> ResponseFuture<F, C> {
    pub(super) fn new(inner: F, classifier: C) -> Self {
        Self { inner, classifier }
    }
}

impl<F, C, Res, E> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
    C: Classifier<Res>,
{
    type Output = Result<Res, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(mut response) => {
                let verdict = this.classifier.classify(Ok(&response));
                this.classifier.annotate(&mut response, verdict);
                Ok(response)
            }
            Err(error) => {
                let error = error.into();
                let verdict = this.classifier.classify(Err(&*error));
                Err(Box::new(Classified::with_source(verdict, error)))
            }
        })
    }
}
