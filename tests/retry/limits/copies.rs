//! A service that copies the request of an attempt by hand, without its extensions, and sends both.

use std::future::{Future, Ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_rampart::classify::Processed;
use tower_rampart::retry::{GiveUp, Hedge, ReplayBody};
use tower_rampart::{BoxError, CircuitBreakerLayer};

use crate::support::*;

type Body = Full<Bytes>;

/// Sends a copy at once and gets no answer. The request itself waits in a breaker whose service is never ready.
#[derive(Clone)]
struct Races {
    sent: Arc<AtomicUsize>,
}

impl Service<Request<Body>> for Races {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<()>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let copy = Request::builder().method(request.method()).uri(request.uri()).body(request.body().clone()).unwrap();
        assert!(copy.extensions().is_empty());
        self.sent.fetch_add(1, Ordering::Relaxed);
        let own = CircuitBreakerLayer::new_for_http().layer(NeverReady).call(request);
        Box::pin(own)
    }
}

#[derive(Clone)]
struct NeverReady;

impl Service<Request<Body>> for NeverReady {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Ready<Result<Response<()>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        unreachable!("it is never ready")
    }
}

/// Returns how often a POST is sent, and the error of the call.
async fn sends<L>(layer: L) -> (usize, BoxError)
where
    L: Layer<Races>,
    L::Service: Service<Request<Body>, Error = BoxError>,
{
    let sent = Arc::new(AtomicUsize::new(0));
    let outcome = layer.layer(Races { sent: Arc::clone(&sent) }).oneshot(post("5 euros")).await;
    let Err(error) = outcome else { panic!("it gets no answer") };
    (sent.load(Ordering::Relaxed), error)
}

#[tokio::test(start_paused = true)]
async fn rule_6_where_bodies_are_cloned_nothing_proves_that_a_request_was_not_sent() {
    let limited = || layer().clone_bodies().attempt_timeout(SECOND);
    let (sent, error) = sends(limited()).await;
    assert_eq!((sent, gave_up(&error).kind()), (1, GiveUp::NotIdempotent));
    assert_eq!(gave_up(&error).verdict().processed(), Processed::Maybe);
    assert_eq!(sends(limited().hedge(Hedge::after(MS))).await.0, 1, "hedged");
    let (sent, error) = sends(layer().clone_bodies().deadline(SECOND)).await;
    assert_eq!((sent, gave_up(&error).kind()), (1, GiveUp::Deadline));
    assert_eq!(gave_up(&error).verdict().processed(), Processed::Maybe);
    // Of two layers, either can set the limit.
    let plain = || layer().clone_bodies();
    assert_eq!(sends(ServiceBuilder::new().layer(limited()).layer(plain())).await.0, 1, "limited outside");
    assert_eq!(sends(ServiceBuilder::new().layer(plain()).layer(limited())).await.0, 1, "limited inside");
    // The mark of an outer layer that wraps bodies.
    let wraps = ServiceBuilder::new().layer(layer().attempt_timeout(SECOND));
    let converts = wraps.map_request(|request: Request<ReplayBody<Body>>| request.map(|_| Body::from("5 euros")));
    assert_eq!(sends(converts.layer(plain().max_attempts(1))).await.0, 1, "converted between");
}
