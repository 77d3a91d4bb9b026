//! Hostile use: what one misuse must not do to other calls.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock, mpsc};
use std::task::{Context, Wake};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::breaker::partition::{self, Nested};
use tower_rampart::breaker::{CircuitBreaker, Handle, State, Window};
use tower_rampart::classify::{Class, Verdict};
use tower_rampart::retry::ReplayBody;
use tower_rampart::{CircuitBreakerLayer, RetryLayer};

use crate::nested::hierarchy::{HOST, nested, opened, tenant};
use crate::support::*;

const LONG: Duration = Duration::from_secs(60);
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

#[tokio::test(start_paused = true)]
async fn debug_of_errors_and_permits_shows_their_public_fields_only() {
    let layer = nested();
    opened(&layer).await;
    let breaker = layer.handle().get(&tenant(3)).unwrap();
    let error = format!("{:?}", breaker.try_acquire().unwrap_err());
    assert!(error.contains("partition: \"1\"") && error.len() < 400, "{error}");
    breaker.observe();
    let permit = format!("{:?}", breaker.try_acquire().unwrap());
    assert!(permit.contains("partition: \"1/3\"") && permit.len() < 400, "{permit}");
}

#[tokio::test(start_paused = true)]
async fn retries_are_recognised_in_any_order_of_nesting() {
    type Sent = http::Request<ReplayBody<Empty<Bytes>>>;
    macro_rules! arrive {
        ($layer:expr) => {{
            let (layer, arrived) = ($layer, Arc::new(AtomicUsize::new(0)));
            let (handle, counted) = (layer.handle(), arrived.clone());
            // A share of votes counts from then on.
            let host = Nested::Outer(http::uri::Authority::from_static("host").into());
            let _ = handle.get_or_insert(&host);
            tokio::time::advance(61 * SECOND).await;
            let busy = layer.layer(service_fn(move |_: Sent| {
                counted.fetch_add(1, Ordering::SeqCst);
                let busy = http::Response::builder().status(503).body(Empty::<Bytes>::new()).unwrap();
                std::future::ready(Ok::<_, Infallible>(busy))
            }));
            let client = RetryLayer::new_for_http().max_attempts(2).layer(busy);
            let mut seen = Vec::new();
            for call in 0..8 {
                let request = http::Request::get("http://host/").header("x-tenant-id", call % 4);
                let before = arrived.load(Ordering::SeqCst);
                let _ = client.clone().oneshot(request.body(Empty::<Bytes>::new()).unwrap()).await;
                seen.push(arrived.load(Ordering::SeqCst) - before);
            }
            (seen, handle.state(&host))
        }};
    }
    let http = || steady(CircuitBreakerLayer::new_for_http()).window(Window::count(1));
    let by = || partition::header("x-tenant-id");
    // The first call of each of three tenants opens its breaker, so its retry is rejected, and the third one the host.
    let expected = (vec![1; 8], State::Open);
    assert_eq!(arrive!(http().partition_by(by()).nested_in(partition::host(), 0.5).reject_retries_only()), expected);
    assert_eq!(arrive!(http().partition_by(by()).reject_retries_only().nested_in(partition::host(), 0.5)), expected);
    assert_eq!(arrive!(http().reject_retries_only().partition_by(by()).nested_in(partition::host(), 0.5)), expected);
    assert_eq!(
        arrive!(http().partition_by(by()).nested_in(partition::host(), 0.5).reject_retries_only().judge_body()),
        expected
    );
}

