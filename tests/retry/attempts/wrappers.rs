//! A POST is sent once, whatever lies between the retry layer and the client.

use std::future::{Future, Ready, pending, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::util::{BoxCloneService, BoxCloneSyncService};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_rampart::retry::{GiveUp, Hedge, ReplayBody};
use tower_rampart::{BoxError, CircuitBreakerLayer};

use crate::support::*;

type Sent = Request<ReplayBody<Full<Bytes>>>;

/// Gets no answer: before it is ready, or after it was sent.
#[derive(Clone)]
struct Hangs {
    in_readiness: bool,
    sent: Arc<AtomicUsize>,
}

impl Service<Sent> for Hangs {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<()>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.in_readiness { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, _: Sent) -> Self::Future {
        self.sent.fetch_add(1, Ordering::Relaxed);
        Box::pin(pending())
    }
}

/// Calls a clone of the inner service in a task of its own.
#[derive(Clone)]
struct Spawned<S>(S);

impl<S> Service<Sent> for Spawned<S>
where
    S: Service<Sent, Response = Response<()>, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<()>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Sent) -> Self::Future {
        let answer = tokio::spawn(self.0.clone().oneshot(request));
        Box::pin(async { answer.await? })
    }
}

/// Returns how often a POST was sent, its attempts, and why there were no more.
async fn sends<S>(in_readiness: bool, hedges: bool, wrap: impl FnOnce(Hangs) -> S) -> (usize, u32, GiveUp)
where
    S: Service<Sent, Response = Response<()>, Error = BoxError> + Clone,
{
    let sent = Arc::new(AtomicUsize::new(0));
    let client = wrap(Hangs { in_readiness, sent: Arc::clone(&sent) });
    let layer = layer().attempt_timeout(SECOND);
    let error = if hedges {
        layer.hedge(Hedge::after(100 * MS)).layer(client).oneshot(post("5 euros")).await.unwrap_err()
    } else {
        layer.layer(client).oneshot(post("5 euros")).await.unwrap_err()
    };
    // What still runs in a task has its turn.
    settle().await;
    (sent.load(Ordering::Relaxed), gave_up(&error).attempts(), gave_up(&error).kind())
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_post_is_sent_once_through_every_wrapper() {
    let breaker = |hangs| CircuitBreakerLayer::new_for_http().layer(hangs);
    let once = (1, 1, GiveUp::NotIdempotent);
    // Known to be unsent, so that all attempts are made.
    let unsent = (0, 3, GiveUp::Exhausted);
    // A task may still send it.
    let unknown = (0, 1, GiveUp::NotIdempotent);
    for hedges in [false, true] {
        for (in_readiness, boxed, tasked) in [(false, once, once), (true, unsent, unknown)] {
            assert_eq!(sends(in_readiness, hedges, breaker).await, boxed, "plain");
            assert_eq!(sends(in_readiness, hedges, |hangs| BoxCloneService::new(breaker(hangs))).await, boxed, "boxed");
            let wrap = |hangs| BoxCloneSyncService::new(breaker(hangs)).map_future(Box::pin);
            assert_eq!(sends(in_readiness, hedges, wrap).await, boxed, "boxed twice");
            assert_eq!(sends(in_readiness, hedges, |hangs| Spawned(breaker(hangs))).await, tasked, "spawned");
            let wrap = |hangs| ServiceBuilder::new().buffer(4).service(breaker(hangs));
            assert_eq!(sends(in_readiness, hedges, wrap).await, tasked, "buffer");
            let wrap = |hangs| breaker(hangs).and_then(ready_ok as fn(_) -> _);
            assert_eq!(sends(in_readiness, hedges, wrap).await, boxed, "and then");
        }
    }
}

fn ready_ok(response: Response<()>) -> Ready<Result<Response<()>, BoxError>> {
    ready(Ok(response))
}
