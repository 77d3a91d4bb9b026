//! Classifiers of tower-http as ours, and ours as theirs.
#![cfg(feature = "tower-http")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::classify::{
    ClassifiedResponse, ClassifyEos, ClassifyResponse, GrpcErrorsAsFailures, GrpcFailureClass, MakeClassifier,
    NeverClassifyEos, ServerErrorsAsFailures, ServerErrorsFailureClass,
};
use tower_http::trace::TraceLayer;
use tower_rampart::classify::tower_http::IntoTowerHttp;
use tower_rampart::classify::{
    Class, ClassifiedError, Counters, GrpcClassifier, HttpClassifier, Processed, Reason, Verdict,
};
use tower_rampart::{BoxError, ClassifyLayer};

const MINE: Reason = Reason::new("mine");

fn server_errors(failure: ServerErrorsFailureClass) -> Verdict {
    match failure {
        ServerErrorsFailureClass::StatusCode(status) => {
            Verdict::transient().with_reason(MINE).with_code(status.as_u16())
        }
        ServerErrorsFailureClass::Error(words) => {
            assert_eq!(words, "connection reset");
            Verdict::ambiguous().with_reason(MINE)
        }
    }
}

#[tokio::test]
async fn theirs_as_ours_by_an_explicit_mapping() {
    let layer = ClassifyLayer::from_tower_http(ServerErrorsAsFailures::make_classifier(), server_errors);
    let service = layer.layer(service_fn(|request: Request<u16>| async move {
        match request.into_body() {
            0 => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            status => Ok(Response::builder().status(status).body(()).unwrap()),
        }
    }));
    let call = |status| service.clone().oneshot(Request::new(status));

    // Theirs knows server errors alone, so a 404 is left as a success.
    assert!(Verdict::of(&call(404).await.unwrap()).is_success());
    let verdict = Verdict::of(&call(501).await.unwrap());
    assert_eq!((verdict.class(), verdict.reason(), verdict.code()), (Class::Transient, MINE, Some(501)));
    let error = call(0).await.unwrap_err();
    assert_eq!(Verdict::of_error(&*error), Verdict::ambiguous().with_reason(MINE));
}

#[tokio::test]
async fn an_error_that_says_its_verdict_is_not_theirs_to_judge() {
    let layer = ClassifyLayer::from_tower_http(ServerErrorsAsFailures::make_classifier(), server_errors);
    let said = Verdict::transient().with_processed(Processed::No);
    let service = layer
        .layer(service_fn(move |_: Request<()>| async move { Err::<Response<()>, _>(ClassifiedError::new(said)) }));
    let error = service.oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(Verdict::of_error(&*error), said);
}

/// Fails what was not found, but for requests that may miss.
#[derive(Clone)]
struct ByMethod {
    may_miss: bool,
}

impl MakeClassifier for ByMethod {
    type Classifier = Self;
    type FailureClass = u16;
    type ClassifyEos = NeverClassifyEos<u16>;

    fn make_classifier<B>(&self, request: &Request<B>) -> Self {
        Self { may_miss: request.method() == http::Method::DELETE }
    }
}

impl ClassifyResponse for ByMethod {
    type FailureClass = u16;
    type ClassifyEos = NeverClassifyEos<u16>;

    fn classify_response<B>(self, response: &Response<B>) -> ClassifiedResponse<u16, Self::ClassifyEos> {
        let failed = response.status() == 404 && !self.may_miss;
        ClassifiedResponse::Ready(if failed { Err(404) } else { Ok(()) })
    }

    fn classify_error<E: std::fmt::Display + 'static>(self, _: &E) -> u16 {
        0
    }
}

#[tokio::test]
async fn theirs_sees_the_request() {
    let layer =
        ClassifyLayer::from_tower_http(ByMethod { may_miss: false }, |code| Verdict::terminal().with_code(code));
    let service = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::builder().status(404).body(()).unwrap())
    }));
    let class = async |method: &str| {
        let request = Request::builder().method(method).body(()).unwrap();
        Verdict::of(&service.clone().oneshot(request).await.unwrap()).class()
    };
    assert_eq!(class("GET").await, Class::Terminal);
    assert_eq!(class("DELETE").await, Class::Success);
}

/// A gRPC answer with its code in the trailers.
fn stream(code: &str) -> Response<impl http_body::Body<Data = Bytes, Error = Infallible> + use<>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_str(code).unwrap());
    let body = Full::new(Bytes::from_static(b"message")).with_trailers(std::future::ready(Some(Ok(trailers))));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

#[tokio::test]
async fn theirs_judges_the_end_of_the_body() {
    let counters = Counters::new();
    let layer = ClassifyLayer::from_tower_http(GrpcErrorsAsFailures::make_classifier(), |failure| match failure {
        GrpcFailureClass::Status(status) => Verdict::transient().with_reason(MINE).with_code(status.code_raw() as u16),
        _ => Verdict::ambiguous(),
    })
    .judge_body()
    .counters(&counters);
    let service = layer
        .layer(service_fn(|code: Request<&'static str>| async move { Ok::<_, Infallible>(stream(code.into_body())) }));
    for code in ["0", "14"] {
        let response = service.clone().oneshot(Request::new(code)).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(counters.count(Class::Success, Reason::UNKNOWN), 1);
    assert_eq!(counters.count(Class::Transient, MINE), 1);
}

#[test]
fn ours_as_theirs_head_error_and_end() {
    let http = || IntoTowerHttp::new(HttpClassifier::new());
    let not_found = Response::builder().status(404).body(()).unwrap();
    match http().classify_response(&not_found) {
        ClassifiedResponse::Ready(Err(verdict)) => assert_eq!(verdict, Verdict::of(&not_found)),
        other => panic!("{other:?}"),
    }
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    for verdict in [
        http().classify_error(&refused()),
        http().classify_error::<BoxError>(&refused().into()),
        http().classify_error(&ClassifiedError::new(Verdict::of_error(&refused()))),
    ] {
        assert_eq!((verdict.processed(), verdict.reason()), (Processed::Maybe, Reason::CONNECT));
    }
    assert_eq!(http().classify_error(&"words alone"), Verdict::transient());

    let grpc = || IntoTowerHttp::new(GrpcClassifier::new());
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let eos = || match grpc().classify_response(&head) {
        ClassifiedResponse::RequiresEos(eos) => eos,
        ready => panic!("{ready:?}"),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    assert_eq!(eos().classify_eos(Some(&trailers)), Ok(()));
    assert_eq!(eos().classify_eos(None).unwrap_err().code(), Some(2));
    assert_eq!(eos().classify_error(&refused()), Verdict::ambiguous().with_reason(Reason::BODY));
}

#[tokio::test]
async fn ours_in_their_trace_layer() {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let layer = {
        let failures = failures.clone();
        TraceLayer::new(IntoTowerHttp::make_classifier(GrpcClassifier::new())).on_failure(
            move |verdict: Verdict, _: Duration, _: &tracing::Span| failures.lock().unwrap().push(verdict.to_string()),
        )
    };
    let service =
        layer.layer(service_fn(|code: Request<String>| async move { Ok::<_, Infallible>(stream(&code.into_body())) }));
    for code in ["0", "14", "5"] {
        let response = service.clone().oneshot(Request::new(code.to_owned())).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(*failures.lock().unwrap(), ["transient (grpc 14)", "terminal (grpc 5)"]);
}
