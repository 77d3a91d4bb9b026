use axum::{Router, body::Body, extract::Request, extract::State, response::Response, routing::get};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};
use tower_rampart::retry::{DeadlineHeader, InboundRetries, RetryGuard};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer, breaker::partition, clients::UpstreamFailure};

type Upstream = BoxCloneSyncService<Request, http::Response<hyper::body::Incoming>, BoxError>;

async fn rows(State((client, url)): State<(Upstream, String)>, call: Request) -> Result<Response, UpstreamFailure> {
    let mut request = Request::get(url).body(Body::empty())?;
    if let Some(tenant) = call.headers().get("x-tenant-id") {
        request.headers_mut().insert("x-tenant-id", tenant.clone());
    }
    request.extensions_mut().insert(InboundRetries::from_headers(call.headers()));
    if let Some(deadline) = DeadlineHeader::milliseconds("x-request-timeout-ms").read(call.headers()) {
        request.extensions_mut().insert(deadline);
    }
    let answer = client.oneshot(request).await?; // 503, 504 or 502
    if answer.status().is_success() { Ok(answer.map(Body::new)) } else { Err(UpstreamFailure::of_response(&answer)) }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = clients::serve(Router::new().fallback("hello")).await?;
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new_for_http().guard(RetryGuard::new()))
        .layer(CircuitBreakerLayer::new_for_http().partition_by(partition::header("x-tenant-id")))
        .service(Client::builder(TokioExecutor::new()).build_http());
    let service = Router::new().route("/rows", get(rows)).with_state((Upstream::new(client), url));

    let call = Request::get("/rows").header("x-tenant-id", "7").body(Body::empty())?;
    let answer = service.oneshot(call).await?; // or `axum::serve(listener, service)`
    println!("{} {:?}", answer.status(), answer.into_body().collect().await?.to_bytes());
    Ok(())
}
