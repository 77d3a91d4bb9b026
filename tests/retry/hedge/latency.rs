//! What hedges gain, and what they cost at most.

use std::sync::Mutex;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_rampart::classify::{Verdict, classifier_fn};
use tower_rampart::retry::{Budget, CloneRequests, Hedge};
use tower_rampart::{BoxError, RetryLayer};

use crate::support::*;

const CALLS: usize = 10_000;

/// An upstream whose answers take as long as `takes` says of their number and a random one.
fn upstream(
    takes: impl Fn(usize, &mut SmallRng) -> Duration,
) -> (impl Fn() -> usize, impl Service<(), Response = (), Error = BoxError> + Clone) {
    let state = std::rc::Rc::new(Mutex::new((0, SmallRng::seed_from_u64(7))));
    let takes = std::rc::Rc::new(takes);
    let calls = {
        let state = state.clone();
        move || state.lock().unwrap().0
    };
    let service = service_fn(move |()| {
        let mut state = state.lock().unwrap();
        let (number, rng) = &mut *state;
        let took = takes(*number, rng);
        *number += 1;
        async move {
            tokio::time::sleep(took).await;
            Ok::<_, BoxError>(())
        }
    });
    (calls, service)
}

fn plain() -> RetryLayer<impl tower_rampart::classify::Classifier<()> + Clone, CloneRequests> {
    RetryLayer::new(classifier_fn(|_: Result<&(), _>| Verdict::success()))
}

/// How long that many calls take, one after the other, in order of their durations.
async fn durations<S: Service<(), Response = (), Error = BoxError> + Clone>(service: S, calls: usize) -> Vec<Duration> {
    let mut durations = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        service.clone().oneshot(()).await.unwrap();
        durations.push(start.elapsed());
    }
    durations.sort_unstable();
    durations
}

/// One answer of 99 takes a second, so that the 99th percentile does, and the others 10 to 100 ms.
fn tail(number: usize, rng: &mut SmallRng) -> Duration {
    if number % 99 == 98 { SECOND } else { rng.random_range(10..=100) * MS }
}

#[tokio::test(start_paused = true)]
async fn rule_13_hedges_at_the_95th_percentile_cut_the_tail_for_five_percent_more_calls() {
    let (_, slow) = upstream(tail);
    let without = durations(plain().layer(slow), CALLS).await;
    let p95 = without[CALLS * 95 / 100];
    assert_eq!((without[CALLS * 99 / 100], p95 <= 100 * MS), (SECOND, true));

    let (calls, slow) = upstream(tail);
    let with = durations(plain().hedge(Hedge::quantile(0.95)).layer(slow), CALLS).await;
    // The delay is at most a sixteenth longer than the 95th percentile, and a timer fires up to a millisecond late.
    let delay = p95 * 17 / 16 + MS;
    assert!(with[CALLS * 99 / 100] < p95 + delay, "{:?}", with[CALLS * 99 / 100]);
    assert!(with[CALLS * 999 / 1_000] < p95 + delay + 10 * MS, "{:?}", with[CALLS * 999 / 1_000]);
    let extra = calls() - CALLS;
    assert!((CALLS / 100..=CALLS * 5 / 100).contains(&extra), "{extra} more calls");
}

#[tokio::test(start_paused = true)]
async fn rule_13_if_all_is_slow_the_budget_bounds_the_hedges() {
    for (hedge, ratio) in [(Hedge::after(50 * MS), 0.1), (Hedge::quantile(0.95), 0.2)] {
        // Fast until there are enough samples.
        let (calls, slow) = upstream(|number, _| if number < 100 { 10 * MS } else { SECOND });
        let layer = plain().budget(Budget::ratio(ratio).reserve(0)).hedge(hedge);
        let service = layer.layer(slow);
        durations(service.clone(), 100).await;
        let before = calls();
        durations(service, 1_000).await;
        let hedges = calls() - before - 1_000;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // The fast calls deposit, too.
        let most = (1_100.0 * ratio) as usize;
        assert!(hedges <= most, "{hedges} of {most}");
        assert!(hedges > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_13_no_quantile_of_fewer_than_fifty_attempts() {
    // The 49th is slow, so that the delay is computed anew before the fiftieth.
    let (calls, slow) = upstream(|number, _| if number < 48 { 10 * MS } else { SECOND });
    let service = plain().no_budget().hedge(Hedge::quantile(0.95)).layer(slow);
    durations(service.clone(), 50).await;
    assert_eq!(calls(), 50, "the fiftieth attempt is not hedged");
    durations(service, 1).await;
    assert_eq!(calls(), 52);
}

/// First attempts become slow, and their hedges win. If the losers did not count, every call would be hedged.
#[tokio::test(start_paused = true)]
async fn rule_13_the_delay_follows_first_attempts_that_lose() {
    let takes = |number: usize, _: &mut SmallRng| match number {
        0..1_000 => 10 * MS,
        _ if number % 2 == 0 => 500 * MS,
        _ => 100 * MS,
    };
    let (calls, slow) = upstream(takes);
    let service = plain().no_budget().hedge(Hedge::quantile(0.95)).layer(slow);
    durations(service.clone(), 1_200).await;
    let before = calls();
    assert!(before > 1_200);
    durations(service, 100).await;
    assert!((100..=110).contains(&(calls() - before)), "{}", calls() - before);
}

#[tokio::test(start_paused = true)]
async fn rule_13_clones_and_services_of_a_layer_share_their_latencies() {
    let (calls, slow) = upstream(|number, _| if number < 50 { 10 * MS } else { SECOND });
    let layer = plain().no_budget().hedge(Hedge::quantile(0.95));
    durations(layer.clone().layer(slow.clone()), 50).await;
    durations(layer.layer(slow), 1).await;
    assert_eq!(calls(), 52);
}

#[tokio::test(start_paused = true)]
async fn rule_13_the_delay_follows_attempts_that_were_cut() {
    for layer in [plain().attempt_timeout(100 * MS), plain().deadline(100 * MS)] {
        let (calls, slow) = upstream(|number, _| if number < 30 { 10 * MS } else { SECOND });
        let service = layer.no_budget().hedge(Hedge::quantile(0.4)).layer(slow);
        durations(service.clone(), 30).await;
        // Too few were answered for a quantile.
        for _ in 0..30 {
            service.clone().oneshot(()).await.unwrap_err();
        }
        let before = calls();
        service.oneshot(()).await.unwrap_err();
        assert_eq!(calls() - before, 2);
    }
}

/// Answers at once give a delay of a few microseconds.
#[tokio::test(start_paused = true)]
async fn rule_13_a_delay_is_at_least_a_millisecond() {
    let (calls, slow) = upstream(|number, _| if number < 50 { Duration::ZERO } else { 10 * MS });
    let layer = plain().no_budget().hedge(Hedge::quantile(0.95));
    let service = layer.layer(slow);
    durations(service.clone(), 50).await;
    let mut call = std::pin::pin!(service.oneshot(()));
    assert!(futures_util::poll!(call.as_mut()).is_pending());
    tokio::time::advance(MS - Duration::from_micros(1)).await;
    assert!(futures_util::poll!(call.as_mut()).is_pending());
    assert_eq!(calls(), 51);
    tokio::time::advance(Duration::from_micros(1)).await;
    assert!(futures_util::poll!(call.as_mut()).is_pending());
    assert_eq!(calls(), 52);
}
