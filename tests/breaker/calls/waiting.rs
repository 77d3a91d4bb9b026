//! Calls that wait for the inner service to be ready: what wakes them, and what does not.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service};
use tower_rampart::BoxError;
use tower_rampart::breaker::{Mode, State, Window, partition};
use tower_rampart::classify::Class;

use crate::nested::hierarchy::{HOST, nested, opened, tenant};
use crate::support::*;

/// Never ready, and wakes no call.
#[derive(Clone, Debug, Default)]
struct NeverReady {
    polls: Arc<AtomicUsize>,
}

impl<K> Service<(K, Do)> for NeverReady {
    type Response = Answer;
    type Error = BoxError;
    type Future = std::future::Pending<Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        Poll::Pending
    }

    fn call(&mut self, _: (K, Do)) -> Self::Future {
        unreachable!("is never ready")
    }
}

/// Counts how often a task is woken.
#[derive(Debug, Default)]
pub(crate) struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future, and how often its task was woken.
pub(crate) struct Task<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

impl<F: Future> Task<F> {
    /// Polls for the first time.
    pub(crate) fn waiting(future: F) -> Self {
        let mut task = Self { future: Box::pin(future), woken: Arc::default() };
        assert!(task.poll().is_pending());
        task
    }

    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(self.woken.clone())))
    }

    pub(crate) fn woken(&self) -> usize {
        self.woken.0.load(Ordering::SeqCst)
    }

    /// The wakers of this task that are held somewhere.
    pub(crate) fn wakers(&self) -> usize {
        Arc::strong_count(&self.woken) - 1
    }
}

const FORCED: Outcome = Outcome::Rejected { state: State::Open, retry_after: None };

fn quick() -> Breakers {
    layer().window(Window::count(1)).open_for(10 * SECOND).half_open_max_calls(1).success_threshold(1)
}

#[tokio::test(start_paused = true)]
async fn rule_6_forcing_open_ends_the_calls_that_wait_for_readiness() {
    let layer = quick();
    let service = layer.layer(NeverReady::default());
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { call(&service, Do::Succeed).await })
        })
        .collect();
    tokio::task::yield_now().await;
    layer.breaker().force_open();
    for call in waiting {
        assert_eq!(tokio::time::timeout(SECOND, call).await.unwrap().unwrap(), FORCED);
    }
    assert_eq!(layer.breaker().snapshot().totals.rejected, 100);
}

#[tokio::test(start_paused = true)]
async fn rule_6_an_opening_wakes_the_calls_that_wait_and_only_once() {
    let layer = quick();
    let service = layer.layer(NeverReady::default());
    let mut task = Task::waiting(call(&service, Do::Succeed));
    layer.breaker().try_acquire().unwrap().settle(Class::Transient);
    assert_eq!(task.woken(), 1);
    assert_eq!(task.poll(), Poll::Ready(rejected(State::Open, 10 * SECOND)));
    layer.breaker().force_open();
    assert_eq!((task.woken(), task.wakers()), (1, 0), "it waits no longer");
}

