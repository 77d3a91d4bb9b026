use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::{Request, Response};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::classify::{ServerErrorsAsFailures, ServerErrorsFailureClass, SharedClassifier};
use tower_http::trace::{DefaultMakeSpan, DefaultOnBodyChunk, DefaultOnEos, TraceLayer};
use tower_rampart::retry::Attempt;
use tracing::Span;

use crate::breaker;
use crate::support::*;

/// How often a `TraceLayer` reported a request, a response and a failure, and the numbers of the attempts, summed up.
#[derive(Clone, Default)]
struct Reports(Arc<[AtomicU32; 4]>);

macro_rules! counted {
    ($reports:expr) => {{
        let Reports(counts) = $reports;
        let [requests, responses, failures] = [counts.clone(), counts.clone(), counts.clone()];
        let layer: TraceLayer<SharedClassifier<ServerErrorsAsFailures>, _, _, _, DefaultOnBodyChunk, DefaultOnEos, _> =
            TraceLayer::new_for_http()
                .make_span_with(DefaultMakeSpan::new())
                .on_request(move |request: &Request<_>, _: &Span| {
                    requests[0].fetch_add(1, Relaxed);
                    requests[3].fetch_add(Attempt::of(request).number(), Relaxed);
                })
                .on_response(move |_: &Response<_>, _: Duration, _: &Span| {
                    responses[1].fetch_add(1, Relaxed);
                })
                .on_failure(move |_: ServerErrorsFailureClass, _: Duration, _: &Span| {
                    failures[2].fetch_add(1, Relaxed);
                });
        layer
    }};
}

impl Reports {
    fn taken(&self) -> [u32; 4] {
        [0, 1, 2, 3].map(|which: usize| self.0[which].swap(0, Relaxed))
    }
}

#[tokio::test(start_paused = true)]
async fn outside_it_reports_calls_and_inside_attempts() {
    let (outer, inner) = (Reports::default(), Reports::default());
    let (breaker, handle) = breaker();
    let pull = async |steps: Vec<Step>| {
        let stack = ServiceBuilder::new()
            .layer(counted!(&outer))
            .layer(layer().attempt_timeout(SECOND))
            .layer(&breaker)
            .layer(counted!(&inner))
            .service(Upstream::new(steps));
        drop(stack.oneshot(get()).await);
        (outer.taken(), inner.taken())
    };
    assert_eq!(pull(vec![answer(200)]).await, ([1, 1, 0, 1], [1, 1, 0, 1]));
    assert_eq!(pull(vec![answer(503), reset(), answer(200)]).await, ([1, 1, 0, 1], [3, 2, 2, 6]));
    // An attempt that is cut is dropped, and a `TraceLayer` reports no drop.
    assert_eq!(pull(vec![hang()]).await, ([1, 0, 1, 1], [3, 0, 0, 6]));
    handle.force_open();
    assert_eq!(pull(vec![answer(200)]).await, ([1, 0, 1, 1], [0; 4]), "a rejection sends nothing");
}
