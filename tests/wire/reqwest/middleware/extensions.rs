//! Extensions go in and come out, and bodies in memory stay readable.

use std::sync::{Arc, Mutex};

use reqwest::Client;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tower::ServiceBuilder;
use tower_rampart::breaker::partition;
use tower_rampart::clients::reqwest_middleware::LayerMiddleware;
use tower_rampart::retry::Attempt;

use super::super::service::{breaker, retry};
use super::super::upstream::{Upstream, answer};
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

/// A middleware that signs a body reads its bytes in every attempt. Where reqwest could send them again, they are
/// hidden from it.
#[tokio::test]
async fn a_middleware_inside_reads_the_bytes_of_a_body_over_a_known_client() {
    for (is_known, bytes) in [(true, Some(b"4711".to_vec())), (false, None)] {
        let upstream = Upstream::answers([answer("503 Service Unavailable")]).await;
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
        let client: ClientWithMiddleware =
            ClientBuilder::new(reqwest.client().clone()).with(layer).with(Around(sign, |_: &_, _: &mut _| {})).build();
        client.put(upstream.url()).body("4711").send().await.unwrap();
        assert_eq!(*signed.lock().unwrap(), [bytes.clone(), bytes]);
    }
}
