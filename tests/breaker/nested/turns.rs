//! Which tenants probe a half-open host: no tenant keeps the others shut out, whatever becomes of its calls.

use std::time::Duration;

use tower_rampart::breaker::{CircuitBreaker, Mode, Permit, State};
use tower_rampart::classify::{Health, Verdict};

use crate::nested::hierarchy::*;
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
    breakers.get(&HOST).unwrap().snapshot().totals.rejected
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

#[tokio::test(start_paused = true)]
async fn a_bad_tenant_that_comes_first_shuts_no_tenant_out_in_any_mode() {
    for mode in [Mode::Automatic, Mode::RejectRetriesOnly, Mode::ObserveOnly] {
        for host in [Mode::Automatic, mode] {
            let layer = nested().mode(host);
            let breakers = layer.handle();
            opened(&layer).await;
            assert!(breakers.set_mode(&tenant(50), mode));
            advance(10 * SECOND).await;
            for _ in 0..10 {
                if let Ok(permit) = breakers.get_or_insert(&tenant(50)).unwrap().try_acquire() {
                    permit.settle(Verdict::transient());
                }
            }
            assert_eq!(breakers.state(&HOST), State::HalfOpen);
            permit(&breakers, 3).settle(Verdict::success());
            assert_eq!(breakers.state(&HOST), State::Closed, "{mode}");
        }
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
async fn a_tenant_whose_probes_hang_leaves_the_next_slot_to_others() {
    for mode in [Mode::Automatic, Mode::ObserveOnly] {
        let (breakers, bad) = due(mode).await;
        let mut hung = Vec::new();
        // The lease ends in second 5, and the good one comes in 1, 4 and 7.
        assert_eq!(closes_after(&breakers, || hung.extend(bad.try_acquire())).await, 7, "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_probes_are_cancelled_leaves_the_next_slot_to_others() {
    for mode in [Mode::Automatic, Mode::ObserveOnly] {
        let (breakers, bad) = due(mode).await;
        let mut last = None;
        // Cancelled every second, and there again at once.
        let closed = closes_after(&breakers, || {
            drop(last.take());
            last = bad.try_acquire().ok();
        });
        assert_eq!(closed.await, 1, "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_tenant_does_not_decide_alone_before_one_that_found_no_slot_can_come_again() {
    for mode in [Mode::Automatic, Mode::ObserveOnly] {
        let layer = nested().probe_lease(8 * SECOND);
        let breakers = layer.handle();
        opened(&layer).await;
        assert!(breakers.set_mode(&tenant(51), mode));
        advance(10 * SECOND).await;
        let bad = permit(&breakers, 50);
        advance(4 * SECOND).await;
        assert_eq!(breakers.get(&tenant(51)).unwrap().try_acquire().is_ok(), mode == Mode::ObserveOnly);
        advance(2 * SECOND).await;
        bad.settle(Verdict::transient());
        assert_eq!(breakers.state(&HOST), State::HalfOpen, "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_alone_decides_once_no_other_has_come_for_half_the_open_time() {
    for health in [Health::Success, Health::Failure] {
        let layer = nested().success_threshold(2).half_open_max_calls(2);
        let breakers = layer.handle();
        opened(&layer).await;
        assert!(breakers.observe(&tenant(50)));
        advance(10 * SECOND).await;
        for second in 0..5 {
            permit(&breakers, 50).settle(Verdict::success().with_health(health));
            assert_eq!(breakers.state(&HOST), State::HalfOpen, "{second}");
            advance(SECOND).await;
        }
        permit(&breakers, 50).settle(Verdict::success().with_health(health));
        let expected = if health == Health::Success { State::Closed } else { State::Open };
        assert_eq!(breakers.state(&HOST), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn two_tenants_that_succeed_close_the_host_whatever_came_before() {
    let layer = nested().success_threshold(2).half_open_max_calls(2);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    for id in 50..60 {
        permit(&breakers, id).settle(Verdict::transient());
    }
    permit(&breakers, 60).settle(Verdict::success());
    permit(&breakers, 60).settle(Verdict::success());
    assert_eq!(breakers.state(&HOST), State::HalfOpen, "one tenant is not two");
    permit(&breakers, 61).settle(Verdict::success());
    assert_eq!(breakers.state(&HOST), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_fails_and_succeeds_in_turn_does_not_close_the_host_alone() {
    let layer = nested().success_threshold(2).half_open_max_calls(3);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    permit(&breakers, 50).settle(Verdict::success());
    let [fails, succeeds] = [(); 2].map(|()| permit(&breakers, 50));
    fails.settle(Verdict::transient());
    succeeds.settle(Verdict::success());
    assert_eq!(breakers.state(&HOST), State::HalfOpen, "one tenant is not two");
    permit(&breakers, 51).settle(Verdict::success());
    assert_eq!(breakers.state(&HOST), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_fails_twice_is_one_bad_tenant() {
    let layer = nested().success_threshold(3).half_open_max_calls(3);
    let breakers = layer.handle();
    opened(&layer).await;
    assert!(breakers.observe(&tenant(50)));
    advance(10 * SECOND).await;
    permit(&breakers, 50).settle(Verdict::transient());
    permit(&breakers, 51).settle(Verdict::success());
    permit(&breakers, 52).settle(Verdict::success());
    // No other has come for half the open time, so it probes again.
    advance(5 * SECOND).await;
    permit(&breakers, 50).settle(Verdict::transient());
    assert_eq!(breakers.state(&HOST), State::HalfOpen, "one of three is less than half");
    permit(&breakers, 53).settle(Verdict::success());
    assert_eq!(breakers.state(&HOST), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_waits_its_turn_reads_half_open_once_the_open_time_is_over() {
    let layer = nested();
    let breakers = layer.handle();
    opened(&layer).await;
    assert_eq!(rejection(&breakers, 50), ("1".into(), State::Open, Some(10 * SECOND)));
    advance(9_999 * MS).await;
    assert_eq!(rejection(&breakers, 50), ("1".into(), State::Open, Some(MS)));
    advance(MS).await;
    // No call has made the host half-open.
    assert_eq!(rejection(&breakers, 0), ("1".into(), State::HalfOpen, Some(5 * SECOND)));
    assert_eq!(breakers.state(&HOST), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn sixty_four_tenants_that_fail_open_the_host_again() {
    let layer = nested();
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    for id in 100..163 {
        permit(&breakers, id).settle(Verdict::transient());
        assert_eq!(breakers.state(&HOST), State::HalfOpen, "{id}");
    }
    // Not at once: those that call often come first.
    advance(10 * SECOND / 32).await;
    permit(&breakers, 163).settle(Verdict::transient());
    assert_eq!(breakers.state(&HOST), State::Open);
}

#[tokio::test(start_paused = true)]
async fn an_open_tenant_waits_while_others_come_and_then_closes_itself_with_the_host() {
    let layer = nested().success_threshold(5);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    for newcomer in 50..53 {
        permit(&breakers, newcomer).settle(Verdict::transient());
        assert_eq!(rejection(&breakers, 0), ("1".into(), State::HalfOpen, Some(5 * SECOND)));
        advance(SECOND).await;
    }
    assert_eq!(rejection(&breakers, 0), ("1".into(), State::HalfOpen, Some(4 * SECOND)));
    // It fails as well, and there has been time for others.
    advance(4 * SECOND).await;
    permit(&breakers, 0).settle(Verdict::transient());
    assert_eq!([breakers.state(&HOST), breakers.state(&tenant(0))], [State::Open; 2]);
}

#[tokio::test(start_paused = true)]
async fn late_news_of_an_earlier_period_changes_nothing() {
    let layer = nested();
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    let early = permit(&breakers, 50);
    advance(5 * SECOND).await;
    permit(&breakers, 51).settle(Verdict::transient());
    assert_eq!(breakers.state(&HOST), State::Open);
    advance(10 * SECOND).await;
    let probe = permit(&breakers, 52);
    early.settle(Verdict::success());
    assert_eq!(breakers.state(&HOST), State::HalfOpen);
    probe.settle(Verdict::success());
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
    assert_eq!(breakers.state(&HOST), State::HalfOpen);
    advance(5 * SECOND).await;
    permit(&breakers, 51).settle(asked);
    assert_eq!(rejection(&breakers, 52), ("1".into(), State::Open, Some(10 * SECOND)));
}
