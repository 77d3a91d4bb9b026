//! Extensions go in and come out, and bodies in memory stay readable.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, Method};
use reqwest_middleware::ClientBuilder;
use tokio::time::Instant;
use tower::ServiceBuilder;
use tower_rampart::breaker::partition;
use tower_rampart::clients::reqwest_middleware::LayerMiddleware;
use tower_rampart::retry::{Attempt, AttemptDeadline};

use super::super::service::{breaker, retry};
use super::super::upstream::{Act, Upstream, answer};
use super::{Around, one_request};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Tenant(u32);

/// What the middleware inside has seen: the tenant, and the number of the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen(u32, u32);

#[tokio::test]
async fn extensions_reach_the_layers_and_the_middlewares_on_both_sides() {
    let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
    let breaker = breaker().partition_by(partition::extension::<Tenant>());
    let breakers = breaker.handle();
    let layers = LayerMiddleware::new(ServiceBuilder::new().layer(retry()).layer(breaker));
    let after = Arc::new(Mutex::new(Vec::new()));
    let inside = Around(
        |_: &_, extensions: &mut http::Extensions| {
            let Tenant(tenant) = *extensions.get().unwrap();
            let attempt = extensions.get().map_or(1, |attempt: &Attempt| attempt.number());
            extensions.insert(Seen(tenant, attempt));
        },
        |_: &_, _: &mut _| {},
    );
    let outside = {
        let after = after.clone();
        let see =
            move |_: &_, extensions: &mut http::Extensions| after.lock().unwrap().extend(extensions.remove::<Seen>());
        Around(|_: &_, _: &mut _| {}, see)
    };
    let client = ClientBuilder::new(Client::new()).with(outside).with(layers).with(inside).build();
    client.get(upstream.url()).with_extension(Tenant(7)).send().await.unwrap();
    // The last attempt decides.
    assert_eq!(*after.lock().unwrap(), [Seen(7, 2)]);
    assert_eq!(breakers.get(&Tenant(7)).unwrap().snapshot().calls, 2);
}

/// As a middleware outside does that retries.
#[tokio::test]
async fn another_call_with_the_same_extensions_starts_anew() {
    let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let number = {
        let numbers = numbers.clone();
        move |_: &_, extensions: &mut http::Extensions| numbers.lock().unwrap().push(extensions.get().copied())
    };
    let limited = retry().deadline(Duration::from_secs(60)).attempt_timeout(Duration::from_secs(10));
    let client = ClientBuilder::new(Client::new())
        .with(LayerMiddleware::new(limited))
        .with(Around(number, |_: &_, _: &mut _| {}))
        .build();
    let mut extensions = http::Extensions::new();
    for _ in 0..2 {
        let request = client.get(upstream.url()).build().unwrap();
        assert_eq!(client.execute_with_extensions(request, &mut extensions).await.unwrap().status(), 200);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::resume();
    }
    let numbers: Vec<_> = numbers.lock().unwrap().iter().map(|number| number.map_or(1, Attempt::number)).collect();
    assert_eq!(numbers, [1, 2, 1]);
    assert!(extensions.get::<AttemptDeadline>().is_none());
}

/// A middleware that signs a body reads its bytes in every attempt. Those of a POST are hidden where the client inside
/// could send them again.
#[tokio::test]
async fn a_middleware_inside_reads_the_bytes_of_a_body() {
    for (is_known, method, bytes) in
        [(true, Method::POST, Some("4711")), (false, Method::PUT, Some("4711")), (false, Method::POST, None)]
    {
        let upstream = Upstream::answers([answer("429 Too Many Requests")]).await;
        let reqwest = one_request(Client::builder());
        let layer = LayerMiddleware::new(retry());
        let layer = if is_known { layer.over(&reqwest) } else { layer };
        let signed = Arc::new(Mutex::new(Vec::new()));
        let sign = {
            let signed = signed.clone();
            move |request: &reqwest::Request, _: &mut _| {
                signed.lock().unwrap().push(request.body().unwrap().as_bytes().map(<[u8]>::to_vec));
            }
        };
        let client = ClientBuilder::new(reqwest.client().clone()).with(layer);
        let client = client.with(Around(sign, |_: &_, _: &mut _| {})).build();
        client.request(method, upstream.url()).body("4711").send().await.unwrap();
        let bytes = bytes.map(|bytes| bytes.as_bytes().to_vec());
        let signed = signed.lock().unwrap();
        assert!(signed.iter().all(|signed| *signed == bytes), "{signed:?}");
        assert_eq!(signed.len(), if bytes.is_some() { 2 } else { 1 });
    }
}

