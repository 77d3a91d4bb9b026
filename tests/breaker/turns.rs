//! Who may probe a host, and when: no tenant keeps the others shut out, whatever becomes of its calls.

use std::time::Duration;

use tower_rampart::breaker::{CircuitBreaker, Mode, Permit, State};
use tower_rampart::classify::{Health, Verdict};

use crate::hierarchy::*;
use crate::support::*;

type Handle = tower_rampart::breaker::Handle<tower_rampart::breaker::partition::Nested<u64, u64>>;

fn permit(breakers: &Handle, id: u64) -> Permit {
    breakers.get_or_insert(&tenant(id)).unwrap().try_acquire().unwrap()
}

fn rejection(breakers: &Handle, id: u64) -> (String, State, Option<Duration>) {
    let open = breakers.get_or_insert(&tenant(id)).unwrap().try_acquire().unwrap_err();
    (open.partition().into(), open.state(), open.retry_after())
}

fn rejections(breakers: &Handle) -> u64 {
    breakers.get(&HOST).unwrap().snapshot().rejected
}

#[tokio::test(start_paused = true)]
async fn a_call_that_its_mode_admits_does_not_count_as_rejected() {
    let layer = nested();
    let breakers = layer.handle();
    opened(&layer).await;
    assert!(breakers.observe(&tenant(20)));
    assert!(breakers.set_mode(&tenant(21), Mode::RejectRetriesOnly));
    permit(&breakers, 20).settle(Verdict::success());
    permit(&breakers, 21).settle(Verdict::success());
    assert_eq!(rejections(&breakers), 0);
    assert!(breakers.get(&tenant(21)).unwrap().try_acquire_retry().is_err());
    assert_eq!(rejections(&breakers), 1);
}

/// Tenant 0 fails ten times a round, before a good one comes.
async fn rounds_until_closed(breakers: &Handle) -> u32 {
    for round in 1..=20 {
        tokio::time::advance(10 * SECOND).await;
        for _ in 0..10 {
            if let Ok(permit) = breakers.get_or_insert(&tenant(0)).unwrap().try_acquire() {
                permit.settle(Verdict::transient());
            }
        }
        if let Ok(permit) = breakers.get_or_insert(&tenant(3)).unwrap().try_acquire() {
            permit.settle(Verdict::success());
        }
        if breakers.state(&HOST) == State::Closed {
            return round;
        }
    }
    u32::MAX
}

