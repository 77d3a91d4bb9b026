//! Open times, overflow breakers and redacted labels that a seed makes repeatable.

use std::time::Duration;

use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::partition;
use tower_rampart::retry::Backoff;

use crate::support::*;

/// How long four breakers of a layer stay open, each opened once.
async fn open_times(seed: Option<u64>) -> Vec<Duration> {
    let layer = layer()
        .consecutive_failures(1)
        .open_for(Backoff::exponential(60 * SECOND, 600 * SECOND))
        .partition_by(partition::by(|request: &(u64, Do)| request.0));
    let layer = match seed {
        Some(seed) => layer.seed(seed),
        None => layer,
    };
    let (service, _) = over(&layer);
    let mut times = Vec::new();
    for key in 0..4 {
        call_for(&service, key, Do::Fail).await;
        times.extend(layer.handle().get(&key).and_then(|breaker| breaker.snapshot().retry_after));
    }
    times
}

/// Sixteen overflow breakers and labels, one after the other.
fn shown(seed: Option<u64>) -> Vec<String> {
    let layer = CircuitBreakerLayer::new_for_http()
        .partition_by(partition::by(|id: &u64| *id))
        .max_partitions(100)
        .redact_labels(true);
    let breakers = match seed {
        Some(seed) => layer.seed(seed),
        None => layer,
    }
    .handle();
    let keys = 0..16;
    let overflow = keys.clone().map(|key| breakers.overflow_partition(&key).partition().to_owned());
    let labels = keys.filter_map(|key| breakers.get_or_insert(&key).map(|breaker| breaker.partition().to_owned()));
    let mut shown: Vec<String> = overflow.chain(labels).collect();
    // The order of an iteration depends on the hashes.
    shown.extend(breakers.iter_keyed().map(|(key, _)| key.to_string()));
    shown
}

#[tokio::test(start_paused = true)]
async fn breakers_of_layers_with_one_seed_stay_open_as_long() {
    let times = open_times(Some(7)).await;
    assert!(times.len() == 4 && times.windows(2).all(|pair| pair[0] != pair[1]), "{times:?}");
    assert_eq!(times, open_times(Some(7)).await);
    assert_ne!(times, open_times(Some(8)).await);
    assert_ne!(open_times(None).await, open_times(None).await);
}

#[tokio::test]
async fn layers_with_one_seed_hash_keys_alike() {
    assert_eq!(shown(Some(7)).len(), 48);
    assert_eq!(shown(Some(7)), shown(Some(7)));
    assert_ne!(shown(Some(7)), shown(Some(8)));
    assert_ne!(shown(None), shown(None));
}
