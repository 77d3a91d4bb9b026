//! How a verdict travels outward: rules 2 to 4 of `classify`.

use std::convert::Infallible;
use std::error::Error;

use http::{Request, Response};
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::ClassifyLayer;
use tower_rampart::classify::{
    Class, ClassifiedError, Classifier, GrpcClassifier, Health, HttpClassifier, Processed, Reason, Verdict,
};

use super::response;

/// Passes a response through a `ClassifyLayer` with this classifier.
async fn through<C>(classifier: C, answer: Response<()>) -> Response<()>
where
    C: Classifier<Response<()>> + Clone,
{
    let answer = std::sync::Mutex::new(Some(answer));
    let inner = service_fn(|_: Request<()>| {
        let answer = answer.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(answer) }
    });
    ClassifyLayer::new(classifier).layer(inner).oneshot(Request::new(())).await.unwrap()
}

#[tokio::test]
async fn rule_2_a_plain_success_attaches_nothing() {
    for status in [100, 204, 302] {
        let response = through(HttpClassifier::new(), response(status, &[])).await;
        assert!(response.extensions().is_empty());
    }
}

#[tokio::test]
async fn rule_3_a_failure_and_an_unusual_success_are_attached() {
    let unavailable = through(HttpClassifier::new(), response(503, &[("retry-after", "3")])).await;
    assert_eq!(unavailable.extensions().len(), 1);
    assert_eq!(Verdict::of(&unavailable).retry_after().unwrap().as_secs(), 3);

    let forgiven = through(HttpClassifier::new().status(404, Class::Success), response(404, &[])).await;
    assert_eq!(Verdict::of(&forgiven), Verdict::success());
    let strict = through(HttpClassifier::new().status(204, Class::Ambiguous), response(204, &[])).await;
    assert_eq!(Verdict::of(&strict).class(), Class::Ambiguous);
    let odd = Verdict::success().with_health(Health::Neutral);
    let odd_success = through(HttpClassifier::new().status(204, odd), response(204, &[])).await;
    assert_eq!(Verdict::of(&odd_success), odd);
}

#[tokio::test]
async fn an_outer_override_replaces_the_attached_verdict() {
    let inner = through(HttpClassifier::new().status(503, Class::Terminal), response(503, &[])).await;
    let outer = through(HttpClassifier::new().status(503, Class::Success), inner).await;
    assert_eq!(Verdict::of(&outer), Verdict::success());
    // A third layer with the default classifier changes nothing.
    let outermost = through(HttpClassifier::new(), outer).await;
    assert_eq!(Verdict::of(&outermost), Verdict::success());
}

#[tokio::test]
async fn rule_4_an_error_is_wrapped_once_and_keeps_its_source() {
    let inner = service_fn(|(): ()| async { Err::<Response<()>, _>(std::io::Error::other("lost")) });
    let service = ClassifyLayer::new_for_http().layer(ClassifyLayer::new_for_http().layer(inner));
    let error = service.oneshot(()).await.unwrap_err();
    let classified = error.downcast_ref::<ClassifiedError>().unwrap();
    assert_eq!(classified.verdict(), Verdict::transient());
    assert_eq!(classified.source().unwrap().to_string(), "lost");
}

#[tokio::test]
async fn rule_4_an_outer_classifier_with_another_verdict_wraps_again() {
    let inner = service_fn(|(): ()| async { Err::<Response<()>, _>(std::io::Error::other("lost")) });
    let terminal = |_: Result<&Response<()>, &(dyn Error + 'static)>| Verdict::terminal();
    let service = ClassifyLayer::new(terminal).layer(ClassifyLayer::new_for_http().layer(inner));
    let error = service.oneshot(()).await.unwrap_err();
    assert_eq!(Verdict::of_error(&*error), Verdict::terminal());
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let class = prop::sample::select(&[Class::Success, Class::Transient, Class::Terminal, Class::Ambiguous][..]);
    let processed = prop::sample::select(&[Processed::Yes, Processed::No, Processed::Maybe][..]);
    let health = prop::sample::select(&[Health::Success, Health::Failure, Health::Throttled, Health::Neutral][..]);
    (class, processed, health, any::<Option<bool>>()).prop_map(|(class, processed, health, retry)| {
        let verdict = Verdict::new(class).with_processed(processed).with_health(health);
        let verdict = verdict.with_reason(Reason::new("mine"));
        retry.map_or(verdict, |retry| verdict.with_should_retry(retry))
    })
}

proptest! {
    /// Outer default classifiers return the verdict of the inner layer, and the default where nothing is attached.
    #[test]
    fn annotation_wins_and_absence_is_the_default(status in 100..600_u16, verdict in any_verdict(), retry_after in 0..100_u32) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let retry_after = retry_after.to_string();
        let answer = || response(status, &[("retry-after", &retry_after)]);
        let judge = move |_: &tower_rampart::classify::ResponseHead<'_>| Some(verdict);

        let annotated = runtime.block_on(through(HttpClassifier::new().when(judge), answer()));
        let expected = HttpClassifier::new().when(judge).classify(Ok(&answer()));
        prop_assert_eq!(expected.class(), verdict.class());
        prop_assert_eq!(Verdict::of(&annotated), expected);
        prop_assert_eq!(HttpClassifier::new().classify(Ok(&annotated)), expected);
        prop_assert_eq!(GrpcClassifier::new().classify(Ok(&annotated)), expected);
        let annotated = runtime.block_on(through(HttpClassifier::new(), annotated));
        prop_assert_eq!(Verdict::of(&annotated), expected);

        let untouched = runtime.block_on(through(HttpClassifier::new(), answer()));
        let default = Verdict::of(&answer());
        prop_assert_eq!(untouched.extensions().is_empty(), default == Verdict::success());
        prop_assert_eq!(Verdict::of(&untouched), default);
        prop_assert_eq!(HttpClassifier::new().classify(Ok(&answer())), default);
    }
}
