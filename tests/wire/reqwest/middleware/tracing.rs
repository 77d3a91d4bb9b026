//! With reqwest-tracing: outside it sees a call, inside each attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use reqwest::Client;
use reqwest_middleware::ClientBuilder;
use reqwest_tracing::{OtelName, TracingMiddleware};
use tower_rampart::clients::reqwest_middleware::LayerMiddleware;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::super::service::retry;
use super::super::upstream::{Upstream, answer};

/// Counts the spans of requests with the name that the caller has given them.
struct Spans(Arc<AtomicUsize>);

/// Finds that name among the fields of a span.
struct Named(bool);

impl Visit for Named {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 |= field.name() == "otel.name" && format!("{value:?}").contains("usage of tenants");
    }
}

impl<S: Subscriber> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut named = Named(false);
        attributes.record(&mut named);
        if attributes.metadata().name() == "HTTP request" && named.0 {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

#[tokio::test]
async fn a_span_covers_the_call_outside_and_an_attempt_inside() {
    for (is_outside, spans) in [(true, 1), (false, 2)] {
        let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
        let client = ClientBuilder::new(Client::new());
        let client = if is_outside {
            client.with(TracingMiddleware::default()).with(LayerMiddleware::new(retry()))
        } else {
            client.with(LayerMiddleware::new(retry())).with(TracingMiddleware::default())
        };
        let counted = Arc::new(AtomicUsize::new(0));
        let subscriber = tracing_subscriber::registry().with(Spans(counted.clone()));
        let call = client
            .build()
            .get(upstream.url())
            .with_extension(OtelName("usage of tenants".into()))
            .send()
            .with_subscriber(subscriber);
        assert_eq!(call.await.unwrap().status(), 200);
        assert_eq!((counted.load(Relaxed), upstream.count()), (spans, 2));
    }
}
