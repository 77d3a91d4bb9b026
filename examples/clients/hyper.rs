use axum::Router;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{ServiceBuilder, ServiceExt};
use tower_rampart::breaker::partition;
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = clients::serve(Router::new().fallback("hello")).await?;

    let client = ServiceBuilder::new()
        .layer(RetryLayer::new_for_http())
        .layer(CircuitBreakerLayer::new_for_http().partition_by(partition::host()))
        .service(Client::builder(TokioExecutor::new()).build_http());

    let request = http::Request::get(url).body(Full::<Bytes>::default())?;
    let response = client.oneshot(request).await?;
    println!("{} {:?}", response.status(), response.into_body().collect().await?.to_bytes());
    Ok(())
}
