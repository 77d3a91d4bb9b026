//! Tenants nested in hosts: the key is `(host, tenant)`.

use std::sync::atomic::Ordering;

use tower::ServiceExt;
use tower_rampart::breaker::partition::{self, Nested, NestedIn};
use tower_rampart::breaker::{Cause, CircuitOpen, Handle, Mode, State, Window};

use crate::support::*;

pub(crate) type Key = (u64, u64);
pub(crate) type By = partition::By<fn(&(Key, Do)) -> u64, u64>;

pub(crate) fn nested() -> Breakers<NestedIn<By, By>> {
    layer()
        .window(Window::time(10 * SECOND))
        .minimum_calls(1)
        .open_for(10 * SECOND)
        .probe_lease(5 * SECOND)
        .half_open_max_calls(1)
        .success_threshold(1)
        .partition_by(partition::by((|request: &(Key, Do)| request.0.1) as fn(&(Key, Do)) -> u64))
        .nested_in(partition::by((|request: &(Key, Do)| request.0.0) as fn(&(Key, Do)) -> u64), 0.5)
}

pub(crate) const HOST: Nested<u64, u64> = Nested::Outer(1);

pub(crate) fn tenant(id: u64) -> Nested<u64, u64> {
    Nested::Inner(1, Some(id))
}

#[tokio::test(start_paused = true)]
async fn one_bad_tenant_never_shuts_the_host() {
    let layer = nested().minimum_children(2);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    // Alone, with one other and with many, and however often it opens again.
    for others in [0, 1, 5] {
        for id in 0..others {
            assert_eq!(call_for(&service, (1, 10 + id), Do::Succeed).await, OK);
        }
        for _ in 0..20 {
            call_for(&service, (1, 7), Do::Fail).await;
            advance(SECOND).await;
        }
        // Its open time has just ended again.
        assert_eq!((breakers.state(&tenant(7)), breakers.state(&HOST)), (State::HalfOpen, State::Closed), "{others}");
    }
}

#[tokio::test(start_paused = true)]
async fn half_of_the_tenants_open_the_host_and_a_fresh_one_costs_no_call() {
    let layer = nested();
    let (service, upstream) = over(&layer);
    let breakers = layer.handle();
    let mut events = breakers.subscribe(100);
    ripe(&layer).await;
    for id in 0..100 {
        assert_eq!(call_for(&service, (1, id), Do::Succeed).await, OK);
    }
    advance(SECOND).await;
    for id in 0..49 {
        call_for(&service, (1, id), Do::Fail).await;
        assert_eq!(breakers.state(&HOST), State::Closed, "{id}");
    }
    // A window that holds a success and a failure is half bad.
    call_for(&service, (1, 49), Do::Fail).await;
    assert_eq!(breakers.state(&HOST), State::Open);
    let host = std::iter::from_fn(|| events.try_recv()).find(|event| event.breaker.partition() == "1");
    assert_eq!(host.map(|event| (event.to, event.cause)), Some((State::Open, Cause::PartitionsOpen)));

    let calls = upstream.calls();
    for key in [(1, 1_000), (1, 99)] {
        let error = service.clone().oneshot((key, Do::Succeed)).await.unwrap_err();
        let open = CircuitOpen::find(&*error).unwrap();
        assert_eq!((open.partition(), open.state(), open.retry_after()), ("1", State::Open, Some(10 * SECOND)));
    }
    let error = service.clone().oneshot(((1, 3), Do::Succeed)).await.unwrap_err();
    assert_eq!(CircuitOpen::find(&*error).unwrap().partition(), "1/3", "its own");
    assert_eq!(upstream.calls(), calls);
    assert_eq!(breakers.get(&HOST).unwrap().snapshot().totals.rejected, 2);
    assert_eq!(call_for(&service, (2, 3), Do::Succeed).await, OK, "another host");
}

/// The votes on the host, and the bad ones.
pub(crate) fn votes(breakers: &Handle<Nested<u64, u64>>) -> (u64, u64) {
    let host = breakers.get(&HOST).unwrap().snapshot();
    (host.calls, host.failures)
}

/// The host has been closed for a whole window, so that a share of the votes opens it.
pub(crate) async fn ripe(layer: &Breakers<NestedIn<By, By>>) {
    let _ = layer.handle().get_or_insert(&HOST);
    advance(11 * SECOND).await;
}

