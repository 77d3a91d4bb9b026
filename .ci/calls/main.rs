//! `calls PATH CALLS` makes so many calls, all of which succeed at once, through one layer.

use std::env;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use tower_layer::Layer;
use tower_rampart::breaker::Window;
use tower_rampart::metrics::Source;
use tower_rampart::retry::RetryPolicy;
use tower_rampart::{CircuitBreakerLayer, RetryLayer};
use tower_service::Service;

/// Answers with 200 and two bytes.
#[derive(Clone)]
struct Inner;

impl<B> Service<Request<B>> for Inner {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Response, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        drop(black_box(request));
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"ok")))))
    }
}

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    let [path, calls] = &words[..] else { return usage() };
    let Ok(calls) = calls.parse() else { return usage() };
    // The retry layer makes sure that there is a timer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime that needs no thread");
    let _entered = runtime.enter();
    match path.as_str() {
        "bare" => call_often(Inner, calls),
        "breaker-count" => through_breaker(Window::count(100), calls),
        // So long that no bucket ends during a run.
        "breaker-time" => through_breaker(Window::time(Duration::from_secs(3_600)), calls),
        "retry" => {
            let layer = RetryLayer::new_for_http().name("calls");
            observed(&layer.handle(), || call_often(layer.layer(Inner), calls));
        }
        "retry-changed" => {
            let layer = RetryLayer::new_for_http().name("calls");
            let changes = layer.handle().reconfigure(&RetryPolicy::new().max_attempts(5));
            assert!(changes.is_ok_and(|changes| !changes.is_empty()), "a setting that can change");
            observed(&layer.handle(), || call_often(layer.layer(Inner), calls));
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("calls bare|breaker-count|breaker-time|retry|retry-changed CALLS");
    ExitCode::from(2)
}

fn through_breaker(window: Window, calls: usize) {
    let layer = CircuitBreakerLayer::new_for_http().name("calls").window(window);
    observed(&layer.handle(), || call_often(layer.layer(Inner), calls));
}

/// Publishes the numbers before and after the calls, where there is something to publish them with.
fn observed(source: &dyn Source, calls: impl FnOnce()) {
    #[cfg(feature = "observed")]
    let mut publisher = tower_rampart::metrics::Publisher::new();
    #[cfg(feature = "observed")]
    publisher.publish(&[source]);
    calls();
    #[cfg(feature = "observed")]
    publisher.publish(&[source]);
    black_box(source);
}

/// The function whose instructions are counted.
#[inline(never)]
fn call_often<S>(mut service: S, calls: usize)
where
    S: Service<Request<Empty<Bytes>>>,
{
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..calls {
        let is_ready = service.poll_ready(&mut cx);
        assert!(matches!(is_ready, Poll::Ready(Ok(()))), "the inner service is always ready");
        let answer = pin!(service.call(Request::new(Empty::new()))).poll(&mut cx);
        assert!(matches!(black_box(answer), Poll::Ready(Ok(_))), "the inner service always answers");
    }
}