#[tokio::test(start_paused = true)]
async fn a_window_of_one_call_opens_at_the_first_failure_and_a_kept_permit_wedges_nothing() {
    let breaker =
        CircuitBreaker::builder().window(Window::count(1)).minimum_calls(1).half_open_max_calls(1).success_threshold(1);
    let breaker = breaker.probe_lease(5 * SECOND).open_for(10 * SECOND).build();
    let kept = breaker.try_acquire().unwrap();
    breaker.try_acquire().unwrap().settle(Class::Transient);
    assert_eq!(breaker.state(), State::Open);
    for _ in 0..100 {
        advance(CENTURY / 10_000).await;
        // Never settled: its place is free when the lease is over.
        std::mem::forget(breaker.try_acquire().unwrap());
        assert_eq!(breaker.try_acquire().unwrap_err().retry_after(), Some(5 * SECOND));
    }
    advance(5 * SECOND).await;
    breaker.try_acquire().unwrap().settle(Class::Success);
    kept.settle(Class::Transient);
    assert_eq!((breaker.state(), breaker.snapshot().calls), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_open_for_a_century_is_probed_and_opens_again_as_before() {
    let layer = nested();
    let breakers = layer.handle();
    for _ in 0..2 {
        opened(&layer).await;
        let open = breakers.get(&tenant(5)).unwrap().try_acquire().unwrap_err();
        assert_eq!((open.partition(), open.retry_after()), ("1", Some(10 * SECOND)));
        advance(CENTURY).await;
        breakers.get(&tenant(5)).unwrap().try_acquire().unwrap().settle(Verdict::success());
        assert_eq!(breakers.state(&HOST), State::Closed);
        // Open tenants of a century ago count for nothing.
        for id in 0..3 {
            breakers.reset(&tenant(id));
        }
        advance(CENTURY).await;
    }
}

/// A waker that panics.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("woken");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_panic_of_a_waker_costs_the_host_no_probe_slot() {
    let layer = nested();
    opened(&layer).await;
    advance(10 * SECOND).await;
    let breakers = layer.handle();
    let probing = breakers.get_or_insert(&tenant(50)).unwrap();
    let mut watch = probing.watch();
    let mut changed = Box::pin(watch.changed());
    assert!(changed.as_mut().poll(&mut Context::from_waker(&Arc::new(Panics).into())).is_pending());
    let permit = probing.try_acquire().unwrap();
    let _ = catch_unwind(AssertUnwindSafe(|| permit.settle(Class::Transient)));
    assert_eq!((probing.state(), breakers.state(&HOST)), (State::Open, State::HalfOpen));
    let probes: Vec<_> =
        (51..60).filter_map(|id| breakers.get_or_insert(&tenant(id)).unwrap().try_acquire().ok()).collect();
    assert_eq!(probes.len(), 1, "the one slot of the host is free again");
}

#[test]
fn calls_of_64_threads_survive_concurrent_lists_resets_and_modes() {
    let layer = nested().open_for(Duration::from_millis(1)).max_partitions(40);
    let breakers = Arc::new(layer.handle());
    let (start, stop) = (Arc::new(Barrier::new(65)), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..64_u64)
        .map(|id| {
            let (breakers, start) = (breakers.clone(), start.clone());
            std::thread::spawn(move || {
                start.wait();
                for round in 0..300_u64 {
                    let key = Nested::Inner(id % 2, Some((id * 7 + round) % 60));
                    let breaker = breakers.get_or_insert(&key).unwrap_or_else(|| breakers.overflow_partition(&key));
                    if let Ok(permit) = breaker.try_acquire() {
                        match round % 3 {
                            0 => permit.settle(Class::Transient),
                            1 => permit.settle(Class::Success),
                            _ => drop(permit),
                        }
                    }
                }
            })
        })
        .collect();
    let meddler = std::thread::spawn({
        let (breakers, start, stop) = (breakers.clone(), start.clone(), stop.clone());
        move || {
            start.wait();
            while !stop.load(Ordering::SeqCst) {
                for breaker in breakers.iter() {
                    breaker.force_open();
                    let _ = breaker.snapshot();
                    breaker.observe();
                    breaker.reset();
                }
                assert!(breakers.len() <= 40, "{}", breakers.len());
            }
        }
    });
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    stop.store(true, Ordering::SeqCst);
    meddler.join().unwrap();
    breakers.reset_all();
    for breaker in breakers.iter() {
        assert_eq!((breaker.state(), breaker.snapshot().calls), (State::Closed, 0));
    }
    for breaker in breakers.iter() {
        breaker.try_acquire().unwrap().settle(Class::Success);
    }
}

/// Panics wherever it is asked to.
struct Touchy {
    id: u64,
    by: Trap,
    armed: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trap {
    Hash,
    Eq,
    Clone,
    Debug,
}

impl Touchy {
    fn is_touched(&self, by: Trap) {
        assert!(self.by != by || !self.armed.load(Ordering::SeqCst), "{by:?} on demand");
    }
}

impl Hash for Touchy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.is_touched(Trap::Hash);
        self.id.hash(state);
    }
}