#[tokio::test(start_paused = true)]
async fn a_bad_tenant_that_is_only_observed_shuts_no_tenant_out() {
    let layer = nested();
    let breakers = layer.handle();
    opened(&layer).await;
    assert!(breakers.observe(&tenant(0)));
    assert_eq!(rounds_until_closed(&breakers).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_bad_tenant_shuts_no_tenant_out_if_only_retries_or_no_calls_are_rejected() {
    for mode in [Mode::RejectRetriesOnly, Mode::ObserveOnly] {
        let layer = nested().mode(mode);
        let breakers = layer.handle();
        opened(&layer).await;
        assert_eq!(rounds_until_closed(&breakers).await, 2, "{mode}");
    }
}

/// A bad tenant calls every second, tenant 3 every three. The seconds until the host is closed.
async fn closes_after(breakers: &Handle, mut bad: impl FnMut()) -> u64 {
    for second in 0..60 {
        bad();
        if second % 3 == 1 {
            if let Ok(permit) = breakers.get_or_insert(&tenant(3)).unwrap().try_acquire() {
                permit.settle(Verdict::success());
            }
        }
        if breakers.state(&HOST) == State::Closed {
            return second;
        }
        advance(SECOND).await;
    }
    u64::MAX
}

/// An open host that is due, and a closed tenant that is to be bad.
async fn due(mode: Mode) -> (Handle, CircuitBreaker) {
    let layer = nested();
    let breakers = layer.handle();
    opened(&layer).await;
    assert!(breakers.set_mode(&tenant(50), mode));
    advance(10 * SECOND).await;
    let bad = breakers.get(&tenant(50)).unwrap();
    (breakers, bad)
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_probes_hang_leaves_the_next_place_to_others() {
    for mode in [Mode::Automatic, Mode::ObserveOnly] {
        let (breakers, bad) = due(mode).await;
        let mut hung = Vec::new();
        // The lease ends in second 5, and the good one comes in 1, 4 and 7.
        assert_eq!(closes_after(&breakers, || hung.extend(bad.try_acquire())).await, 7, "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_probes_are_cancelled_leaves_the_next_place_to_others() {
    for mode in [Mode::Automatic, Mode::ObserveOnly] {
        let (breakers, bad) = due(mode).await;
        let mut last = None;
        // Cancelled every second, and there again at once. In second 1 the good one comes too early.
        let closed = closes_after(&breakers, || {
            drop(last.take());
            last = bad.try_acquire().ok();
        });
        assert_eq!(closed.await, 4, "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_alone_need_not_wait_for_others() {
    let layer = nested();
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    let hung = permit(&breakers, 50);
    assert_eq!(rejection(&breakers, 50), ("1".into(), State::HalfOpen, Some(5 * SECOND)));
    advance(5 * SECOND).await;
    // Cancelled, and not in anybody's way.
    drop(permit(&breakers, 50));
    permit(&breakers, 50).settle(Verdict::success());
    assert_eq!(breakers.state(&HOST), State::Closed);
    drop(hung);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_waits_alone_waits_no_longer_than_the_open_time() {
    let layer = nested().open_for(2 * SECOND);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(2 * SECOND).await;
    let hung = permit(&breakers, 50);
    // A tenant that found no slot, and never comes again.
    assert_eq!(rejection(&breakers, 51), ("1".into(), State::HalfOpen, Some(5 * SECOND)));
    advance(5 * SECOND).await;
    assert_eq!(rejection(&breakers, 50), ("1".into(), State::HalfOpen, Some(2 * SECOND)));
    advance(2 * SECOND).await;
    permit(&breakers, 50).settle(Verdict::success());
    assert_eq!(breakers.state(&HOST), State::Closed);
    drop(hung);
}

#[tokio::test(start_paused = true)]
async fn late_news_of_an_earlier_probe_does_not_excuse_a_failed_one() {
    let layer = nested().half_open_max_calls(2).success_threshold(2);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    let early = permit(&breakers, 50);
    permit(&breakers, 51).settle(Verdict::transient());
    advance(15 * SECOND).await;
    permit(&breakers, 50).settle(Verdict::transient());
    early.settle(Verdict::success());
    // Another tenant breaker than the one that failed there.
    breakers.reset(&tenant(50));
    advance(10 * SECOND).await;
    assert_eq!(rejection(&breakers, 50), ("1".into(), State::Open, Some(5 * SECOND)));
    permit(&breakers, 52).settle(Verdict::success());
}

#[tokio::test(start_paused = true)]
async fn late_success_of_its_last_probe_gives_a_tenant_its_turn_back() {
    let layer = nested().half_open_max_calls(2).success_threshold(2);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    let early = permit(&breakers, 50);
    permit(&breakers, 51).settle(Verdict::transient());
    advance(10 * SECOND).await;
    assert_eq!(rejection(&breakers, 50), ("1".into(), State::Open, Some(5 * SECOND)));
    early.settle(Verdict::success());
    permit(&breakers, 50).settle(Verdict::success());
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_failed_in_an_earlier_outage_is_not_held_back_in_the_next() {
    let layer = nested();
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    permit(&breakers, 50).settle(Verdict::transient());
    advance(10 * SECOND).await;
    permit(&breakers, 51).settle(Verdict::success());
    assert_eq!(breakers.state(&HOST), State::Closed);
    breakers.reset(&tenant(50));
    advance(60 * SECOND).await;
    for id in 0..3 {
        permit(&breakers, id).settle(Verdict::transient());
    }
    assert_eq!(breakers.state(&HOST), State::Open);
    advance(10 * SECOND).await;
    permit(&breakers, 50).settle(Verdict::success());
    assert_eq!(breakers.state(&HOST), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_a_server_asks_of_one_tenant_does_not_shut_the_host_for_longer() {
    let layer = nested().honor_retry_after(3_600 * SECOND);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    let asked = Verdict::transient().with_health(Health::Throttled).with_retry_after(600 * SECOND);
    permit(&breakers, 50).settle(asked);
    assert_eq!(rejection(&breakers, 50), ("1/50".into(), State::Open, Some(600 * SECOND)));
    assert_eq!(rejection(&breakers, 51), ("1".into(), State::Open, Some(10 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn a_late_probe_does_not_give_back_the_place_that_another_has() {
    let layer = nested().half_open_max_calls(2).success_threshold(2);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    let late = [50, 51].map(|id| permit(&breakers, id));
    advance(5 * SECOND).await;
    let hung = [60, 61].map(|id| permit(&breakers, id));
    advance(SECOND).await;
    drop(late);
    assert_eq!(rejection(&breakers, 70), ("1".into(), State::HalfOpen, Some(4 * SECOND)));
    advance(4 * SECOND).await;
    assert_eq!(rejection(&breakers, 60), ("1".into(), State::HalfOpen, Some(5 * SECOND)));
    permit(&breakers, 70).settle(Verdict::success());
    drop(hung);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_was_in_the_way_still_waits_after_the_host_opens_again() {
    let layer = nested().half_open_max_calls(2).success_threshold(2);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    let cancelled = permit(&breakers, 50);
    let failed = permit(&breakers, 51);
    assert_eq!(rejection(&breakers, 60), ("1".into(), State::HalfOpen, Some(5 * SECOND)));
    failed.settle(Verdict::transient());
    assert_eq!(rejection(&breakers, 61), ("1".into(), State::Open, Some(10 * SECOND)));
    drop(cancelled);
    advance(10 * SECOND).await;
    assert_eq!(rejection(&breakers, 50), ("1".into(), State::Open, Some(5 * SECOND)));
    permit(&breakers, 60).settle(Verdict::success());
}
