//! The bounds of the types: none that the logic does not need.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_rampart::classify::{ClassifiedError, HttpClassifier, Verdict, classifier_fn};
use tower_rampart::retry::{
    Attempt, Budget, CloneRequests, Deadline, GiveUp, Handle, ReplayBodies, ReplayBody, ResponseFuture, Retry,
    RetryError, RetryEvent, RetryPolicy, RetryReport, TimedOut,
};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::*;

fn send<T: Send>() {}
fn unwind_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
fn sync<T: Sync>() {}
fn unpin<T: Unpin>() {}
fn fixed<T: Send + Sync + Unpin + 'static>() {}

type Client<B> = tower::util::BoxCloneSyncService<Request<ReplayBody<B>>, Response<B>, BoxError>;
type Stack<B> = Retry<Client<B>, HttpClassifier, ReplayBodies>;

#[test]
fn auto_traits_follow_the_inner_service() {
    fixed::<RetryLayer>();
    fixed::<Stack<Full<Bytes>>>();
    send::<ResponseFuture<Client<Full<Bytes>>, Request<Full<Bytes>>, HttpClassifier, ReplayBodies, ()>>();
    // A body that is `Send` alone is enough, even where a task holds one end and the call the other.
    send::<ReplayBody<NotSync>>();
    send::<Stack<NotSync>>();
    sync::<ResponseFuture<Quick, Request<NotSync>, HttpClassifier, ReplayBodies, ()>>();
    unpin::<ReplayBody<NotSync>>();
    unwind_safe::<RetryPolicy>();
    unwind_safe::<Handle>();
    sync::<ReplayBody<Full<Bytes>>>();
    fixed::<Budget>();
    fixed::<Handle<u64>>();
    fixed::<Deadline>();
    fixed::<Attempt>();
    fixed::<GiveUp>();
    fixed::<RetryError>();
    fixed::<RetryEvent<'_>>();
    fixed::<RetryReport>();
    fixed::<TimedOut>();
    fixed::<CloneRequests>();
}

/// A client whose future holds nothing that is not `Sync`.
struct Quick;

impl Service<Request<ReplayBody<NotSync>>> for Quick {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<()>, BoxError>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<ReplayBody<NotSync>>) -> Self::Future {
        std::future::ready(Ok(Response::new(())))
    }
}

#[derive(Debug)]
struct NotSync(#[allow(dead_code)] PhantomData<std::cell::Cell<()>>);

impl http_body::Body for NotSync {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        std::task::Poll::Ready(None)
    }
}

/// Neither `Send` nor `'static` nor `Clone`: request, body, response, service, classifier, predicate and callback.
#[tokio::test(start_paused = true)]
async fn all_types_may_borrow_and_need_not_be_send() {
    struct Borrowed<'a>(&'a str);
    let text = String::from("borrowed");
    let seen = Rc::new(Mutex::new(Vec::new()));
    let heard = Rc::new(Mutex::new(0));

    let layer = RetryLayer::new_for_http()
        .idempotent(|_| !text.is_empty())
        .on_retry(|_| *heard.lock().unwrap() += 1)
        .classifier(classifier_fn(|outcome: Result<&Response<Borrowed<'_>>, _>| match outcome {
            Ok(response) if response.body().0 == text => Verdict::transient(),
            Ok(_) => Verdict::success(),
            Err(error) => Verdict::of_error(error),
        }))
        .no_budget();
    let service = layer.layer(service_fn(|request: Request<ReplayBody<Empty<_>>>| {
        let seen = Rc::clone(&seen);
        let text = &text;
        async move {
            seen.lock().unwrap().push(Attempt::of(&request).number());
            Ok::<_, ClassifiedError>(Response::new(Borrowed(text)))
        }
    }));
    let response = service.clone().oneshot(Request::post("/").body(Empty::<&[u8]>::new()).unwrap()).await.unwrap();
    assert_eq!(response.body().0, "borrowed");
    assert_eq!((seen.lock().unwrap().as_slice(), *heard.lock().unwrap()), (&[1, 2, 3][..], 2));
}

#[tokio::test(start_paused = true)]
async fn plain_requests_may_borrow_too() {
    let text = String::from("query");
    let calls = Mutex::new(0);
    let classifier = classifier_fn(|outcome: Result<&usize, _>| match outcome {
        Ok(_) => Verdict::success(),
        Err(error) => Verdict::of_error(error),
    });
    let layer = RetryLayer::new(classifier).idempotent(|query: &&str| query.len() < 10).no_budget();
    let service = layer.layer(service_fn(|query: &str| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        let outcome = if *calls < 3 { Err(ClassifiedError::new(Verdict::transient())) } else { Ok(query.len()) };
        async { outcome }
    }));
    assert_eq!(service.oneshot(&text).await.unwrap(), 5);
    assert_eq!(*calls.lock().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn plain_requests_are_idempotent_unless_a_predicate_excludes_them() {
    for (query, calls) in [("short", 3), ("a long query", 1)] {
        let log = Mutex::new(0);
        let classifier = classifier_fn(|_: Result<&(), _>| Verdict::transient());
        let layer = RetryLayer::new(classifier).no_budget();
        let service = service_fn(|_: &str| {
            *log.lock().unwrap() += 1;
            async { Ok::<_, BoxError>(()) }
        });
        layer.clone().layer(service).oneshot(query).await.unwrap();
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()), 3);
        layer.idempotent(|query: &&str| query.len() < 10).layer(service).oneshot(query).await.unwrap();
        assert_eq!(*log.lock().unwrap(), calls);
    }
}

/// The type of the request follows from the inner service alone.
#[tokio::test(start_paused = true)]
async fn no_turbofish_is_needed() -> Result<(), BoxError> {
    let inner = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| async { Ok::<_, BoxError>(Response::new(())) });
    let mut client = tower::ServiceBuilder::new().layer(RetryLayer::new_for_http()).service(inner);
    let response = client.ready().await?.call(Request::new(Full::default())).await?;
    assert_eq!(response.status(), 200);
    Ok(())
}

#[tokio::test]
async fn debug_of_a_future_omits_the_request() {
    let secret = Request::put("/?token=secret").header("authorization", "secret").body(Full::from("secret")).unwrap();
    let inner = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
        assert!(!format!("{:?}", request.body()).contains("secret"));
        std::future::pending::<Result<Response<()>, BoxError>>()
    });
    let mut service = layer().layer(inner);
    let mut call = pin!(service.call(secret));
    assert!(poll_once(call.as_mut()).is_pending());
    assert!(!format!("{call:?}").contains("secret"));
    fn is_a_future<F: Future>(_: &F) {}
    is_a_future(&call);
}
