//! The real backoff in the contention simulator of "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).

use std::time::Duration;

use rampart_sim::contend;
use tower_rampart::retry::{Backoff, Jitter};

/// A millisecond of the article, which rounding up to a millisecond would distort by two in a hundred.
const MS: Duration = Duration::from_secs(1);
const MESSAGE: Duration = Duration::from_secs(10);

/// Writes of a hundred clients, the mean of some runs.
fn calls(backoff: Backoff) -> f64 {
    const RUNS: u64 = 8;
    let calls: u64 = (0..RUNS).map(|seed| contend(100, MESSAGE, backoff.clone(), seed).calls).sum();
    calls as f64 / RUNS as f64
}

#[test]
fn a_hundred_clients_write_as_often_as_published() {
    let exponential = Backoff::exponential(10 * MS, 2_000 * MS);
    let decorrelated = Backoff::decorrelated(5 * MS, 2_000 * MS);
    for (kind, backoff, published) in [
        ("full jitter", exponential.clone(), 796.0),
        ("equal jitter", exponential.clone().jitter(Jitter::Equal), 813.0),
        ("decorrelated jitter", decorrelated, 1_000.0),
        ("no backoff", Backoff::none(), 2_424.0),
        ("exponential without jitter", exponential.jitter(Jitter::None), 1_854.0),
    ] {
        let calls = calls(backoff);
        println!("{kind}: {calls:.0} calls, published {published}");
        assert!((calls / published - 1.0).abs() < 0.05, "{kind}: {calls:.0} calls, published {published}");
    }
}

#[test]
fn one_client_writes_once_in_four_messages() {
    let alone = contend(1, MESSAGE, Backoff::none(), 1);
    assert_eq!((alone.calls, alone), (1, contend(1, MESSAGE, Backoff::none(), 1)));
    assert!((20 * MS..60 * MS).contains(&alone.took), "{:?}", alone.took);
}
