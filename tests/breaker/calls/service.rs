use std::convert::Infallible;
use std::future::{Ready, ready};

use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::breaker::{
    CircuitBreaker, CircuitBreakerService, CircuitOpen, Handle, ResponseFuture, Snapshot, State, Window, partition,
};
use tower_rampart::classify::{Class, Health, HttpClassifier, Processed, Reason, Verdict};
use tower_rampart::{BoxError, CircuitBreakerLayer};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn rule_7_every_service_of_a_layer_and_its_clones_shares_the_state() {
    let layer = layer().window(Window::count(4));
    let clone_before = layer.clone();
    let (first, _) = over(&layer);
    let (second, _) = over(&layer);
    let (third, _) = over(&clone_before);
    let fourth = third.clone();
    call(&first, Do::Fail).await;
    call(&second, Do::Fail).await;
    call(&third, Do::Fail).await;
    call(&fourth, Do::Fail).await;
    for service in [&first, &second, &third, &fourth] {
        assert!(matches!(call(service, Do::Succeed).await, Outcome::Rejected { .. }));
    }
    assert_eq!(layer.breaker().snapshot().totals.rejected, 4);
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_handle_works_before_and_after_the_service_is_boxed() {
    let layer = layer();
    let breaker = layer.breaker();
    let boxed = BoxCloneService::new(over(&layer).0);
    drop(layer);
    breaker.force_open();
    assert!(matches!(call(&boxed, Do::Succeed).await, Outcome::Rejected { .. }));
    breaker.reset();
    assert_eq!(call(&boxed, Do::Succeed).await, OK);
    assert_eq!(breaker.snapshot().calls, 1);
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_setting_after_the_first_handle_makes_breakers_of_its_own() {
    let first = layer();
    let breaker = first.breaker();
    let second = first.clone().name("other");
    breaker.force_open();
    assert_eq!((first.breaker().state(), second.breaker().state()), (State::Open, State::Closed));
    assert_eq!((breaker.name(), second.breaker().name()), ("test", "other"));
}

#[tokio::test]
async fn circuit_open_names_breaker_partition_and_state_and_is_unprocessed() {
    let layer = CircuitBreakerLayer::new_for_http().name("billing").partition_by(partition::header("x-tenant-id"));
    let breakers = layer.handle();
    breakers.force_open(&http::HeaderValue::from_static("tenant-7"));
    let service = layer.layer(service_fn(|_: http::Request<()>| ready(Ok::<_, Infallible>(http::Response::new(())))));
    let request = http::Request::builder().header("x-tenant-id", "tenant-7").body(()).unwrap();
    let error: BoxError = Box::new(std::io::Error::other(service.oneshot(request).await.unwrap_err()));

    let open = CircuitOpen::find(&*error).unwrap();
    assert_eq!((open.name(), open.partition(), open.state()), ("billing", "tenant-7", State::Open));
    assert_eq!(open.to_string(), r#"circuit breaker "billing", partition tenant-7, is open"#);
    let verdict = Verdict::of_error(&*error);
    assert_eq!(
        (verdict.class(), verdict.processed(), verdict.health(), verdict.reason()),
        (Class::Terminal, Processed::No, Health::Neutral, Reason::CIRCUIT_OPEN)
    );
}

#[tokio::test(start_paused = true)]
async fn circuit_open_carries_the_wait_as_a_hint() {
    let layer = layer().window(Window::count(1)).open_for(10 * SECOND);
    let (service, _) = over(&layer);
    call(&service, Do::Fail).await;
    advance(4 * SECOND).await;
    let error = service.oneshot(((), Do::Succeed)).await.unwrap_err();
    assert_eq!(error.to_string(), r#"circuit breaker "test" is open; next probe in 6s"#);
    assert_eq!(Verdict::of_error(&*error).retry_after(), Some(6 * SECOND));
}

/// An outer breaker learns nothing of an upstream from an inner one that is open.
#[tokio::test(start_paused = true)]
async fn rejections_of_an_inner_breaker_are_neutral_for_an_outer_one() {
    let (inner, outer) =
        (CircuitBreakerLayer::new_for_http(), CircuitBreakerLayer::new_for_http().window(Window::count(1)));
    inner.breaker().force_open();
    let service = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(inner)
        .service(service_fn(|_: http::Request<()>| ready(Ok::<_, Infallible>(http::Response::new(())))));
    for _ in 0..10 {
        let error = service.clone().oneshot(http::Request::new(())).await.unwrap_err();
        assert!(CircuitOpen::find(&*error).is_some());
    }
    assert_eq!((outer.breaker().state(), outer.breaker().snapshot().calls), (State::Closed, 0));
}

#[tokio::test]
async fn http_statuses_decide() {
    for (status, expected) in [(200, 0), (404, 0), (503, 1), (429, 1), (501, 1)] {
        let layer = CircuitBreakerLayer::new_for_http();
        let service = layer.layer(service_fn(move |_: http::Request<()>| {
            ready(Ok::<_, Infallible>(http::Response::builder().status(status).body(()).unwrap()))
        }));
        service.oneshot(http::Request::new(())).await.unwrap();
        assert_eq!(layer.breaker().snapshot().failures, expected, "{status}");
    }
}

/// Neither requests nor responses, errors or services need live for ever, or be `Clone` beyond the service.
#[tokio::test]
async fn borrows_are_welcome() {
    struct Request<'a>(&'a str);
    struct Response<'a>(&'a str);
    #[derive(Clone)]
    struct Echo<'a>(&'a std::cell::Cell<u32>);
    impl<'a> Service<Request<'a>> for Echo<'_> {
        type Response = Response<'a>;
        type Error = Infallible;
        type Future = Ready<Result<Response<'a>, Infallible>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, request: Request<'a>) -> Self::Future {
            self.0.set(self.0.get() + 1);
            ready(Ok(Response(request.0)))
        }
    }

    let text = String::from("short-lived");
    let count = std::cell::Cell::new(0);
    fn judge(outcome: Result<&Response<'_>, &(dyn std::error::Error + 'static)>) -> Verdict {
        outcome.map_or_else(Verdict::of_error, |_| Verdict::success())
    }
    let layer = CircuitBreakerLayer::new(judge);
    let service = layer.layer(Echo(&count));
    assert_eq!(service.oneshot(Request(&text)).await.unwrap().0, "short-lived");
    assert_eq!((count.get(), layer.breaker().snapshot().calls), (1, 1));
}

