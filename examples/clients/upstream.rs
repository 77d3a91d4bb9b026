//! The servers that the programs call.

mod memory_queue;
mod redis_server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;

pub use self::memory_queue::{Delivery, Queue};
pub use self::redis_server::redis_server;

/// Serves the routes on a free port of this machine, and returns the URL.
pub async fn serve(routes: Router) -> std::io::Result<String> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, routes).await });
    Ok(url)
}

/// Answers the first request with 503, and all others with 200.
pub fn flaky() -> Router {
    busy_at_first(Router::new().fallback(|| async { "hello" }))
}

/// The same for gRPC: the standard health service, whose messages need no protoc.
pub fn flaky_health() -> Router {
    let (_, health) = tonic_health::server::health_reporter();
    busy_at_first(Router::new().fallback_service(health))
}

fn busy_at_first(routes: Router) -> Router {
    let is_busy = Arc::new(AtomicBool::new(true));
    routes.layer(from_fn(move |request: Request, next: Next| {
        let is_busy = is_busy.swap(false, Relaxed);
        async move {
            if is_busy { (StatusCode::SERVICE_UNAVAILABLE, "busy").into_response() } else { next.run(request).await }
        }
    }))
}

/// Answers the first four requests with 503, and an order of nothing with 422.
pub fn orders() -> Router {
    let requests = Arc::new(AtomicU32::new(0));
    Router::new().fallback(async move |order: String| match requests.fetch_add(1, Relaxed) {
        0..4 => StatusCode::SERVICE_UNAVAILABLE,
        _ if order.is_empty() => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    })
}
