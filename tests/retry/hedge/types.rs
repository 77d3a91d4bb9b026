//! The settings and the bounds of the types.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_rampart::classify::{ClassifiedError, HttpClassifier, Verdict, classifier_fn};
use tower_rampart::retry::{
    Hedge, HedgedResponseFuture, HedgedRetry, HedgedRetryLayer, ReplayBodies, ReplayBody, ResponseFuture,
};
use tower_rampart::{BoxError, CircuitBreakerLayer, ClassifyLayer, RetryLayer};

use super::DELAY;
use crate::support::*;

fn send<T: Send>() {}
fn fixed<T: Send + Sync + Unpin + 'static>() {}

type Client = tower::util::BoxCloneSyncService<Request<ReplayBody<Full<Bytes>>>, Response<Full<Bytes>>, BoxError>;

#[test]
fn auto_traits_follow_the_inner_service() {
    fixed::<Hedge>();
    fixed::<HedgedRetryLayer>();
    fixed::<HedgedRetry<Client>>();
    send::<HedgedResponseFuture<Client, Request<Full<Bytes>>, HttpClassifier, ReplayBodies, ()>>();
}

#[test]
fn a_quantile_is_between_zero_and_one() {
    for quantile in [0.0, 1.0, -0.5, 95.0, f64::NAN, f64::INFINITY] {
        let error = Hedge::try_quantile(quantile).unwrap_err().to_string();
        assert_eq!(error, format!("Hedge: the quantile must be between 0 and 1, but is {quantile}"));
    }
    assert_eq!(Hedge::try_quantile(0.95).unwrap(), Hedge::quantile(0.95));
}

#[tokio::test(start_paused = true)]
async fn no_delay_is_too_long_or_too_short() {
    for (delay, calls) in [(Duration::ZERO, 2), (Duration::MAX, 1)] {
        let upstream = Upstream::new([answer(200).taking(SECOND)]);
        let log = upstream.log();
        layer().hedge(Hedge::after(delay)).layer(upstream).oneshot(get()).await.unwrap();
        assert_eq!((log.calls(), log.elapsed()), (calls, SECOND));
    }
}

/// The stack of the README, and neither the body nor the request is named.
#[tokio::test(start_paused = true)]
async fn no_turbofish_is_needed() -> Result<(), BoxError> {
    let inner = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| async { Ok::<_, BoxError>(Response::new(())) });
    let mut client = tower::ServiceBuilder::new()
        .layer(RetryLayer::new_for_http().max_attempts(4).deadline(SECOND).hedge(Hedge::quantile(0.95)))
        .layer(CircuitBreakerLayer::new_for_http())
        .layer(ClassifyLayer::new(HttpClassifier::new()))
        .service(inner);
    let response = client.ready().await?.call(Request::new(Full::default())).await?;
    assert_eq!(response.status(), 200);
    Ok(())
}

/// Neither `Send` nor `'static` nor `Clone`: request, body, response, service, classifier, predicate and callback.
#[tokio::test(start_paused = true)]
async fn all_types_may_borrow_and_need_not_be_send() {
    struct Borrowed<'a>(&'a str);
    let text = String::from("borrowed");
    let sent = Rc::new(Mutex::new(0));
    let hedges = Mutex::new(0);
    let layer = RetryLayer::new_for_http()
        .idempotent(|_| !text.is_empty())
        .on_retry(|event| *hedges.lock().unwrap() += u32::from(event.is_hedge()))
        .classifier(classifier_fn(|outcome: Result<&Response<Borrowed<'_>>, _>| match outcome {
            Ok(response) if response.body().0 == text => Verdict::success(),
            Ok(_) => Verdict::transient(),
            Err(error) => Verdict::of_error(error),
        }))
        .hedge(Hedge::after(DELAY));
    let service = layer.layer(service_fn(|_: Request<ReplayBody<Empty<_>>>| {
        let (sent, text) = (Rc::clone(&sent), &text);
        async move {
            *sent.lock().unwrap() += 1;
            tokio::time::sleep(SECOND).await;
            Ok::<_, ClassifiedError>(Response::new(Borrowed(text)))
        }
    }));
    let response = service.clone().oneshot(Request::post("/").body(Empty::<&[u8]>::new()).unwrap()).await.unwrap();
    assert_eq!((response.body().0, *sent.lock().unwrap(), *hedges.lock().unwrap()), ("borrowed", 2, 1));
}

#[test]
fn debug_omits_the_request() {
    async fn pending(_: Request<ReplayBody<Full<Bytes>>>) -> Result<Response<()>, BoxError> {
        std::future::pending().await
    }
    let text = format!("{:?}", super::hedged());
    assert!(text.starts_with("HedgedRetryLayer") && text.contains("After(50ms)"), "{text}");

    let secret =
        Request::put("/?token=secret").header("authorization", "secret").body(Full::<Bytes>::from("secret")).unwrap();
    let call = super::hedged().layer(service_fn(pending)).call(secret);
    assert!(!format!("{call:?}").contains("secret"));
}

/// What a hedge needs is in the hedged future alone.
#[test]
fn a_layer_without_hedges_holds_one_attempt() {
    struct Inner<F>(PhantomData<F>);
    impl<F: Future<Output = Result<Response<()>, BoxError>>> Service<Request<ReplayBody<Full<Bytes>>>> for Inner<F> {
        type Response = Response<()>;
        type Error = BoxError;
        type Future = F;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<ReplayBody<Full<Bytes>>>) -> F {
            unreachable!()
        }
    }
    fn sizes<F: Future<Output = Result<Response<()>, BoxError>>>(_: F) -> (usize, usize) {
        type Call<F> = ResponseFuture<Inner<F>, Request<Full<Bytes>>, HttpClassifier, ReplayBodies, ()>;
        type Hedged<F> = HedgedResponseFuture<Inner<F>, Request<Full<Bytes>>, HttpClassifier, ReplayBodies, ()>;
        (size_of::<Call<F>>(), size_of::<Hedged<F>>())
    }
    let small = sizes(async { Err("small".into()) });
    let large = sizes(async {
        let bytes = std::hint::black_box([7_u64; 128]);
        std::future::pending::<()>().await;
        Err(format!("{bytes:?}").into())
    });
    let (one, two) = (large.0 - small.0, large.1 - small.1);
    assert!((1_024..1_100).contains(&one) && (2_048..2_200).contains(&two), "{small:?} {large:?}");
    assert!(small.0 < small.1);
}
