use axum::Router;
use reqwest_middleware::ClientBuilder;
use tower_rampart::clients::{reqwest::ReqwestService, reqwest_middleware::LayerMiddleware};
use tower_rampart::{BoxError, RetryLayer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = clients::serve(Router::new().fallback("hello")).await?;

    let reqwest = ReqwestService::from_builder(reqwest::Client::builder())?;
    let retry = LayerMiddleware::new(RetryLayer::new_for_http()).over(&reqwest);
    let client = ClientBuilder::new(reqwest.client().clone()).with(retry).build();

    let response = client.get(url).send().await?;
    println!("{} {:?}", response.status(), response.text().await?);
    Ok(())
}
