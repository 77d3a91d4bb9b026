//! The servers that the programs call.

mod memory_queue;
mod redis_server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use axum::Router;
use axum::http::StatusCode;

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
    let busy = AtomicBool::new(true);
    let answer = move || {
        if busy.swap(false, Relaxed) { (StatusCode::SERVICE_UNAVAILABLE, "busy") } else { (StatusCode::OK, "hello") }
    };
    let answer = Arc::new(answer);
    Router::new().fallback(move || std::future::ready(answer()))
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
