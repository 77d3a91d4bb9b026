//! What the types of the breaker are called where they have to be named.

use std::convert::Infallible;
use std::future::{Ready, ready};

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::partition::ByHeader;
use tower_rampart::breaker::{CircuitBreakerService, CircuitOpen, State, partition};
use tower_rampart::classify::HttpClassifier;
use tower_rampart::retry::{Backoff, Budget, RetryLayer};

type Inner = fn(Request<()>) -> Ready<Result<Response<()>, Infallible>>;

/// A field needs no type parameter, and a partitioned one those that differ from the default.
struct Upstreams {
    plain: CircuitBreakerLayer,
    by_tenant: CircuitBreakerLayer<HttpClassifier, ByHeader>,
    service: CircuitBreakerService<tower::util::ServiceFn<Inner>>,
    by_tenant_service: CircuitBreakerService<tower::util::ServiceFn<Inner>, HttpClassifier, ByHeader>,
}

#[tokio::test]
async fn a_field_names_only_what_differs_from_the_default() {
    let inner: Inner = |_| ready(Ok(Response::new(())));
    let plain = CircuitBreakerLayer::new_for_http();
    let by_tenant = CircuitBreakerLayer::new_for_http().partition_by(partition::header("x-tenant-id"));
    let service = plain.layer(service_fn(inner));
    let by_tenant_service = by_tenant.layer(service_fn(inner));
    let upstreams = Upstreams { plain, by_tenant, service, by_tenant_service };
    let request = || Request::builder().header("x-tenant-id", "7").body(()).unwrap();
    upstreams.service.oneshot(request()).await.unwrap();
    upstreams.by_tenant_service.oneshot(request()).await.unwrap();
    let tenants = upstreams.by_tenant.handle();
    assert_eq!((upstreams.plain.breaker().snapshot().calls, tenants.len()), (1, 1));
}

/// Also for a layer of a classifier of its own, which would not read HTTP requests by itself.
#[tokio::test]
async fn only_retries_are_rejected_whatever_the_constructor() {
    let layer = CircuitBreakerLayer::new(HttpClassifier::new()).minimum_calls(1).reject_retries_only();
    let retry = RetryLayer::new_for_http().backoff(Backoff::none()).budget(Budget::unlimited());
    let service = layer.layer(service_fn(|_: Request<_>| {
        ready(Ok::<_, Infallible>(Response::builder().status(503).body(()).unwrap()))
    }));
    let call = || retry.layer(service.clone()).oneshot(Request::new(String::new()));
    for _ in 0..2 {
        let error = call().await.unwrap_err();
        assert_eq!(CircuitOpen::find(&*error).map(CircuitOpen::state), Some(State::Open));
    }
    let snapshot = layer.breaker().snapshot();
    assert_eq!((snapshot.state, snapshot.totals.rejected), (State::Open, 2), "first attempts go through");
}