impl PartialEq for Touchy {
    fn eq(&self, other: &Self) -> bool {
        self.is_touched(Trap::Eq);
        self.id == other.id
    }
}

impl Eq for Touchy {}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        self.is_touched(Trap::Clone);
        Self { id: self.id, by: self.by, armed: self.armed.clone() }
    }
}

impl fmt::Debug for Touchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.is_touched(Trap::Debug);
        write!(f, "{}", self.id)
    }
}

#[test]
fn keys_that_panic_cause_no_deadlock() {
    for by in [Trap::Hash, Trap::Eq, Trap::Clone, Trap::Debug] {
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || {
            let breakers = layer()
                .partition_by(partition::by(|request: &Touchy| request.clone()))
                .nested_in(partition::by(|_: &Touchy| 1_u64), 0.5)
                .max_partitions(1_500)
                .handle();
            let armed = Arc::new(AtomicBool::new(false));
            let key = |id| Nested::Inner(1, Some(Touchy { id, by, armed: armed.clone() }));
            let mut panics = 0;
            for id in 0..3_000 {
                // Its panics fall on finding, inserting, growing and sweeping alike.
                armed.store(id % 3 == 0, Ordering::SeqCst);
                for id in [id, id / 2] {
                    let _ = catch_unwind(AssertUnwindSafe(|| breakers.get_or_insert(&key(id))))
                        .inspect_err(|_| panics += 1);
                }
                armed.store(false, Ordering::SeqCst);
                let again = breakers.get_or_insert(&key(id));
                let again = again.unwrap_or_else(|| breakers.overflow_partition(&key(id)));
                again.try_acquire().unwrap().settle(Class::Success);
            }
            done.send((panics > 0, breakers.len() <= 1_500, breakers.iter().count() > 1_000))
        });
        // It ends soon or never.
        assert_eq!(is_done.recv_timeout(LONG), Ok((true, true, true)), "{by:?}");
    }
}

#[test]
fn a_key_may_call_back_into_the_registry_when_it_is_dropped() {
    static BREAKERS: OnceLock<Handle<Nested<Host, u64>>> = OnceLock::new();
    static CALLED_BACK: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static IS_CALLING: Cell<bool> = const { Cell::new(false) });

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Host(u64);

    impl Drop for Host {
        fn drop(&mut self) {
            let Some(breakers) = BREAKERS.get().filter(|_| !IS_CALLING.replace(true)) else { return };
            let another = Nested::Alone(99);
            assert!(breakers.get_or_insert(&another).is_some() && breakers.remove(&another));
            CALLED_BACK.fetch_add(1, Ordering::SeqCst);
            IS_CALLING.set(false);
        }
    }

    let layer = CircuitBreakerLayer::new_for_http()
        .partition_by(partition::by(|_: &http::Request<()>| 1_u64))
        .nested_in(partition::by(|_: &http::Request<()>| Host(1)), 0.5);
    let breakers = BREAKERS.get_or_init(|| layer.handle());
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        // The first makes the host too, and drops no key of it. The others find it, and drop theirs.
        for tenant in [1, 2, 3] {
            let _ = breakers.get_or_insert(&Nested::Inner(Host(1), Some(tenant)));
            done.send(breakers.len()).unwrap();
        }
    });
    for len in [2, 3, 4] {
        // It ends soon or never.
        assert_eq!(is_done.recv_timeout(LONG), Ok(len));
    }
    assert!(CALLED_BACK.load(Ordering::SeqCst) >= 2);
}

#[tokio::test(start_paused = true)]
async fn without_room_for_a_host_and_one_tenant_all_share_the_overflow_breaker() {
    let layer = nested().max_partitions(1);
    let (service, _) = over(&layer);
    for id in 0..3 {
        assert_eq!(call_for(&service, (1, id), Do::Succeed).await, OK);
    }
    let breakers = layer.handle();
    assert_eq!((breakers.len(), breakers.overflowed()), (0, 3));
    assert_eq!(breakers.iter().map(|shared| shared.snapshot().calls).sum::<u64>(), 3);
}
