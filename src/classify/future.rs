use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::body::Settle;
use super::{ClassifiedError, Classifier, HeadOnly, Notify, OnVerdict, Reason, SettleAt, Verdict};
use crate::BoxError;
use crate::call::cut;

pin_project! {
    /// The future of [`Classify`](super::Classify).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    // The bound is on the struct because dropping it can report a timeout.
    pub struct ResponseFuture<F, Classifier, OnVerdictT: OnVerdict = (), SettleAt = HeadOnly> {
        #[pin]
        inner: F,
        classifier: Classifier,
        // None once the verdict is final, or once the body has it.
        notify: Option<Notify<OnVerdictT>>,
        settle_at: SettleAt,
    }

    impl<F, Classifier, OnVerdictT: OnVerdict, SettleAt> PinnedDrop for ResponseFuture<F, Classifier, OnVerdictT, SettleAt> {
        fn drop(this: Pin<&mut Self>) {
            // Any other drop is the caller's choice and has no verdict.
            if let Some(notify) = this.project().notify.take().filter(|_| cut::is_cutting()) {
                notify.settle(&TIMED_OUT);
            }
        }
    }
}

/// The verdict on a call that a time limit of the retry layer drops. There is no error to classify yet.
const TIMED_OUT: Verdict = Verdict::transient().with_reason(Reason::TIMEOUT);

impl<F, Classifier, OnVerdictT: OnVerdict, SettleAt> ResponseFuture<F, Classifier, OnVerdictT, SettleAt> {
    pub(super) fn new(inner: F, classifier: Classifier, observer: OnVerdictT, settle_at: SettleAt) -> Self {
        Self { inner, classifier, notify: Some(Notify(observer)), settle_at }
    }
}

impl<F, ClassifierT, OnVerdictT, SettleAtT, Res, E> Future for ResponseFuture<F, ClassifierT, OnVerdictT, SettleAtT>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
    ClassifierT: Classifier<Res>,
    OnVerdictT: OnVerdict,
    SettleAtT: SettleAt<Res, ClassifierT, Notify<OnVerdictT>>,
{
    type Output = Result<SettleAtT::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        let Some(notify) = this.notify.take() else { panic!("ResponseFuture polled after it was ready") };
        Poll::Ready(match outcome {
            Ok(mut response) => {
                let verdict = this.classifier.classify(Ok(&response));
                this.classifier.annotate(&mut response, verdict);
                let pending = this.settle_at.judged(verdict, notify);
                Ok(this.settle_at.respond(response, this.classifier, pending))
            }
            Err(error) => {
                let error = error.into();
                let verdict = this.classifier.classify(Err(&*error));
                notify.settle(&verdict);
                Err(ClassifiedError::wrap(verdict, error))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{Layer, ServiceExt, service_fn};

    use super::*;
    use crate::ClassifyLayer;
    use crate::classify::{Class, Counters, classifier_fn};

    // The rules are those of `observe`.

    #[test]
    fn rule_3_a_call_dropped_by_a_time_limit_is_a_timeout() {
        let counters = Counters::new();
        let classifier = classifier_fn(|_: Result<&(), _>| panic!("there is no outcome to classify"));
        let service = ClassifyLayer::new(classifier)
            .counters(&counters)
            .layer(service_fn(|(): ()| std::future::pending::<Result<(), Infallible>>()));
        let call = || {
            let mut call = tokio_test::task::spawn(service.clone().oneshot(()));
            assert!(call.poll().is_pending());
            call
        };
        drop(call());
        assert_eq!(counters.iter().count(), 0);

        cut::cut(|| drop(call()));
        assert_eq!(counters.iter().collect::<Vec<_>>(), [(Class::Transient, Reason::TIMEOUT, 1)]);
    }

    #[test]
    fn rule_1_a_completed_call_is_reported_once() {
        let counters = Counters::new();
        let layer = ClassifyLayer::new_for_http().counters(&counters);
        let service = layer.layer(service_fn(|(): ()| async { Ok::<_, Infallible>(http::Response::new(())) }));
        let mut call = tokio_test::task::spawn(service.oneshot(()));
        assert!(call.poll().is_ready());
        cut::cut(|| drop(call));
        assert_eq!(counters.iter().collect::<Vec<_>>(), [(Class::Success, Reason::UNKNOWN, 1)]);
    }
}
