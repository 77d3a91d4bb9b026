//! Jitter that a seed makes repeatable.

use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_rampart::RetryLayer;
use tower_rampart::retry::Backoff;

use crate::support::*;

fn seeded(seed: u64) -> RetryLayer {
    layer().max_attempts(9).backoff(Backoff::exponential(1_000 * MS, 60_000 * MS)).seed(seed)
}

/// The waits of one call through the layer.
async fn waits(layer: &RetryLayer) -> Vec<u128> {
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    let request = http::Request::get("/").body(Full::<bytes::Bytes>::default()).unwrap();
    layer.layer(upstream).oneshot(request).await.unwrap();
    log.gaps()
}

#[tokio::test(start_paused = true)]
async fn two_layers_with_one_seed_wait_alike_and_others_do_not() {
    let (layer, equal, other) = (seeded(7), seeded(7), seeded(8));
    let first = waits(&layer).await;
    assert_eq!((first.len(), &first), (8, &waits(&equal).await));
    assert_ne!(first, waits(&other).await);
    // A clone continues the stream of its layer.
    let second = waits(&layer.clone()).await;
    assert_ne!(first, second);
    assert_eq!(second, waits(&equal).await);
}

#[tokio::test(start_paused = true)]
async fn without_a_seed_two_layers_wait_differently() {
    let unseeded = || layer().max_attempts(9).backoff(Backoff::exponential(1_000 * MS, 60_000 * MS));
    assert_ne!(waits(&unseeded()).await, waits(&unseeded()).await);
}
