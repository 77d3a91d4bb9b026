use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum::{Router, extract::Request, http::StatusCode, middleware::map_request};

/// Serves the routes on a free port, and returns the URL. Answers the first request with 503.
pub async fn serve(routes: Router) -> std::io::Result<String> {
    static UP: AtomicBool = AtomicBool::new(false);
    let gate = async |call: Request| UP.swap(true, Relaxed).then_some(call).ok_or(StatusCode::SERVICE_UNAVAILABLE);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, routes.layer(map_request(gate))).await });
    Ok(url)
}
