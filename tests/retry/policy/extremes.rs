//! The largest and the smallest values of every setting.

use std::cell::Cell;
use std::future::ready;
use std::io;
use std::time::Duration;

use tower_rampart::retry::{self, Backoff, Budget, Deadline, GiveUp, Jitter, RetryPolicy};

use crate::support::*;

fn down() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

#[tokio::test(start_paused = true)]
async fn rule_2_ten_thousand_attempts_with_every_backoff() {
    let (first, max) = (MS, SECOND);
    let custom = |retry: u32, last: Option<Duration>| last.unwrap_or(MS).max(Duration::from_nanos(retry.into()));
    for backoff in [
        Backoff::fixed(MS).jitter(Jitter::OnTop(1.0)),
        Backoff::linear(first, MS, max),
        Backoff::exponential(first, max).jitter(Jitter::Equal),
        Backoff::exponential(first, max).factor(1e300).jitter(Jitter::None),
        Backoff::fibonacci(first, max).jitter(Jitter::Proportional(1.0)),
        Backoff::decorrelated(first, max),
        Backoff::custom(move |retry, _, last| custom(retry, last)),
    ] {
        let (waits, longest) = (Cell::new(0), Cell::new(Duration::ZERO));
        let policy = RetryPolicy::new().max_attempts(10_000).no_budget().backoff(backoff.clone()).on_retry(|event| {
            waits.set(waits.get() + 1);
            longest.set(event.wait().max(longest.get()));
        });
        let error = retry::call(&policy, || ready(Err::<(), _>(down()))).await.unwrap_err();
        assert_eq!((error.attempts(), error.kind(), waits.get()), (10_000, GiveUp::Exhausted, 9_999));
        assert!((MS..=max).contains(&longest.get()), "{backoff:?}: {longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_past_sends_nothing() {
    tokio::time::advance(60 * SECOND).await;
    let past = tokio::time::Instant::now() - 30 * SECOND;
    for deadline in [Deadline::at(past), Deadline::within(Duration::ZERO)] {
        for attempts in [1, 3] {
            let upstream = Upstream::new([answer(200)]);
            let log = upstream.log();
            let mut request = put("rows");
            request.extensions_mut().insert(deadline);
            let layer = layer().max_attempts(attempts).deadline(Duration::MAX).attempt_timeout_by(|_, left| left);
            let error = send(layer, upstream, request).await.unwrap_err();
            assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts(), log.calls()), (GiveUp::Deadline, 0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn settings_of_zero_and_of_the_longest_time_hold() {
    const ZERO: Duration = Duration::ZERO;
    const MAX: Duration = Duration::MAX;
    // No hint is honored but none at all.
    for (hint, attempts) in [("1", 1), ("0", 3)] {
        let upstream = Upstream::new([answer(503).header("retry-after", hint)]);
        let response = send(layer().max_retry_after(ZERO), upstream, get()).await.unwrap();
        assert_eq!(report(&response).0, attempts, "{hint}");
    }
    // A clamped hint of zero does not wait, not even for jitter that there is none of.
    let upstream = Upstream::new([answer(503).header("retry-after", 3_600)]);
    let log = upstream.log();
    send(layer().max_retry_after(ZERO).clamp_retry_after(true).backoff(ZERO), upstream, get()).await.unwrap();
    assert_eq!((log.calls(), log.elapsed()), (3, ZERO));
    // No time for an attempt is a millisecond, and all time is none.
    for (limit, took) in [(ZERO, 3 * MS), (MAX, SECOND)] {
        let layer = layer().backoff(ZERO).deadline(SECOND).attempt_timeout_by(move |_, _| limit);
        let upstream = Upstream::new([hang()]);
        let log = upstream.log();
        assert!(send(layer, upstream, get()).await.is_err());
        assert_eq!(log.elapsed().as_millis(), took.as_millis(), "{limit:?}");
    }
    // Without a time to live one token outlives the first moment; the most of everything does not overflow.
    let most = Budget::ratio(1_000.0).min_per_second(u32::MAX).reserve(u32::MAX).capacity(u32::MAX);
    for (budget, attempts) in [
        (Budget::ratio(0.0).reserve(9).ttl(ZERO), 3),
        (Budget::ratio(1_000.0).ttl(ZERO).reserve(0), 3),
        (Budget::ratio(0.0).reserve(0).ttl(ZERO).min_per_second(u32::MAX), 100),
        (most.clone().ttl(MAX), 100),
        (most.ttl(ZERO), 100),
        (Budget::ratio(0.0).reserve(0).ttl(MAX), 1),
        (Budget::concurrent(100.0, u32::MAX), 100),
        (Budget::concurrent(0.0, 0), 1),
        (Budget::concurrent(100.0, 0), 100),
        (Budget::grpc(1_000, 1_000.0), 100),
    ] {
        let layer = layer().max_attempts(100).backoff(MS).budget(budget.clone());
        tokio::time::advance(SECOND).await;
        let response = send(layer, Upstream::new([answer(503)]), get()).await.unwrap();
        assert_eq!(report(&response).0, attempts, "{budget:?}");
    }
}
