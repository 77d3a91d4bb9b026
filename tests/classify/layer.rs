//! The layer: which verdicts it reports, to which observers, and how often.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_rampart::classify::{
    Class, ClassifiedError, Counters, GrpcClassifier, Health, HttpClassifier, Processed, Reason, Verdict, classifier_fn,
};
use tower_rampart::{BoxError, ClassifyLayer};

use super::{facts, response};

/// Responds with the status in the request's body.
async fn echo(request: Request<u16>) -> Result<Response<()>, Infallible> {
    Ok(response(request.into_body(), &[]))
}

fn request(method: Method, path: &'static str, status: u16) -> Request<u16> {
    Request::builder().method(method).uri(path).body(status).unwrap()
}

#[tokio::test]
async fn route_overrides() {
    let http = HttpClassifier::new();
    let layer = ClassifyLayer::new(http.clone())
        .route(|request| request.path().starts_with("/search/"), http.clone().status(404, Class::Success))
        .route(|request| request.method() == Method::DELETE, http.status(404, Class::Ambiguous));
    let service = layer.layer(service_fn(echo));
    let class = async |method, path, status| {
        let response = service.clone().oneshot(request(method, path, status)).await.unwrap();
        Verdict::of(&response).class()
    };
    assert_eq!(class(Method::GET, "/tenants/1", 404).await, Class::Terminal);
    assert_eq!(class(Method::GET, "/search/1", 404).await, Class::Success);
    assert_eq!(class(Method::GET, "/search/1", 503).await, Class::Transient);
    // Both match: the last one applies.
    assert_eq!(class(Method::DELETE, "/search/1", 404).await, Class::Ambiguous);
}

#[tokio::test]
async fn every_verdict_is_reported_once_to_every_observer() {
    let (told, counters) = (Arc::new(Mutex::new(Vec::new())), Counters::new());
    let layer = {
        let told = told.clone();
        let listen = move |verdict: &Verdict| told.lock().unwrap().push(verdict.to_string());
        ClassifyLayer::new_for_http().on_verdict(listen.clone()).counters(&counters).on_verdict(listen)
    };
    let service = layer.layer(service_fn(echo));
    for status in [200, 503, 404, 200] {
        service.clone().oneshot(request(Method::GET, "/", status)).await.unwrap();
    }
    let lost =
        layer.layer(service_fn(|(): ()| async { Err::<Response<()>, _>(io::Error::from(io::ErrorKind::TimedOut)) }));
    lost.oneshot(()).await.unwrap_err();

    let each = ["success", "transient (status 503)", "terminal (status 404)", "success", "transient (timeout)"];
    let twice: Vec<_> = each.iter().flat_map(|verdict| [*verdict; 2]).collect();
    assert_eq!(*told.lock().unwrap(), twice);

    assert_eq!(counters.class(Class::Success), 2);
    assert_eq!(counters.class(Class::Transient), 2);
    assert_eq!(counters.count(Class::Transient, Reason::TIMEOUT), 1);
    let mut all: Vec<_> = counters.iter().map(|(class, reason, n)| (class.to_string(), reason.as_str(), n)).collect();
    all.sort();
    let expected =
        [("success", "unknown", 2), ("terminal", "status", 1), ("transient", "status", 1), ("transient", "timeout", 1)];
    assert_eq!(all, expected.map(|(class, reason, n)| (class.to_owned(), reason, n)));
}

#[tokio::test]
async fn a_dropped_call_is_not_reported() {
    let counters = Counters::new();
    let layer = ClassifyLayer::new_for_http().counters(&counters);
    let service = layer.layer(service_fn(|(): ()| std::future::pending::<Result<Response<()>, Infallible>>()));
    let mut call = tokio_test::task::spawn(service.oneshot(()));
    assert!(call.poll().is_pending());
    drop(call);
    assert_eq!(counters.iter().count(), 0);
}

#[test]
fn unlimited_reasons_are_counted_as_other() {
    use tower_rampart::classify::OnVerdict;

    let counters = Counters::new();
    for n in 0..200 {
        let word: &'static str = format!("mine_{n}").leak();
        let verdict = Verdict::terminal().with_reason(Reason::new(word));
        counters.on_verdict(&verdict);
        counters.on_verdict(&verdict);
    }
    assert_eq!(counters.iter().count(), 64 + 1);
    assert_eq!(counters.count(Class::Terminal, Reason::new("mine_63")), 2);
    assert_eq!(counters.count(Class::Terminal, Counters::OTHER), 2 * (200 - 64));
    assert_eq!(counters.class(Class::Terminal), 400);
    assert_eq!(counters.class(Class::Ambiguous), 0);
}

