//! Any bytes as `grpc-timeout`: the deadline is that of a slow reading by the grammar, and what is sent on is the
//! finest value that is not longer.
#![no_main]

use std::convert::Infallible;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::RetryLayer;
use tower_rampart::retry::{Deadline, ReplayBody};

const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
}

/// The nanoseconds of a timeout and of its unit.
fn read(value: &[u8]) -> Option<(u128, u128)> {
    let (unit, digits) = value.split_last()?;
    let (_, unit) = UNITS.into_iter().find(|(letter, _)| letter == unit)?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((digits.iter().fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0')) * unit, unit))
}

/// What the inner service sees: its deadline in nanoseconds from now, and its headers. None if it is not called.
async fn seen(value: HeaderValue) -> Option<(Option<Duration>, HeaderMap)> {
    let service = RetryLayer::new_for_grpc().max_attempts(1).layer(service_fn(
        |request: Request<ReplayBody<String>>| async move {
            let left = request.extensions().get().copied().map(Deadline::remaining);
            let mut response = Response::new(request.headers().clone());
            response.headers_mut().insert("grpc-status", HeaderValue::from_static("0"));
            Ok::<_, Infallible>(response.map(|headers| (left, headers)))
        },
    ));
    let request = Request::post("/").header("grpc-timeout", value).body(String::new()).expect("a request");
    service.oneshot(request).await.ok().map(Response::into_body)
}

fuzz_target!(|data: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let seen = RUNTIME.with(|runtime| runtime.block_on(seen(value.clone())));
    match read(data) {
        Some((0, _)) => assert!(seen.is_none(), "{value:?}: nothing is sent after the deadline"),
        Some((nanos, _)) => {
            let (left, headers) = seen.expect("there is time left");
            assert_eq!(left.map(|left| left.as_nanos()), Some(nanos), "{value:?}");
            let (sent, unit) = read(headers["grpc-timeout"].as_bytes()).expect("a timeout by the grammar");
            assert!(sent <= nanos && nanos - sent < unit, "{value:?} became {:?}", headers["grpc-timeout"]);
        }
        None => {
            let (left, headers) = seen.expect("there is no deadline");
            assert_eq!((left, &headers["grpc-timeout"]), (None, &value));
        }
    }
});
