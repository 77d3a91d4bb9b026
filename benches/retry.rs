//! What a call through the retry layer costs when the first attempt succeeds, and what a retry adds.

#[path = "support/mod.rs"]
mod support;

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service};
use tower_rampart::RetryLayer;
use tower_rampart::retry::{Backoff, Budget, ReplayBody};

use self::support::{Answer, Inner, call, request};

/// Fails every second call.
#[derive(Clone)]
struct EverySecond {
    failed: bool,
}

impl<B> Service<Request<B>> for EverySecond {
    type Response = Answer;
    type Error = std::io::Error;
    type Future = Ready<Result<Answer, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.failed = !self.failed;
        let status = if self.failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        Inner(status).call(request)
    }
}

/// Reads the body before it answers; there is no waiting in a body that is all there.
#[derive(Clone)]
struct Reader;

impl Service<Request<ReplayBody<Full<Bytes>>>> for Reader {
    type Response = Answer;
    type Error = std::io::Error;
    type Future = Ready<Result<Answer, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<ReplayBody<Full<Bytes>>>) -> Self::Future {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let body = request.body_mut();
        while let Poll::Ready(Some(Ok(frame))) = std::pin::pin!(body.frame()).poll(&mut cx) {
            std::hint::black_box(frame);
        }
        ready(Ok(http::Response::new(Full::from("ok"))))
    }
}

/// The layer makes sure that there is a timer before it sends anything.
fn runtime() -> Runtime {
    let Ok(runtime) = Builder::new_current_thread().enable_time().build() else { panic!("no runtime can be made") };
    runtime
}

fn first_try(criterion: &mut Criterion) {
    let runtime = runtime();
    let _in_runtime = runtime.enter();
    let mut group = criterion.benchmark_group("retry/first try");
    group.bench_function("bare", |bencher| {
        let mut service = Inner(StatusCode::OK);
        bencher.iter(|| call(&mut service, request()));
    });
    let mut service = RetryLayer::new_for_http().layer(Inner(StatusCode::OK));
    group.bench_function("empty body", |bencher| bencher.iter(|| call(&mut service, request())));
    let mut service = RetryLayer::new_for_http().max_attempts(1).layer(Inner(StatusCode::OK));
    group.bench_function("one attempt", |bencher| bencher.iter(|| call(&mut service, request())));
    let mut service = RetryLayer::new_for_http().layer(Reader);
    let kilobyte = Bytes::from(vec![7; 1_024]);
    let with_body = || Request::new(Full::new(kilobyte.clone()));
    group.bench_function("1 KiB, kept", |bencher| bencher.iter(|| call(&mut service, with_body())));
    group.finish();
}

fn second_try(criterion: &mut Criterion) {
    let runtime = runtime();
    let _in_runtime = runtime.enter();
    let retry = RetryLayer::new_for_http().backoff(Backoff::none()).budget(Budget::unlimited());
    let mut service = retry.layer(EverySecond { failed: false });
    assert!(call(&mut service, request()).is_ok_and(|response| response.status() == StatusCode::OK));
    criterion.bench_function("retry/second try", |bencher| bencher.iter(|| call(&mut service, request())));
}

criterion_group!(benches, first_try, second_try);
criterion_main!(benches);
