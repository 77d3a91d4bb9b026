//! A boxed stack has a name, and works in spawned tasks.

use std::time::Duration;

use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, ServiceBuilder};
use tower_rampart::breaker::CircuitOpen;
use tower_rampart::clients::tonic::{BoxTonicService, TonicService, boxed};
use tower_rampart::retry::{GiveUp, RetryError, StopRetries};
use tower_rampart::{CircuitBreakerLayer, ClassifyLayer};

use super::retry;
use super::upstream::{Answer, Upstream};

#[derive(Clone)]
struct App {
    health: HealthClient<BoxTonicService>,
}

impl App {
    async fn check(mut self) -> Result<i32, Status> {
        Ok(self.health.check(HealthCheckRequest::default()).await?.into_inner().status)
    }
}

#[tokio::test]
async fn a_field_of_a_struct_makes_calls_in_tasks() {
    let upstream = Upstream::start(|n| if n == 0 { Answer::unavailable() } else { Answer::ok() }).await;
    let stack = ServiceBuilder::new()
        .layer(retry().idempotent(|_| true))
        .layer(CircuitBreakerLayer::new_for_grpc().judge_body())
        .layer(ClassifyLayer::new_for_grpc())
        .service(upstream.channel());
    let app = App { health: HealthClient::new(boxed(stack)) };
    let (one, two) = (tokio::spawn(app.clone().check()), tokio::spawn(app.check()));
    assert_eq!((one.await.unwrap().unwrap(), two.await.unwrap().unwrap(), upstream.requests()), (1, 1, 3));
}

#[tokio::test]
async fn the_stack_itself_goes_into_a_task_too() {
    let upstream = Upstream::start(|_| Answer::ok()).await;
    let breaker = CircuitBreakerLayer::new_for_grpc().judge_body();
    let mut client = HealthClient::new(retry().layer(breaker.layer(upstream.channel())));
    let task = tokio::spawn(async move { client.check(HealthCheckRequest::default()).await.unwrap() });
    assert_eq!(task.await.unwrap().into_inner().status, 1);
}

#[tokio::test(start_paused = true)]
async fn the_error_of_the_stack_is_the_source_of_the_status() {
    let upstream = Upstream::start(|_| Answer::unavailable()).await;
    let breaker = CircuitBreakerLayer::new_for_grpc().consecutive_failures(1).open_for(Duration::from_secs(30));
    let app = App { health: HealthClient::new(boxed(retry().layer(breaker.layer(upstream.channel())))) };
    let status = app.clone().check().await.unwrap_err();
    assert_eq!((status.code(), CircuitOpen::find(&status).is_some()), (Code::Unavailable, false));
    let status = app.check().await.unwrap_err();
    assert_eq!((status.code(), upstream.requests()), (Code::Unavailable, 1));
    assert_eq!(CircuitOpen::find(&status).unwrap().retry_after(), Some(Duration::from_secs(30)));
    assert_eq!(RetryError::find(&status).unwrap().kind(), GiveUp::CircuitOpen);
    assert!(StopRetries::after_error(&status).is_some());
}

#[tokio::test]
async fn interceptors_stand_above_and_below() {
    fn stamp(mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().append("x-stamp", "here".parse().unwrap());
        Ok(request)
    }
    let upstream = Upstream::start(|n| if n == 0 { Answer::unavailable() } else { Answer::ok() }).await;
    let channel = TonicService::new(InterceptedService::new(upstream.channel(), stamp));
    let stack = retry().idempotent(|_| true).layer(channel);
    HealthClient::with_interceptor(boxed(stack), stamp).check(HealthCheckRequest::default()).await.unwrap();
    // Once for the call and once for each attempt, which begins with a copy of what the call had.
    let stamps = |n: usize| upstream.seen()[n].headers().get_all("x-stamp").iter().count();
    assert_eq!((stamps(0), stamps(1)), (2, 2));
}
