use axum::Router;
use tower::ServiceBuilder;
use tower_rampart::breaker::partition;
use tower_rampart::clients::reqwest::{ReqwestService, SendExt};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = clients::serve(Router::new().fallback("hello")).await?;

    let reqwest = ReqwestService::from_builder(reqwest::Client::builder())?;
    let client = reqwest.client().clone();
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new_for_http())
        .layer(CircuitBreakerLayer::new_for_http().partition_by(partition::host()))
        .service(reqwest);

    let response = stack.send(client.get(url).query(&[("page", "2")])).await?;
    println!("{} {:?}", response.status(), response.text().await?);
    Ok(())
}
