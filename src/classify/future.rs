use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::body::Settle;
use super::{Classified, Classifier, HeadOnly, OnVerdict, Scope, Tell};
use crate::BoxError;

pin_project! {
    /// The future of [`Classify`](super::Classify).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C, O = (), J = HeadOnly> {
        #[pin]
        inner: F,
        classifier: C,
        // Gone when it has been told, or has gone with the body.
        tell: Option<Tell<O>>,
        scope: J,
    }
}

impl<F, C, O, J> ResponseFuture<F, C, O, J> {
    pub(super) fn new(inner: F, classifier: C, observer: O, scope: J) -> Self {
        Self { inner, classifier, tell: Some(Tell(observer)), scope }
    }
}

impl<F, C, O, J, Res, E> Future for ResponseFuture<F, C, O, J>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
    C: Classifier<Res>,
    O: OnVerdict,
    J: Scope<Res, C, Tell<O>>,
{
    type Output = Result<J::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        let Some(tell) = this.tell.take() else { panic!("ResponseFuture polled after it was ready") };
        Poll::Ready(match outcome {
            Ok(mut response) => {
                let verdict = this.classifier.classify(Ok(&response));
                this.classifier.annotate(&mut response, verdict);
                let pending = this.scope.judged(verdict, tell);
                Ok(this.scope.respond(response, this.classifier, pending))
            }
            Err(error) => {
                let error = error.into();
                let verdict = this.classifier.classify(Err(&*error));
                tell.settle(&verdict);
                Err(Classified::wrap(verdict, error))
            }
        })
    }
}
