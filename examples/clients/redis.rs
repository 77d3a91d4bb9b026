use redis::{Arg, Client, Cmd, RedisError, RetryMethod, Value};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_rampart::classify::{Processed, Verdict, classifier_fn};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let redis = &Client::open(clients::redis_server()?)?.get_connection_manager().await?;
    let verdicts = classifier_fn(|outcome: Result<&Value, _>| match outcome {
        Ok(_) => Verdict::success(),
        Err(error) => match error.downcast_ref().map(RedisError::retry_method) {
            Some(RetryMethod::NoRetry) => Verdict::terminal(),
            Some(RetryMethod::WaitAndRetry) => Verdict::transient().with_processed(Processed::No), // LOADING, TRYAGAIN
            _ => Verdict::of_error(error),
        },
    });
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new(verdicts).idempotent(|cmd: &Cmd| cmd.args_iter().next() == Some(Arg::Simple(b"GET"))))
        .layer(CircuitBreakerLayer::new(verdicts))
        .service(service_fn(|cmd: Cmd| async move { cmd.query_async::<Value>(&mut redis.clone()).await }));
    println!("{:?}", client.oneshot(redis::cmd("GET").arg("greeting").take()).await?);
    Ok(())
}
