//! Servers whose refused streams may have been processed.

use std::io;

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::ClassifyLayer;
use tower_rampart::classify::{
    Class, ClassifiedError, Classifier, DistrustRefusals, GrpcClassifier, Health, HttpClassifier, Processed, Reason,
    Verdict,
};

use super::facts;

/// As judged by an inner layer.
fn judged(reason: Reason) -> io::Error {
    let unprocessed = Verdict::transient().with_processed(Processed::No).with_health(Health::Neutral);
    io::Error::other(ClassifiedError::new(unprocessed.with_reason(reason)))
}

fn processed(classifier: &impl Classifier<Response<()>>, reason: Reason) -> Processed {
    let verdict = classifier.classify(Err(&judged(reason)));
    assert_eq!((verdict.class(), verdict.health(), verdict.reason()), (Class::Transient, Health::Neutral, reason));
    verdict.processed()
}

#[test]
fn a_distrusted_refused_stream_may_have_been_processed() {
    fn check(trusting: impl Classifier<Response<()>> + DistrustRefusals + Clone) {
        let distrusting = trusting.clone().distrust_refusals();
        assert_eq!(processed(&trusting, Reason::REFUSED_STREAM), Processed::No);
        assert_eq!(processed(&distrusting, Reason::REFUSED_STREAM), Processed::Maybe);
        assert_eq!(processed(&distrusting, Reason::CONNECT), Processed::No);
        assert_eq!(processed(&distrusting, Reason::CANCELED), Processed::No);
    }

    check(HttpClassifier::new());
    check(GrpcClassifier::new());
    check(HttpClassifier::new().status(409, Class::Transient).when(|_| None));
}

#[test]
fn a_rule_added_later_keeps_the_setting() {
    let classifier = HttpClassifier::new().distrust_refusals().when(|_| None).status(409, Class::Transient);
    assert_eq!(processed(&classifier, Reason::REFUSED_STREAM), Processed::Maybe);
}

#[tokio::test]
async fn a_layer_passes_the_setting_on_to_its_routes() {
    async fn verdict(
        layer: impl Layer<Refusing, Service: tower::Service<Request<()>, Error = tower::BoxError>>,
    ) -> Verdict {
        Verdict::of_error(&*layer.layer(service_fn(refuse)).oneshot(Request::new(())).await.map(|_| ()).unwrap_err())
    }

    type Refusing = tower::util::ServiceFn<fn(Request<()>) -> std::future::Ready<Result<Response<()>, io::Error>>>;
    fn refuse(_: Request<()>) -> std::future::Ready<Result<Response<()>, io::Error>> {
        std::future::ready(Err(judged(Reason::REFUSED_STREAM)))
    }

    let no = (Class::Transient, Processed::No, Health::Neutral);
    let maybe = (Class::Transient, Processed::Maybe, Health::Neutral);
    assert_eq!(facts(verdict(ClassifyLayer::new_for_http()).await), no);
    assert_eq!(facts(verdict(ClassifyLayer::new_for_http().distrust_refusals()).await), maybe);
    assert_eq!(facts(verdict(ClassifyLayer::new_for_grpc().distrust_refusals()).await), maybe);
    let routed = ClassifyLayer::new_for_http().route(|_| true, HttpClassifier::new());
    assert_eq!(facts(verdict(routed.clone()).await), no);
    assert_eq!(facts(verdict(routed.distrust_refusals()).await), maybe);
}