#[test]
fn concurrent_verdicts_are_all_counted() {
    use tower_rampart::classify::OnVerdict;

    let counters = Counters::new();
    let reasons = [Reason::TLS, Reason::RESET, Reason::UNKNOWN, Reason::BODY];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let counters = counters.clone();
            scope.spawn(move || {
                for n in 0..4_000 {
                    counters.on_verdict(&Verdict::ambiguous().with_reason(reasons[(n + thread) % 4]));
                }
            });
        }
    });
    assert_eq!(reasons.map(|reason| counters.count(Class::Ambiguous, reason)), [4_000; 4]);
    assert_eq!(counters.iter().count(), 4);
}

/// Fails to become ready.
struct Closed;

impl Service<()> for Closed {
    type Response = Response<()>;
    type Error = io::Error;
    type Future = std::future::Ready<Result<Response<()>, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        unreachable!("not ready, so not called")
    }
}

#[tokio::test]
async fn a_readiness_error_is_unprocessed() {
    let counters = Counters::new();
    let layer = ClassifyLayer::new_for_http().counters(&counters);
    let error = layer.layer(Closed).ready().await.map(|_| ()).unwrap_err();
    let classified = error.downcast_ref::<ClassifiedError>().unwrap();
    assert_eq!(facts(classified.verdict()), (Class::Transient, Processed::No, Health::Failure));
    assert_eq!(classified.verdict().reason(), Reason::RESET);
    assert!(classified.source().unwrap().is::<io::Error>());
    // There was no call, so there is no outcome.
    assert_eq!(counters.iter().count(), 0);
}

/// A service that is neither `'static` nor `Send`, whose parts are not `Clone`, and that does not use HTTP.
#[tokio::test]
async fn works_for_any_request_response_and_error() {
    struct Question<'a>(&'a str, Rc<()>);
    struct Answer<'a>(&'a str, #[allow(dead_code)] Rc<()>);
    #[derive(Debug)]
    struct Lost;

    impl From<Lost> for BoxError {
        fn from(_: Lost) -> Self {
            "lost".into()
        }
    }

    let prefix = String::from("re: ");
    let known = &prefix;
    let inner = service_fn(|Question(text, rc): Question<'_>| {
        std::future::ready(match text {
            "" => Err(Lost),
            _ => Ok(Answer(known, rc)),
        })
    });
    let seen = std::cell::Cell::new(0);
    let classifier = classifier_fn(|outcome: Result<&Answer<'_>, _>| match outcome {
        Ok(_) => Verdict::success(),
        Err(_) => Verdict::terminal(),
    });
    let mut service = ClassifyLayer::new(classifier).on_verdict(|_| seen.set(seen.get() + 1)).layer(inner);
    let text = String::from("well?");
    let Answer(answer, _rc) = service.ready().await.unwrap().call(Question(&text, Rc::new(()))).await.unwrap();
    assert_eq!(answer, "re: ");
    let error = service.ready().await.unwrap().call(Question("", Rc::new(()))).await.map(|_| ()).unwrap_err();
    assert_eq!(Verdict::of_error(&*error), Verdict::terminal());
    assert_eq!(seen.get(), 2);
}

/// A layer in a field needs no type parameters, and its service only the inner one.
#[test]
fn type_parameters_have_defaults() {
    struct Fields {
        layer: ClassifyLayer,
        service: tower_rampart::classify::Classify<Closed>,
    }

    let layer = ClassifyLayer::new_for_http();
    let fields = Fields { service: layer.layer(Closed), layer };
    let _ = (fields.layer, fields.service);
}

#[tokio::test]
async fn a_neutral_verdict_is_a_success_with_neutral_health() {
    let cached = HttpClassifier::new().when(|head| head.header("x-cache").map(|_| Verdict::neutral()));
    let inner = service_fn(|(): ()| async { Ok::<_, Infallible>(response(503, &[("x-cache", "stale")])) });
    let answer = ClassifyLayer::new(cached).layer(inner).oneshot(()).await.unwrap();
    assert_eq!(facts(Verdict::of(&answer)), (Class::Success, Processed::Yes, Health::Neutral));
}

#[test]
fn auto_traits() {
    fn all<T: Send + Sync + Unpin + Clone + 'static>(_: &T) {}

    let layer = ClassifyLayer::new_for_http()
        .route(|_| true, HttpClassifier::new())
        .on_verdict(|_| {})
        .counters(&Counters::new());
    all(&layer);
    all(&layer.layer(service_fn(echo)));
    all(&ClassifyLayer::new(GrpcClassifier::new()).judge_body());
}
