use axum::Router;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::health_reporter;
use tower::ServiceBuilder;
use tower_rampart::clients::tonic::TonicService;
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = clients::serve(Router::new().fallback_service(health_reporter().1)).await?;

    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new_for_grpc().idempotent(|head| head.uri.path().ends_with("/Check")))
        .layer(CircuitBreakerLayer::new_for_grpc().judge_body())
        .service(TonicService::new(Endpoint::from_shared(url)?.connect_lazy()));

    let mut client = HealthClient::new(stack); // a client that tonic has generated
    let answer = client.check(HealthCheckRequest::default()).await?;
    println!("{:?}", answer.into_inner().status());
    Ok(())
}
