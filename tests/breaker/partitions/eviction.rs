//! What makes room for new keys, what does not, and what happens to those that find none.

use std::collections::HashSet;
use std::sync::Arc;

use tower_rampart::breaker::partition::{self, Nested};
use tower_rampart::breaker::{CircuitBreaker, State, Window};
use tower_rampart::classify::Class;

use crate::support::*;

type ById = partition::By<fn(&(u64, Do)) -> u64, u64>;

fn keyed() -> Breakers<ById> {
    layer()
        .window(Window::time(10 * SECOND))
        .minimum_calls(1)
        .open_for(10 * SECOND)
        .partition_by(partition::by((|request: &(u64, Do)| request.0) as fn(&(u64, Do)) -> u64))
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_an_open_breaker_is_forgotten_when_its_time_has_been_over_for_as_long_again() {
    for (millis, is_forgotten) in [(19_999, false), (20_000, true)] {
        let layer = keyed().max_partitions(1);
        let (service, _) = over(&layer);
        let breakers = layer.handle();
        call_for(&service, 1, Do::Fail).await;
        advance(millis * MS).await;
        call_for(&service, 2, Do::Succeed).await;
        assert_eq!((breakers.get(&2).is_some(), breakers.get(&1).is_none()), (is_forgotten, is_forgotten));
        assert_eq!(breakers.overflowed(), u64::from(!is_forgotten));
    }
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_a_half_open_breaker_that_is_not_called_is_forgotten_after_ten_minutes() {
    let probing = || keyed().half_open_max_calls(1).success_threshold(2);
    let on_a_ramp = || keyed().half_open_max_calls(1).success_threshold(1).ramp(&[0.5], 10);
    for layer in [probing, on_a_ramp].map(|layer| layer as fn() -> Breakers<ById>) {
        for (millis, is_forgotten) in [(599_999, false), (600_000, true)] {
            let layer = layer().max_partitions(1);
            let (service, _) = over(&layer);
            let breakers = layer.handle();
            call_for(&service, 1, Do::Fail).await;
            advance(10 * SECOND).await;
            assert_eq!(call_for(&service, 1, Do::Succeed).await, OK);
            let snapshot = breakers.get(&1).unwrap().snapshot();
            assert_eq!((snapshot.state, snapshot.unchanged_for.as_secs()), (State::HalfOpen, 0));
            advance(millis * MS).await;
            call_for(&service, 2, Do::Succeed).await;
            assert_eq!((breakers.get(&2).is_some(), breakers.get(&1).is_none()), (is_forgotten, is_forgotten));
            assert_eq!((breakers.len(), breakers.overflowed()), (1, u64::from(!is_forgotten)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_a_half_open_breaker_with_a_call_in_flight_stays() {
    let layer = keyed().half_open_max_calls(1).success_threshold(2).max_partitions(1);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    call_for(&service, 1, Do::Fail).await;
    advance(10 * SECOND).await;
    let mut probe = begin(call_for(&service, 1, Do::Hang));
    assert!(poll_once(probe.as_mut()).await.is_pending());
    advance(3_600 * SECOND).await;
    call_for(&service, 2, Do::Succeed).await;
    assert_eq!((breakers.get(&1).is_some(), breakers.overflowed()), (true, 1));
    drop(probe);
    advance(SECOND).await;
    call_for(&service, 2, Do::Succeed).await;
    assert_eq!((breakers.get(&1).is_none(), breakers.overflowed()), (true, 1));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_new_keys_looks_again_after_a_second() {
    let layer = keyed().max_partitions(1);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    let held = breakers.get_or_insert(&1).unwrap();
    call_for(&service, 2, Do::Succeed).await;
    drop(held);
    for (id, wait) in [(3, 0), (4, 999), (5, 1)] {
        advance(wait * MS).await;
        call_for(&service, id, Do::Succeed).await;
        assert_eq!(breakers.get(&id).is_some(), id == 5);
    }
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_an_open_breaker_that_is_called_or_was_opened_by_hand_stays() {
    let layer = keyed().max_partitions(2);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    call_for(&service, 1, Do::Fail).await;
    breakers.force_open(&2);
    for _ in 0..10 {
        // A failed probe opens it again.
        advance(19 * SECOND).await;
        assert_eq!(call_for(&service, 1, Do::Fail).await, Outcome::Failed("failed".into()));
        call_for(&service, 3, Do::Succeed).await;
    }
    assert_eq!((breakers.overflowed(), breakers.state(&1), breakers.state(&2)), (10, State::Open, State::Open));
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_dead_hosts_do_not_fill_all_places_for_good() {
    let layer = keyed().max_partitions(100);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    for id in 0..10_000 {
        call_for(&service, id, Do::Fail).await;
        advance(SECOND).await;
    }
    // One a second, each kept for 20 seconds.
    assert_eq!((breakers.overflowed(), breakers.len()), (0, 100));
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_a_new_key_looks_at_eight_others_at_most() {
    const CAP: u64 = 1_000;
    let layer = keyed().max_partitions(CAP as usize);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    let mut held: Vec<Option<CircuitBreaker>> = (0..CAP).map(|id| breakers.get_or_insert(&id)).collect();
    let mut most = 0;
    // Nearly a round from one to the next.
    for (newcomer, free) in (CAP..).zip((0..CAP as usize).rev().step_by(37)) {
        held[free] = None;
        let before = breakers.overflowed();
        while breakers.get(&newcomer).is_none() {
            call_for(&service, newcomer, Do::Ignore).await;
            assert!(breakers.overflowed() <= before + CAP / 8, "one round of the ring");
        }
        most = most.max(breakers.overflowed() - before);
        held[free] = breakers.get(&newcomer);
    }
    assert!(most > CAP / 16, "an insertion looks at more than a few");
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_one_bad_key_shuts_out_a_sixteenth_of_the_newcomers() {
    let layer = keyed().max_partitions(1);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    breakers.force_open(&0);
    call_for(&service, 1, Do::Fail).await;
    let bad = breakers.overflow_partition(&1);
    assert_eq!((bad.state(), breakers.overflowed()), (State::Open, 1));
    let (mut admitted, mut rejected) = (0_u32, 0_u32);
    for id in 1_000..2_600 {
        match call_for(&service, id, Do::Succeed).await {
            OK => admitted += 1,
            _ => rejected += 1,
        }
    }
    assert_eq!(bad.snapshot().totals.rejected, u64::from(rejected));
    // Within six standard deviations of 100.
    assert!((42..=158).contains(&rejected) && admitted + rejected == 1_600, "{rejected}");
    let labels: HashSet<_> = breakers.iter().map(|breaker| breaker.partition().to_owned()).collect();
    let expected = (0..16).map(|which| format!("(overflow-{which})")).chain(["0".to_owned()]);
    assert_eq!(labels, expected.collect());
    assert!(bad.partition().starts_with("(overflow-"));
}

#[test]
fn partition_rule_2_evictions_race_with_calls_and_lose_no_outcome() {
    // Each key has a few failures and many neutral calls, in between which it is evicted all the time.
    let layer = keyed().window(Window::time(3_600 * SECOND)).minimum_calls(1_000_000).max_partitions(64);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    let keys = |breakers: &tower_rampart::breaker::Handle<u64>| breakers.iter_keyed().count();
    std::thread::scope(|scope| {
        for worker in 0..4_u64 {
            let service = service.clone();
            scope.spawn(move || {
                for round in 0..20_000_u64 {
                    let fails = round % 400 == worker * 100;
                    let (key, what) = if fails { (round / 400 % 40, Do::Fail) } else { (round % 200, Do::Ignore) };
                    futures_executor::block_on(call_for(&service, key, what));
                }
            });
        }
        for _ in 0..1_000 {
            assert!(breakers.len() <= 64 && keys(&breakers) <= 64);
        }
    });
    let failures: u64 = breakers.iter().map(|breaker| breaker.snapshot().failures).sum();
    assert_eq!(failures, 4 * 50);
    // A round of the ring that finds all breakers in use, as when they are all listed, is followed by a second of rest.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let overflowed = runtime.block_on(async {
        tokio::time::advance(2 * SECOND).await;
        let overflowed = breakers.overflowed();
        // Eight new keys look at all places, of which 24 are free at least.
        for key in 1_000..1_008 {
            call_for(&service, key, Do::Ignore).await;
        }
        breakers.overflowed() - overflowed
    });
    assert!(overflowed < 8, "one finds room");
}

#[tokio::test(start_paused = true)]
async fn partition_rule_2_a_host_stays_for_as_long_as_one_of_its_tenants() {
    let layer = crate::nested::hierarchy::nested().max_partitions(4);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    let held = breakers.get_or_insert(&Nested::Inner(1, Some(7))).unwrap();
    for host in 2..100 {
        call_for(&service, (host, 7), Do::Ignore).await;
        assert!(breakers.get(&Nested::Outer(1)).is_some() && breakers.len() <= 4);
        assert!(breakers.get(&Nested::Inner(host, Some(7))).is_some());
    }
    drop(held);
    for host in 100..110 {
        call_for(&service, (host, 7), Do::Ignore).await;
    }
    assert!(breakers.get(&Nested::Outer(1)).is_none());
    assert_eq!(breakers.overflowed(), 0);
}

#[tokio::test(start_paused = true)]
async fn long_keys_that_differ_in_one_byte_have_breakers_of_their_own() {
    let layer = layer()
        .window(Window::count(1))
        .partition_by(partition::by(|request: &(Arc<str>, Do)| request.0.clone()))
        .redact_labels(false);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    let key = |last: char| -> Arc<str> { format!("{}{last}", "k".repeat(8_191)).into() };
    call_for(&service, key('a'), Do::Fail).await;
    assert_eq!((breakers.state(&key('a')), breakers.state(&key('b'))), (State::Open, State::Closed));
    call_for(&service, key('b'), Do::Succeed).await;
    call_for(&service, "short".into(), Do::Succeed).await;
    assert_eq!((breakers.len(), breakers.iter().count()), (3, 3));
    let keys: Vec<_> = breakers.iter_keyed().map(|(key, _)| key).collect();
    assert_eq!(keys, ["short".into()], "a long key is not kept");
    assert_eq!(breakers.get(&key('a')).unwrap().partition(), format!("{}…", "k".repeat(64)));
    breakers.get(&key('b')).unwrap().try_acquire().unwrap().settle(Class::Transient);
    breakers.reset(&key('a'));
    assert_eq!((breakers.state(&key('a')), breakers.state(&key('b'))), (State::Closed, State::Open));
    assert!(breakers.remove(&key('a')) && !breakers.remove(&key('a')) && breakers.remove(&key('b')));
    assert_eq!(breakers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn long_keys_within_a_host_go_with_it() {
    let layer = layer()
        .partition_by(partition::by(|request: &((u64, String), Do)| request.0.1.clone()))
        .nested_in(partition::by(|request: &((u64, String), Do)| request.0.0), 0.5);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    let tenant = |host| Nested::Inner(host, Some("t".repeat(1_000)));
    for host in [1, 2] {
        call_for(&service, (host, "t".repeat(1_000)), Do::Fail).await;
        assert_eq!(breakers.get(&tenant(host)).unwrap().snapshot().failures, 1);
    }
    assert!(breakers.remove(&Nested::Outer(1)));
    assert_eq!((breakers.len(), breakers.get(&tenant(1)).is_none()), (2, true));
    assert_eq!(breakers.get(&tenant(2)).unwrap().snapshot().failures, 1);
}
