//! How often a breaker with the defaults opens although only one call in five fails, each by chance.
//!
//! `cargo run --release -p rampart-sim --example false_alarms [SHARE]` simulates an hour of breakers at 1 to 10,000
//! calls a second and takes some minutes. Its numbers are in `docs/DEFAULTS.md`.

use std::error::Error;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::{CircuitBreaker, State};
use tower_rampart::classify::Verdict;

/// Calls a second, and how many breakers see them.
const FLEETS: [(u32, u32); 8] =
    [(1, 2_000), (3, 600), (5, 400), (10, 200), (30, 60), (100, 20), (1_000, 2), (10_000, 1)];

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let share = std::env::args().nth(1).map_or(Ok(0.2), |share| share.parse::<f64>())?;
    if !(0.0..=1.0).contains(&share) {
        return Err("the share of failures must be from 0 to 1".into());
    }
    for (per_second, breakers) in FLEETS {
        let mut random = SmallRng::seed_from_u64(per_second.into());
        let fleet: Vec<CircuitBreaker> = (0..breakers).map(|_| CircuitBreakerLayer::new_for_http().breaker()).collect();
        let (mut calls, mut openings) = (0_u64, 0_u64);
        for _ in 0..3_600 * per_second {
            tokio::time::advance(Duration::from_secs(1) / per_second).await;
            for breaker in &fleet {
                let Ok(permit) = breaker.try_acquire() else { continue };
                calls += 1;
                permit.settle(if random.random_bool(share) { Verdict::transient() } else { Verdict::success() });
                if breaker.state() == State::Open {
                    openings += 1;
                    breaker.reset();
                }
            }
        }
        println!("{breakers} breakers at {per_second} a second: {openings} openings in {calls} calls");
    }
    Ok(())
}
