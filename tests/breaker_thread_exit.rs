//! Calls that are dropped when their thread ends, after its thread-local values. Alone in its binary, because tokio's
//! clock, once a test has paused it, cannot be read there.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{Abandoned, State, Window};
use tower_rampart::retry::Backoff;

thread_local! {
    /// As a runtime that a thread keeps for itself would hold its tasks.
    static TASK: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(None) };
}

#[test]
fn rule_3_a_call_that_is_dropped_when_its_thread_ends_settles() {
    let layer = CircuitBreakerLayer::new_for_http()
        .window(Window::count(1))
        .open_for(Backoff::exponential(Duration::from_secs(60), Duration::from_secs(60)))
        .abandoned(Abandoned::FailureAfter(Duration::ZERO));
    let breaker = layer.breaker();
    std::thread::spawn(move || {
        let call = |layer: &CircuitBreakerLayer<_>| {
            let mut service = layer.layer(service_fn(|_: Request<()>| pending::<Result<Response<()>, Infallible>>()));
            let mut call = Box::pin(service.call(Request::new(())));
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            call
        };
        let kept = call(&layer);
        TASK.set(Some(Box::pin(async {
            let _ = kept.await;
        })));
        // Opens another one, so that all that an opening needs of the thread is there, and goes before the task.
        let other = layer.name("other");
        drop(call(&other));
        assert_eq!(other.breaker().state(), State::Open);
    })
    .join()
    .unwrap();
    assert_eq!(breaker.state(), State::Open);
}
