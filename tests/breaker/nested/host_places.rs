//! A place of a probe of a host is given back in whatever way a call ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use tower::{Layer, Service};
use tower_rampart::BoxError;
use tower_rampart::breaker::partition::Nested;
use tower_rampart::breaker::{Cause, State};
use tower_rampart::classify::Verdict;

use crate::nested::hierarchy::*;
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn dropped_before_and_after_the_first_poll() {
    let layer = nested();
    let (service, upstream) = over(&layer);
    opened(&layer).await;
    advance(10 * SECOND).await;
    for tenant in 50..60 {
        drop(begin(call_for(&service, (1, tenant), Do::Hang)));
        let mut call = begin(call_for(&service, (1, tenant), Do::Hang));
        assert!(poll_once(call.as_mut()).await.is_pending());
        assert_eq!(layer.handle().state(&HOST), State::HalfOpen);
    }
    assert_eq!((upstream.calls(), upstream.in_flight()), (10, 0));
    assert_eq!(call_for(&service, (1, 60), Do::Succeed).await, OK);
    assert_eq!(layer.handle().state(&HOST), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_panic_gives_the_slot_of_the_host_back() {
    let layer = nested();
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    assert!(AssertUnwindSafe(call_for(&service, (1, 50), Do::Panic)).catch_unwind().await.is_err());
    assert_eq!([breakers.state(&HOST), breakers.state(&tenant(50))], [State::HalfOpen, State::Open]);
    assert_eq!(call_for(&service, (1, 51), Do::Succeed).await, OK);
    assert_eq!(breakers.state(&HOST), State::Closed);
}

/// Not ready, for the time of an error.
#[derive(Clone)]
struct Unready {
    inner: Upstream,
    fails: Arc<AtomicBool>,
}

impl Service<(Key, Do)> for Unready {
    type Response = Answer;
    type Error = BoxError;
    type Future = <Upstream as Service<(Key, Do)>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.fails.load(Ordering::SeqCst) { Poll::Ready(Err("not ready".into())) } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, request: (Key, Do)) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_gives_the_slot_of_the_host_back() {
    let layer = nested();
    let breakers = layer.handle();
    let fails = Arc::new(AtomicBool::new(false));
    let service = layer.layer(Unready { inner: Upstream::default(), fails: fails.clone() });
    opened(&layer).await;
    advance(10 * SECOND).await;
    fails.store(true, Ordering::SeqCst);
    assert_eq!(call_for(&service, (1, 50), Do::Succeed).await, Outcome::Failed("not ready".into()));
    assert_eq!([breakers.state(&HOST), breakers.state(&tenant(50))], [State::HalfOpen, State::Open]);
    fails.store(false, Ordering::SeqCst);
    assert_eq!(call_for(&service, (1, 51), Do::Succeed).await, OK);
    assert_eq!(breakers.state(&HOST), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_by_the_tenant_takes_no_probe_slot_of_the_host() {
    let layer = nested();
    let breakers = layer.handle();
    opened(&layer).await;
    assert!(breakers.force_open(&tenant(50)));
    advance(10 * SECOND).await;
    for _ in 0..10 {
        assert!(breakers.get(&tenant(50)).unwrap().try_acquire().is_err());
    }
    let host = breakers.get(&HOST).unwrap().snapshot();
    assert_eq!(
        (host.state, host.generation, host.totals.rejected),
        (State::HalfOpen, 1, 0),
        "it is due and not probed"
    );
    breakers.get_or_insert(&tenant(51)).unwrap().try_acquire().unwrap().settle(Verdict::success());
    assert_eq!(breakers.state(&HOST), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_changed_by_hand_meanwhile_makes_them_late_news() {
    let layer = nested();
    let breakers = layer.handle();
    opened(&layer).await;
    advance(10 * SECOND).await;
    let probe = breakers.get_or_insert(&tenant(50)).unwrap().try_acquire().unwrap();
    breakers.force_open(&HOST);
    breakers.automatic(&HOST);
    probe.settle(Verdict::transient());
    assert_eq!([breakers.state(&HOST), breakers.state(&tenant(50))], [State::Closed, State::Open]);
    let probe = breakers.get_or_insert(&tenant(51)).unwrap().try_acquire().unwrap();
    breakers.reset(&tenant(51));
    breakers.disable(&HOST);
    probe.settle(Verdict::transient());
    assert_eq!([breakers.state(&HOST), breakers.state(&tenant(51))], [State::Closed; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_around_others_can_be_asked_by_hand() {
    let layer = nested();
    let breakers = layer.handle();
    let host = breakers.get_or_insert(&HOST).unwrap();
    for _ in 0..100 {
        host.try_acquire().unwrap().settle(Verdict::transient());
    }
    assert_eq!((host.state(), host.snapshot().calls), (State::Closed, 0), "it has no outcomes of its own");
    opened(&layer).await;
    advance(10 * SECOND).await;
    drop(host.try_acquire().unwrap());
    host.try_acquire().unwrap().settle(Verdict::success());
    assert_eq!(host.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn forgotten_tenants_do_not_make_up_the_minimum() {
    // Room for a host and three tenants.
    let layer = nested().max_partitions(4);
    let (service, _) = over(&layer);
    let breakers = layer.handle();
    for id in 0..3 {
        call_for(&service, (1, id), Do::Succeed).await;
    }
    let mut events = breakers.subscribe(8);
    advance(60 * SECOND).await;
    // Two of them are forgotten for these.
    for id in 10..12 {
        call_for(&service, (1, id), Do::Fail).await;
    }
    assert!(breakers.get(&tenant(10)).is_some() && breakers.get(&tenant(11)).is_some());
    assert_eq!(breakers.state(&HOST), State::Closed, "two of two, and there must be three");
    call_for(&service, (1, 12), Do::Fail).await;
    assert_eq!(breakers.state(&HOST), State::Open);
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv())
        .map(|event| (event.breaker.partition().to_owned(), event.to, event.cause))
        .collect();
    let opened = |label: &str, cause| (label.to_owned(), State::Open, cause);
    let rate = Cause::FailureRate;
    let expected =
        [opened("1/10", rate), opened("1/11", rate), opened("1/12", rate), opened("1", Cause::PartitionsOpen)];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn neither_the_default_partition_nor_the_overflow_is_within_a_host() {
    let layer = nested().max_partitions(4);
    let (service, upstream) = over(&layer);
    let breakers = layer.handle();
    ripe(&layer).await;
    for id in 0..3 {
        call_for(&service, (1, id), Do::Fail).await;
    }
    assert_eq!((breakers.state(&HOST), breakers.len()), (State::Open, 4));
    let calls = upstream.calls();
    // Its breaker is that of all who find no room, and no failure of it is one of the host's.
    call_for(&service, (1, 9), Do::Fail).await;
    assert_eq!((upstream.calls(), breakers.overflowed()), (calls + 1, 1));
    assert_eq!(breakers.overflow_partition(&tenant(9)).state(), State::Open);
    assert_eq!(breakers.default_partition().state(), State::Closed);
    breakers.reset_all();
    assert_eq!(breakers.state(&Nested::Outer(1)), State::Closed);
    assert_eq!(call_for(&service, (1, 0), Do::Succeed).await, OK);
}