#[tokio::test(start_paused = true)]
async fn rule_6_what_rejects_no_call_wakes_none() {
    let layer = quick();
    let inner = NeverReady::default();
    let service = layer.layer(inner.clone());
    let mut task = Task::waiting(call(&service, Do::Succeed));
    let polls = inner.polls.load(Ordering::SeqCst);
    let breaker = layer.breaker();
    breaker.reset();
    breaker.observe();
    breaker.try_acquire().unwrap().settle(Class::Transient);
    assert_eq!(breaker.state(), State::Open, "but it rejects no call");
    breaker.disable();
    breaker.automatic();
    assert_eq!((task.woken(), inner.polls.load(Ordering::SeqCst)), (0, polls));
    breaker.observe();
    breaker.try_acquire().unwrap().settle(Class::Transient);
    breaker.automatic();
    assert_eq!((breaker.state(), task.woken()), (State::Open, 1), "now it does");
    assert_eq!(task.poll(), Poll::Ready(rejected(State::Open, 10 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_change_of_one_breaker_wakes_no_call_of_another() {
    let layer = quick().partition_by(partition::by(|request: &(u64, Do)| request.0));
    let service = layer.layer(NeverReady::default());
    let mut tasks: Vec<_> = (0..100).map(|id| Task::waiting(call_for(&service, id, Do::Succeed))).collect();
    layer.handle().force_open(&7);
    for (id, task) in tasks.iter_mut().enumerate() {
        assert_eq!(task.woken(), usize::from(id == 7), "{id}");
        assert_eq!(task.poll(), if id == 7 { Poll::Ready(FORCED) } else { Poll::Pending });
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_the_outer_breaker_wakes_the_calls_of_its_inner_ones() {
    let layer = nested();
    let service = layer.layer(NeverReady::default());
    let mut own = Task::waiting(call_for(&service, (1, 3), Do::Succeed));
    let mut outer = Task::waiting(call_for(&service, (1, 4), Do::Succeed));
    let mut other = Task::waiting(call_for(&service, (2, 3), Do::Succeed));
    let breakers = layer.handle();
    breakers.force_open(&tenant(3));
    assert_eq!((own.woken(), outer.woken(), other.woken()), (1, 0, 0));
    assert_eq!(own.poll(), Poll::Ready(FORCED));
    breakers.force_open(&HOST);
    assert_eq!((own.woken(), outer.woken(), other.woken()), (1, 1, 0));
    assert_eq!((outer.poll(), other.poll()), (Poll::Ready(FORCED), Poll::Pending));
    assert_eq!(breakers.get(&HOST).unwrap().snapshot().totals.rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_call_that_waits_no_longer_holds_no_waker() {
    let layer = quick();
    let limit = ConcurrencyLimitLayer::new(1);
    let inner = limit.layer(Upstream::default());
    let service = layer.layer(inner.clone());
    let mut other = inner.clone();
    std::future::poll_fn(|cx| Service::<((), Do)>::poll_ready(&mut other, cx)).await.unwrap();

    let mut called = Task::waiting(call(&service, Do::Hang));
    for _ in 0..1_000 {
        assert!(called.poll().is_pending());
    }
    assert_eq!(called.wakers(), 2, "in the queue for the permit and for the news of the breaker");
    let dropped = Task::waiting(call(&service, Do::Succeed));
    let woken = dropped.woken.clone();
    drop(dropped);
    assert_eq!(Arc::strong_count(&woken), 1);
    drop(other);
    assert!(called.poll().is_pending());
    let woken = called.woken();
    layer.breaker().force_open();
    assert_eq!((called.woken(), called.wakers()), (woken, 0), "in flight: forcing open does not concern it");
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_call_that_waits_half_open_is_woken_by_an_opening_and_not_by_the_closing() {
    let layer = quick().half_open_max_calls(2);
    let breaker = layer.breaker();
    let service = layer.layer(NeverReady::default());
    for opens in [false, true] {
        breaker.reset();
        breaker.try_acquire().unwrap().settle(Class::Transient);
        advance(10 * SECOND).await;
        let mut waiting = Task::waiting(call(&service, Do::Succeed));
        assert_eq!(breaker.state(), State::HalfOpen);
        breaker.try_acquire().unwrap().settle(if opens { Class::Transient } else { Class::Success });
        assert_eq!(waiting.woken(), usize::from(opens));
        let expected = if opens { Poll::Ready(rejected(State::Open, 10 * SECOND)) } else { Poll::Pending };
        assert_eq!(waiting.poll(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_what_rejects_no_call_wakes_none_for_an_outer_breaker_either() {
    let layer = nested().half_open_max_calls(2);
    opened(&layer).await;
    let inner = NeverReady::default();
    let service = layer.layer(inner.clone());
    let breakers = layer.handle();
    // It waits while the host is open, because its mode rejects nothing.
    assert!(breakers.observe(&tenant(50)));
    let mut observes = Task::waiting(call_for(&service, (1, 50), Do::Succeed));
    advance(10 * SECOND).await;
    let mut probes = Task::waiting(call_for(&service, (1, 51), Do::Succeed));
    let polls = inner.polls.load(Ordering::SeqCst);
    let host = breakers.get(&HOST).unwrap();
    assert_eq!((host.snapshot().state, observes.woken(), probes.woken()), (State::HalfOpen, 0, 0));
    breakers.get_or_insert(&tenant(52)).unwrap().try_acquire().unwrap().settle(Class::Success);
    assert_eq!((host.state(), observes.woken(), probes.woken()), (State::Closed, 0, 0));
    breakers.reset(&HOST);
    breakers.observe(&HOST);
    breakers.disable(&HOST);
    breakers.automatic(&HOST);
    assert_eq!((observes.woken(), probes.woken(), inner.polls.load(Ordering::SeqCst)), (0, 0, polls));
    breakers.force_open(&HOST);
    assert_eq!((observes.woken(), probes.woken()), (1, 1), "now it rejects calls");
    assert_eq!((observes.poll(), probes.poll()), (Poll::Pending, Poll::Ready(FORCED)));
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_probe_that_waits_keeps_its_lease_while_the_outer_breaker_is_disabled() {
    for mode in [Mode::Automatic, Mode::Disabled, Mode::ObserveOnly] {
        let layer = nested();
        let service = layer.layer(NeverReady::default());
        let breakers = layer.handle();
        let breaker = breakers.get_or_insert(&tenant(1)).unwrap();
        breakers.set_mode(&HOST, mode);
        breaker.try_acquire().unwrap().settle(Class::Transient);
        advance(10 * SECOND).await;
        let mut waits = Task::waiting(call_for(&service, (1, 1), Do::Succeed));
        for second in 0..5 {
            let rejection = breaker.try_acquire().unwrap_err();
            assert_eq!(rejection.retry_after(), Some((5 - second) * SECOND), "{mode}");
            advance(SECOND).await;
            assert!(waits.poll().is_pending());
        }
        breaker.try_acquire().unwrap().settle(Class::Success);
        assert_eq!(breaker.state(), State::Closed, "{mode}");
    }
}
