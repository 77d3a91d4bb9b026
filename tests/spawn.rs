//! What users put into a spawned task has to be `Send` in the eyes of the compiler, which there forgets lifetimes.

use std::io;

use http::{Request, Response};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::classify::{Verdict, classifier_fn};
use tower_rampart::{CircuitBreakerLayer, ClassifyLayer, RetryLayer};

#[tokio::test]
async fn the_whole_stack_goes_into_a_task() {
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new_for_http())
        .layer(CircuitBreakerLayer::new_for_http())
        .layer(ClassifyLayer::new_for_http())
        .service(service_fn(|_: Request<_>| async { Ok::<_, io::Error>(Response::new(204)) }));
    let task = tokio::spawn(async move { service.oneshot(Request::new(String::new())).await.unwrap().into_body() });
    assert_eq!(task.await.unwrap(), 204);
}

#[tokio::test]
async fn closures_as_classifiers_go_into_a_task() {
    let judge = || {
        classifier_fn(|outcome: Result<&u32, _>| match outcome {
            Ok(_) => Verdict::success(),
            Err(error) => Verdict::of_error(error),
        })
    };
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(judge()))
        .layer(CircuitBreakerLayer::new(judge()))
        .layer(ClassifyLayer::new(judge()))
        .service(service_fn(|number: u32| async move { Ok::<u32, io::Error>(number + 1) }));
    let task = tokio::spawn(async move { service.oneshot(1).await.unwrap() });
    assert_eq!(task.await.unwrap(), 2);
}
