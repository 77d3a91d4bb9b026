use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_rampart::BoxError;
use tower_rampart::breaker::partition;
use tower_rampart::retry::Deadline;

use crate::steady::steady;
use crate::support::*;

type Body = Full<Bytes>;
type Sent = Arc<Mutex<Vec<String>>>;

/// Keeps what is sent. A POST is processed and answered with 303 to `location`, where a GET gets the other answer.
macro_rules! shop {
    ($sent:expr, $location:expr, $answer:expr) => {{
        let (sent, location, answer) = ($sent.clone(), $location, $answer);
        service_fn(move |request: Request<Body>| {
            let mut sent = sent.lock().unwrap();
            sent.push(format!("{} {}", request.method(), request.uri().path()));
            let answer = match request.method().as_str() {
                "POST" => Response::builder().status(303).header("location", location).body(Body::default()),
                _ => Response::builder().status(answer(sent.len())).body(Body::default()),
            };
            std::future::ready(Ok::<_, BoxError>(answer.unwrap()))
        })
    }};
}

fn pay() -> Request<Body> {
    Request::post("http://shop.example/pay").body("5 euros".into()).unwrap()
}

/// Inside, one attempt is two requests, and a POST whose answer leads to a refused GET is sent again. `FollowRedirect`
/// needs a body that is `Default`, which a replay body is not: this order takes an explicit `clone_bodies`.
#[tokio::test(start_paused = true)]
async fn inside_a_processed_post_is_doubled_and_outside_it_is_sent_once() {
    let throttled_twice = |gets: usize| move |sent: usize| if sent < gets { 429 } else { 200 };

    let sent = Sent::default();
    let inside = ServiceBuilder::new().layer(layer().clone_bodies()).layer(FollowRedirectLayer::new());
    let response = inside.service(shop!(sent, "/receipt", throttled_twice(6))).oneshot(pay()).await.unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (200, (3, None)));
    assert_eq!(*sent.lock().unwrap(), ["POST /pay", "GET /receipt"].repeat(3), "paid three times");

    let sent = Sent::default();
    let outside = ServiceBuilder::new().layer(FollowRedirectLayer::new()).layer(layer().clone_bodies());
    let response = outside.service(shop!(sent, "/receipt", throttled_twice(4))).oneshot(pay()).await.unwrap();
    assert_eq!((response.status().as_u16(), report(&response)), (200, (3, None)));
    assert_eq!(*sent.lock().unwrap(), ["POST /pay", "GET /receipt", "GET /receipt", "GET /receipt"]);
}

#[tokio::test(start_paused = true)]
async fn inside_the_first_host_answers_for_all_and_outside_each_for_itself() {
    let breaker = || steady(tower_rampart::CircuitBreakerLayer::new_for_http()).partition_by(partition::host());
    let of = |breakers: &tower_rampart::breaker::Handle<partition::Host>, host: &'static str| {
        let snapshot = breakers.get(&Authority::from_static(host).into())?.snapshot();
        Some((snapshot.calls, snapshot.failures))
    };
    let elsewhere = "http://receipts.example/receipt";

    let inside = breaker();
    let stack = ServiceBuilder::new().layer(&inside).layer(FollowRedirectLayer::new());
    let stack = stack.service(shop!(Sent::default(), elsewhere, |_| 500));
    for _ in 0..5 {
        stack.clone().oneshot(pay()).await.unwrap();
    }
    assert_eq!(["shop.example", "receipts.example"].map(|host| of(&inside.handle(), host)), [Some((5, 5)), None]);

    let outside = breaker();
    let stack = ServiceBuilder::new().layer(FollowRedirectLayer::new()).layer(&outside);
    let stack = stack.service(shop!(Sent::default(), elsewhere, |_| 500));
    for _ in 0..5 {
        stack.clone().oneshot(pay()).await.unwrap();
    }
    let seen = ["shop.example", "receipts.example"].map(|host| of(&outside.handle(), host));
    assert_eq!(seen, [Some((5, 0)), Some((5, 5))]);
}

/// `FollowRedirect` carries the extensions of a request to its next hop, but not to another origin.
#[tokio::test(start_paused = true)]
async fn outside_a_deadline_of_the_request_ends_at_another_origin_and_that_of_the_layer_begins_anew() {
    async fn took(location: &'static str) -> Duration {
        let inner = service_fn(move |request: Request<Body>| async move {
            if request.method() == "GET" {
                return std::future::pending().await;
            }
            tokio::time::sleep(500 * MS).await;
            let answer = Response::builder().status(303).header("location", location).body(Body::default());
            Ok::<_, BoxError>(answer.unwrap())
        });
        let stack = ServiceBuilder::new()
            .layer(FollowRedirectLayer::new())
            .layer(layer().clone_bodies().deadline(3 * SECOND))
            .service(inner);
        let mut request = pay();
        request.extensions_mut().insert(Deadline::within(SECOND));
        let start = Instant::now();
        stack.oneshot(request).await.unwrap_err();
        start.elapsed()
    }
    assert_eq!(took("/receipt").await, SECOND);
    assert_eq!(took("http://receipts.example/receipt").await, 3_500 * MS);
}