/// Three tenants of six have failed.
pub(crate) async fn opened(layer: &Breakers<NestedIn<By, By>>) {
    let (service, _) = over(layer);
    ripe(layer).await;
    for id in 3..6 {
        call_for(&service, (1, id), Do::Succeed).await;
    }
    for id in 0..3 {
        assert_eq!(layer.handle().state(&HOST), State::Closed);
        call_for(&service, (1, id), Do::Fail).await;
    }
    assert_eq!(layer.handle().state(&HOST), State::Open);
}

#[tokio::test(start_paused = true)]
async fn any_tenant_probes_the_host_and_votes_of_before_count_no_longer() {
    let layer = nested();
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    assert_eq!(call_for(&service, (1, 50), Do::Succeed).await, OK);
    assert_eq!((breakers.state(&HOST), breakers.state(&tenant(0))), (State::Closed, State::HalfOpen));
    assert_eq!(votes(&breakers), (0, 0));
    call_for(&service, (1, 51), Do::Fail).await;
    assert_eq!(votes(&breakers), (1, 1));
    // Those that are open find out by themselves, and do not vote with that.
    assert_eq!(call_for(&service, (1, 0), Do::Succeed).await, OK);
    call_for(&service, (1, 1), Do::Fail).await;
    assert_eq!((breakers.state(&tenant(0)), breakers.state(&tenant(1))), (State::Closed, State::Open));
    assert_eq!(votes(&breakers), (1, 1));
    assert_eq!(call_for(&service, (1, 0), Do::Succeed).await, OK);
    assert_eq!(votes(&breakers), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_opens_the_host_again_and_a_late_one_changes_nothing() {
    let layer = nested();
    let (service, upstream) = over(&layer);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    let mut late = begin(call_for(&service, (1, 50), Do::SucceedAfter(6 * SECOND)));
    assert!(poll_once(late.as_mut()).await.is_pending());
    assert_eq!(breakers.state(&HOST), State::HalfOpen);
    let calls = upstream.calls();
    assert_eq!(call_for(&service, (1, 51), Do::Succeed).await, rejected(State::HalfOpen, 5 * SECOND));
    assert_eq!(upstream.calls(), calls);
    advance(5 * SECOND).await;
    call_for(&service, (1, 51), Do::Fail).await;
    assert_eq!(breakers.state(&HOST), State::Open);
    assert_eq!(late.await, OK);
    assert_eq!(breakers.state(&HOST), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_its_place_back() {
    let layer = nested();
    let (service, _) = over(&layer);
    opened(&layer).await;
    advance(10 * SECOND).await;
    for id in 50..53 {
        let mut probe = begin(call_for(&service, (1, id), Do::Hang));
        assert!(poll_once(probe.as_mut()).await.is_pending());
    }
    assert_eq!(call_for(&service, (1, 53), Do::Succeed).await, OK);
    assert_eq!(layer.handle().state(&HOST), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn bad_tenants_that_always_come_first_shut_no_tenant_out() {
    let layer = nested();
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    opened(&layer).await;
    // The host is well again, but for two tenants who call ten times as often; one more call of a good one each round.
    let mut rounds = 0;
    while breakers.state(&HOST) != State::Closed {
        rounds += 1;
        assert!(rounds <= 4, "each round has one bad tenant less, and then it closes");
        advance(10 * SECOND).await;
        for _ in 0..10 {
            call_for(&service, (1, 0), Do::Fail).await;
            call_for(&service, (1, 1), Do::Fail).await;
        }
        call_for(&service, (1, 3), Do::Succeed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn when_only_tenants_come_that_have_failed_they_wait_no_longer_than_half_the_open_time() {
    let layer = nested();
    let (service, _) = over(&layer);
    opened(&layer).await;
    advance(10 * SECOND).await;
    // All that come are open themselves.
    assert_eq!(call_for(&service, (1, 0), Do::Succeed).await, rejected(State::HalfOpen, 5 * SECOND));
    advance(5 * SECOND).await;
    assert_eq!(call_for(&service, (1, 0), Do::Succeed).await, OK);
    assert_eq!(layer.handle().state(&HOST), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn tenants_forced_open_or_disabled_do_not_count_and_a_mode_by_hand_wins() {
    let layer = nested();
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    call_for(&service, (1, 0), Do::Succeed).await;
    call_for(&service, (1, 1), Do::Succeed).await;
    (10..20).for_each(|id| assert!(breakers.force_open(&tenant(id))));
    assert!(breakers.disable(&tenant(20)) && breakers.observe(&tenant(21)));
    for _ in 0..20 {
        call_for(&service, (1, 20), Do::Fail).await;
    }
    call_for(&service, (1, 2), Do::Fail).await;
    assert_eq!(breakers.state(&HOST), State::Closed, "one of three");
    breakers.force_open(&HOST);
    assert!(matches!(call_for(&service, (1, 0), Do::Succeed).await, Outcome::Rejected { retry_after: None, .. }));
    for id in [20, 21] {
        assert_eq!(call_for(&service, (1, id), Do::Succeed).await, OK);
    }
    breakers.reset(&HOST);
    assert_eq!(call_for(&service, (1, 0), Do::Succeed).await, OK);
}

#[tokio::test(start_paused = true)]
async fn forgotten_tenants_wedge_nothing_and_hosts_stay_within_the_cap() {
    let layer = nested().max_partitions(8);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    opened(&layer).await;
    // What opened the host is reset and forgotten.
    (0..6).for_each(|id| breakers.reset(&tenant(id)));
    advance(10 * SECOND).await;
    for host in 100..1_000 {
        call_for(&service, (host, 1), Do::Succeed).await;
        assert!(breakers.len() <= 8);
        advance(SECOND).await;
    }
    assert!((0..6).all(|id| breakers.get(&tenant(id)).is_none()));
    assert!(breakers.get(&HOST).is_none(), "its open time was over long ago");
    let late = |host| breakers.get(&Nested::Inner(host, Some(1))).is_some();
    assert!((970..1_000).any(late), "new hosts find room again and again");
    advance(20 * SECOND).await;
    assert_eq!(call_for(&service, (1, 0), Do::Succeed).await, OK);
    assert_eq!(breakers.state(&HOST), State::Closed);
    assert!(breakers.get(&tenant(0)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_tenants_were_removed_makes_room() {
    let layer = nested().max_partitions(2);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    for host in 1..=100 {
        call_for(&service, (host, 7), Do::Succeed).await;
        assert!(breakers.remove(&Nested::Inner(host, Some(7))));
        advance(60 * SECOND).await;
    }
    assert_eq!((breakers.overflowed(), breakers.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn modes_that_reject_nothing_reject_nothing_when_nested() {
    let layer = nested().mode(Mode::ObserveOnly);
    let (service, upstream) = over(&layer);
    let breakers = layer.handle();
    opened(&layer).await;
    let calls = upstream.calls();
    for id in 0..10 {
        assert_eq!(call_for(&service, (1, id), Do::Succeed).await, OK);
    }
    assert_eq!(upstream.calls(), calls + 10);
    advance(10 * SECOND).await;
    assert_eq!(call_for(&service, (1, 9), Do::Succeed).await, OK);
    assert_eq!(breakers.state(&HOST), State::Closed, "as it would have done");
}

#[tokio::test(start_paused = true)]
async fn what_begins_forced_open_can_be_set_free_alone() {
    let layer = nested().mode(Mode::ForcedOpen);
    let (service, _) = over(&layer);
    layer.handle().automatic(&tenant(1));
    assert_eq!(call_for(&service, (1, 1), Do::Succeed).await, OK);
    assert!(matches!(call_for(&service, (1, 2), Do::Succeed).await, Outcome::Rejected { .. }));
}

#[tokio::test(start_paused = true)]
async fn tenants_that_open_at_once_open_the_host() {
    let runtime = tokio::runtime::Handle::current();
    for round in 0..200 {
        let layer = nested().open_for(3_600 * SECOND);
        let (service, upstream) = over(&layer);
        ripe(&layer).await;
        let barrier = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (service, barrier, runtime) = (service.clone(), &barrier, &runtime);
                scope.spawn(move || {
                    let _clock = runtime.enter();
                    barrier.wait();
                    futures_executor::block_on(call_for(&service, (1, worker), Do::Fail));
                });
            }
        });
        // Either the host was open before the last of them called, or its vote was seen.
        assert_eq!(layer.handle().state(&HOST), State::Open, "{round}, {}", upstream.calls.load(Ordering::SeqCst));
    }
}

#[test]
#[should_panic(expected = "nested_in: the rate must be over 0 and at most 1, but is 1.5")]
fn a_share_over_1_panics() {
    let _ = layer().nested_in(partition::host(), 1.5);
}

#[test]
#[should_panic(expected = "nested_in: partitions nest once, but this is a second time, with 0.25")]
fn a_second_level_panics() {
    let _ = layer().nested_in(partition::host(), 0.5).nested_in(partition::host(), 0.25);
}

#[test]
#[should_panic(expected = "minimum_children: must be at least 2, but is 1")]
fn a_minimum_of_one_child_panics() {
    let _ = layer().minimum_children(1);
}