/// A middleware inside that answers by itself, once the test allows it.
struct Gate(Arc<tokio::sync::Semaphore>);

impl reqwest_middleware::Middleware for Gate {
    fn handle<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        _: reqwest::Request,
        extensions: &'life1 mut http::Extensions,
        _: reqwest_middleware::Next<'life2>,
    ) -> std::pin::Pin<Box<dyn Future<Output = reqwest_middleware::Result<reqwest::Response>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let number = extensions.get().map_or(1, |attempt: &Attempt| attempt.number());
            self.0.acquire().await.unwrap().forget();
            extensions.insert(Seen(7, number));
            let response = http::Response::builder().header("x-attempt", number).body(reqwest::Body::default());
            Ok(response.unwrap().into())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_extensions_are_those_of_the_attempt_whose_answer_is_returned() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let hedged = retry().hedge(tower_rampart::retry::Hedge::after(Duration::from_secs(1)));
    let client = ClientBuilder::new(Client::new()).with(LayerMiddleware::new(hedged)).with(Gate(gate.clone())).build();
    let call = tokio::spawn(async move {
        let mut extensions = http::Extensions::new();
        let request = client.get("http://billing.test/").build().unwrap();
        let response = client.execute_with_extensions(request, &mut extensions).await.unwrap();
        let number: u32 = response.headers()["x-attempt"].to_str().unwrap().parse().unwrap();
        (number, extensions.get::<Seen>().cloned())
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Both attempts end before the call is polled again.
    gate.add_permits(2);
    let (number, seen) = call.await.unwrap();
    assert_eq!(seen, Some(Seen(7, number)));
}

#[tokio::test]
async fn the_extensions_of_a_call_that_failed_are_those_of_its_last_attempt() {
    let upstream = Upstream::start(|_, _| Act::Reset).await;
    let number = |_: &_, extensions: &mut http::Extensions| {
        let attempt = extensions.get().map_or(1, |attempt: &Attempt| attempt.number());
        extensions.insert(Seen(7, attempt));
    };
    let client = ClientBuilder::new(Client::new())
        .with(LayerMiddleware::new(retry()))
        .with(Around(number, |_: &_, _: &mut _| {}))
        .build();
    let mut extensions = http::Extensions::new();
    let request = client.get(upstream.url()).build().unwrap();
    client.execute_with_extensions(request, &mut extensions).await.unwrap_err();
    assert_eq!((extensions.get(), upstream.count()), (Some(&Seen(7, 3)), 3));
}

#[tokio::test]
async fn another_call_with_the_same_extensions_keeps_its_own_timeout() {
    for timeout in [None, Some(Duration::from_secs(60))] {
        let upstream = Upstream::answers([answer("200 OK"), Act::Hang]).await;
        let client = ClientBuilder::new(Client::new()).with(LayerMiddleware::new(breaker())).build();
        let mut extensions = http::Extensions::new();
        let first = client.get(upstream.url()).timeout(Duration::from_secs(5)).build().unwrap();
        client.execute_with_extensions(first, &mut extensions).await.unwrap();
        let mut second = client.get(upstream.url()).build().unwrap();
        *second.timeout_mut() = timeout;
        let start = Instant::now();
        let call = tokio::spawn(async move { client.execute_with_extensions(second, &mut extensions).await });
        upstream.hangs().await;
        tokio::time::pause();
        let outcome = tokio::time::timeout(Duration::from_secs(3600), call).await;
        assert_eq!(
            (outcome.is_ok(), start.elapsed().as_secs()),
            (timeout.is_some(), timeout.map_or(3600, |t| t.as_secs()))
        );
        tokio::time::resume();
    }
}
