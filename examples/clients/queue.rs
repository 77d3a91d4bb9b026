use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use clients::Queue;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_rampart::classify::Verdict;
use tower_rampart::retry::Outcome;
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = clients::serve(Router::new().fallback(order)).await?;
    let breaker = CircuitBreakerLayer::new_for_http().consecutive_failures(3).open_for(Duration::from_millis(300));
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new_for_http().deadline(Duration::from_secs(5)))
        .layer(breaker)
        .service(Client::builder(TokioExecutor::new()).build_http());
    let mut queue = Queue::new(["apples", "", "pears"]);
    tokio::select! {
        result = consume(&mut queue, client, &url) => result,
        _ = tokio::signal::ctrl_c() => Ok(()), // the message in hand goes back to the queue
    }
}

/// The upstream fails three more times, and rejects an order of nothing.
async fn order(order: String) -> StatusCode {
    static ORDERS: AtomicU32 = AtomicU32::new(0);
    match ORDERS.fetch_add(1, Relaxed) {
        0..3 => StatusCode::SERVICE_UNAVAILABLE,
        _ if order.is_empty() => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    }
}

pub(crate) async fn consume<C, B>(queue: &mut Queue, client: C, url: &str) -> Result<(), BoxError>
where
    C: Service<Request<Full<Bytes>>, Response = Response<B>, Error = BoxError> + Clone,
{
    while let Some(delivery) = queue.next().await {
        // Idempotent, because a message may be delivered again.
        let request = Request::put(url).body(Full::from(delivery.message.clone()))?;
        let result = client.clone().oneshot(request).await;
        match Outcome::of(&result) {
            Outcome::Success => delivery.acknowledge(),
            // Another attempt would fail too, or could do it twice.
            Outcome::Terminal | Outcome::Ambiguous | Outcome::NotIdempotent => delivery.dead_letter(),
            _ => {
                let verdict = result.as_ref().map_or_else(|error| Verdict::of_error(&**error), Verdict::of);
                delivery.requeue(verdict.retry_after().unwrap_or(Duration::from_secs(1)));
            }
        }
    }
    Ok(())
}