#[test]
fn all_is_send_and_sync_where_the_inner_service_is() {
    fn check<T: Send + Sync>() {}
    check::<CircuitBreakerLayer<HttpClassifier>>();
    check::<CircuitBreakerLayer<HttpClassifier, partition::ByHeader>>();
    check::<CircuitBreakerService<Ready<()>, HttpClassifier, partition::ByHost>>();
    check::<ResponseFuture<(), Ready<Result<(), BoxError>>, HttpClassifier, String>>();
    check::<CircuitBreaker>();
    check::<Handle<String>>();
    check::<Snapshot>();
    check::<CircuitOpen>();
}

#[tokio::test]
async fn sixty_four_clones_racing_are_all_counted() {
    let layer = layer().window(Window::count(10_000)).minimum_calls(10_000);
    let (service, upstream) = over(&layer);
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let service = service.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    call(&service, if task % 2 == 0 { Do::Succeed } else { Do::Fail }).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let snapshot = layer.breaker().snapshot();
    assert_eq!((snapshot.calls, snapshot.failures, upstream.calls()), (6_400, 3_200, 6_400));
}

/// The same on threads: once it has opened, exactly the probes get through.
#[test]
fn threads_racing_for_probes_get_exactly_as_many_as_there_are() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..20 {
            let layer = layer().window(Window::count(1)).open_for(MS).half_open_max_calls(3).success_threshold(3);
            let (service, upstream) = over(&layer);
            call(&service, Do::Fail).await;
            while layer.breaker().state() != State::HalfOpen {
                tokio::task::yield_now().await;
            }
            let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(64));
            let tasks: Vec<_> = (0..64)
                .map(|_| {
                    let (service, barrier) = (service.clone(), barrier.clone());
                    tokio::spawn(async move {
                        barrier.wait().await;
                        let mut hung = begin(call(&service, Do::Hang));
                        let admitted = poll_once(hung.as_mut()).await.is_pending();
                        barrier.wait().await;
                        admitted
                    })
                })
                .collect();
            let mut admitted = 0;
            for task in tasks {
                admitted += usize::from(task.await.unwrap());
            }
            assert_eq!((admitted, upstream.calls()), (3, 4));
        }
    });
}
