//! A breaker that judges the whole body: when a call settles, as what, and that it does so once.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ends;
mod probes;
#[path = "../classify/script.rs"]
#[allow(dead_code)]
mod script;
#[path = "../wire/kit/server.rs"]
#[allow(dead_code)]
mod server;
#[path = "../support/steady.rs"]
mod steady;
mod time;
mod traits;
mod wire;

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::breaker::partition::Unpartitioned;
use tower_rampart::breaker::{CircuitBreaker, Ticket};
use tower_rampart::classify::body::JudgedBody;
use tower_rampart::classify::{HttpClassifier, HttpEos, WholeBody};
use tower_rampart::{BoxError, CircuitBreakerLayer};

use self::script::Script;
use self::steady::steady;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Layered = CircuitBreakerLayer<HttpClassifier, Unpartitioned, WholeBody>;
type Judged = JudgedBody<Script, HttpEos, Ticket>;

fn layer() -> Layered {
    steady(CircuitBreakerLayer::new_for_http()).judge_body()
}

/// What the upstream shall do with a request, whose body it sends back.
#[derive(Clone, Copy)]
struct Answer {
    after: Duration,
    status: u16,
}

async fn upstream(request: Request<Script>) -> Result<Response<Script>, Infallible> {
    let &Answer { after, status } = request.extensions().get().unwrap();
    tokio::time::sleep(after).await;
    Ok(Response::builder().status(status).body(request.into_body()).unwrap())
}

async fn call_after(layer: &Layered, after: Duration, status: u16, body: Script) -> Result<Response<Judged>, BoxError> {
    let mut request = Request::new(body);
    request.extensions_mut().insert(Answer { after, status });
    // The breakers live in the layer, so it does not matter that each call has a service of its own.
    layer.layer(service_fn(upstream)).oneshot(request).await
}

async fn call(layer: &Layered, status: u16, body: Script) -> Result<Response<Judged>, BoxError> {
    call_after(layer, Duration::ZERO, status, body).await
}

/// The body of a success.
async fn body(layer: &Layered, body: Script) -> Judged {
    call(layer, 200, body).await.unwrap().into_body()
}

fn counts(breaker: &CircuitBreaker) -> (u64, u64) {
    (breaker.snapshot().calls, breaker.snapshot().failures)
}
