//! What other settings would have done with the calls in a flight recording.

mod outcome;
mod timeline;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::{Duration, Instant};
use tower_rampart::breaker::{CircuitBreaker, Permit, Recording, State};
use tower_rampart::classify::{Health, Verdict};

pub use self::outcome::{Outcome, Replay};
use self::timeline::{Event, Step};

/// Replays a recording through breakers with other settings: one made by `breaker` for each partition.
///
/// A call is admitted when it began, and ends as recorded. The recording does not hold what a rejected call would have
/// become; such calls, if the other settings admit them, teach the breaker nothing. Partitions do not nest, every call
/// is a first attempt, and what came before the first record is unknown.
///
/// # Panics
///
/// If called within a tokio runtime, or if `breaker` panics.
#[must_use]
pub fn replay(recording: &Recording, breaker: impl FnMut() -> CircuitBreaker) -> Replay {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    #[expect(clippy::expect_used, reason = "as documented")]
    let runtime = runtime.expect("a runtime of tokio");
    runtime.block_on(run(recording, breaker))
}

async fn run(recording: &Recording, mut breaker: impl FnMut() -> CircuitBreaker) -> Replay {
    let steps = timeline::of(recording.records());
    let start = Instant::now();
    let began = steps.first().map_or(Duration::ZERO, |step| step.at);
    let mut breakers: HashMap<Arc<str>, CircuitBreaker> = HashMap::new();
    let mut permits: HashMap<usize, Permit> = HashMap::new();
    let mut replayed = Outcome::default();
    for Step { at, partition, event } in &steps {
        tokio::time::advance((start + (*at - began)).saturating_duration_since(Instant::now())).await;
        let breaker = breakers.entry(partition.clone()).or_insert_with(&mut breaker);
        let before = breaker.state();
        match event {
            Event::Began { call, health } => match breaker.try_acquire() {
                Ok(permit) => {
                    permits.insert(*call, permit);
                }
                Err(_) => replayed.reject(Some(*health)),
            },
            Event::Ended { call, verdict } => {
                if let Some(permit) = permits.remove(call) {
                    permit.settle(*verdict);
                }
            }
            Event::Rejected => match breaker.try_acquire() {
                Ok(permit) => {
                    replayed.unknown += 1;
                    permit.settle(Verdict::success().with_health(Health::Neutral));
                }
                Err(_) => replayed.reject(None),
            },
        }
        if before != State::Open && breaker.state() == State::Open {
            replayed.open(*at, partition);
        }
    }
    Replay { recorded: Outcome::recorded(recording.records()), replayed }
}
