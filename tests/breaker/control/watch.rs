use std::future::Future;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

use futures_util::FutureExt;
use tower_rampart::breaker::{Cause, CircuitBreaker, Mode, State, Window, partition};
use tower_rampart::classify::Verdict;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_watch_returns_every_change_and_nothing_else() {
    let layer = layer().window(Window::count(1)).open_for(SECOND).half_open_max_calls(1).success_threshold(1);
    let (service, _) = over(&layer);
    let mut watch = layer.breaker().watch();
    calls(&service, 10, Do::Succeed).await;
    assert!(watch.changed().now_or_never().is_none(), "nothing has changed");

    call(&service, Do::Fail).await;
    assert_eq!(watch.changed().now_or_never().unwrap().state, State::Open);
    assert!(watch.changed().now_or_never().is_none(), "returned once");

    advance(SECOND).await;
    call(&service, Do::Succeed).await;
    assert_eq!(watch.changed().now_or_never().unwrap().state, State::Closed, "two changes, returned as one");

    layer.breaker().reset();
    assert_eq!(watch.changed().now_or_never().unwrap().state, State::Closed, "a reset is a change");
}

#[tokio::test(start_paused = true)]
async fn a_watch_wakes_its_waiters_and_can_be_cancelled() {
    let breaker = CircuitBreaker::builder().build();
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let mut watch = breaker.watch();
            tokio::spawn(async move { watch.changed().await.mode })
        })
        .collect();
    let mut cancelled = breaker.watch();
    assert!(cancelled.changed().now_or_never().is_none());
    tokio::task::yield_now().await;
    breaker.disable();
    for task in waiting {
        assert_eq!(task.await.unwrap(), Mode::Disabled);
    }
    assert_eq!(cancelled.changed().now_or_never().unwrap().mode, Mode::Disabled, "misses nothing");
}

#[tokio::test(start_paused = true)]
async fn events_name_the_breaker_and_the_cause() {
    let layer = layer()
        .window(Window::count(2))
        .open_for(SECOND)
        .half_open_max_calls(1)
        .success_threshold(1)
        .partition_by(partition::by(|request: &(u64, Do)| request.0));
    let (service, _) = over(&layer);
    let mut events = layer.handle().subscribe(16);
    for (id, what) in [(1, Do::Fail), (2, Do::Succeed), (1, Do::Fail)] {
        call_for(&service, id, what).await;
    }
    advance(SECOND).await;
    call_for(&service, 1, Do::Succeed).await;
    layer.handle().force_open(&2);
    let (mut seen, mut generations) = (Vec::new(), Vec::new());
    while let Some(event) = events.try_recv() {
        generations.push(event.generation);
        seen.push((event.breaker.partition().to_owned(), event.from, event.to, event.mode, event.cause));
    }
    assert_eq!(generations, [1, 2, 3, 1], "they tell the order of one breaker's changes");
    let (one, two) = ("1".to_owned(), "2".to_owned());
    assert_eq!(
        seen,
        [
            (one.clone(), State::Closed, State::Open, Mode::Automatic, Cause::FailureRate),
            (one.clone(), State::Open, State::HalfOpen, Mode::Automatic, Cause::OpenTimeOver),
            (one, State::HalfOpen, State::Closed, Mode::Automatic, Cause::ProbesSucceeded),
            (two, State::Closed, State::Open, Mode::ForcedOpen, Cause::ByHand),
        ]
    );
    assert_eq!(events.missed(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_misses_the_oldest_events_and_delays_no_call() {
    let layer = layer().partition_by(partition::by(|request: &(u64, Do)| request.0));
    let breakers = layer.handle();
    let mut events = breakers.subscribe(3);
    for id in 0..10 {
        assert!(breakers.force_open(&id));
    }
    assert_eq!(events.missed(), 7);
    let left: Vec<_> =
        std::iter::from_fn(|| events.try_recv()).map(|event| event.breaker.partition().to_owned()).collect();
    assert_eq!(left, ["7", "8", "9"]);

    let waiting = tokio::spawn(async move { events.recv().await.to });
    tokio::task::yield_now().await;
    breakers.reset(&0);
    assert_eq!(waiting.await.unwrap(), State::Closed);
}

/// A waker that changes a breaker when it is dropped.
struct Resets(CircuitBreaker);

impl Wake for Resets {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Resets {
    fn drop(&mut self) {
        self.0.reset();
    }
}

#[test]
fn wakers_that_come_back_when_they_are_dropped_do_not_block() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let layer = layer().partition_by(partition::by(|request: &(u64, Do)| request.0));
        let breakers = layer.handle();
        let [one, other] = [1, 2].map(|id| {
            breakers.force_open(&id);
            breakers.get(&id).unwrap()
        });
        let waker = || Waker::from(Arc::new(Resets(other.clone())));

        let mut watch = one.watch();
        let mut changed = Box::pin(watch.changed());
        for _ in 0..2 {
            assert!(changed.as_mut().poll(&mut Context::from_waker(&waker())).is_pending());
        }
        drop(changed);
        let mut events = breakers.subscribe(1);
        let mut next = Box::pin(events.recv());
        for _ in 0..2 {
            let _ = next.as_mut().poll(&mut Context::from_waker(&waker()));
        }
        drop(next);
        done.send(()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(60 * SECOND), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_permit_settles_once_however_it_ends() {
    let breaker = CircuitBreaker::builder().window(Window::count(10)).minimum_calls(10).build();
    let take = || breaker.try_acquire().unwrap();
    take().settle(Verdict::success());
    take().settle(Verdict::transient());
    drop(take());
    let thread = std::thread::spawn({
        let breaker = breaker.clone();
        move || {
            let _permit = breaker.try_acquire();
            panic!("in the call");
        }
    });
    assert!(thread.join().is_err());
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.calls, snapshot.failures), (3, 2), "a panic is a failure, a drop is nothing");
}

#[tokio::test(start_paused = true)]
async fn a_permit_taken_during_a_panic_is_not_blamed_for_it() {
    struct CallsInDrop(CircuitBreaker);
    impl Drop for CallsInDrop {
        fn drop(&mut self) {
            drop(self.0.try_acquire());
        }
    }
    let breaker = CircuitBreaker::builder().build();
    let thread = std::thread::spawn({
        let breaker = breaker.clone();
        move || {
            let _calls = CallsInDrop(breaker);
            panic!("somebody else's");
        }
    });
    assert!(thread.join().is_err());
    assert_eq!(breaker.snapshot().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn reject_retries_only_rejects_no_first_attempt() {
    use tower::{Layer, ServiceExt, service_fn};
    use tower_rampart::classify::HttpClassifier;
    use tower_rampart::{CircuitBreakerLayer, RetryLayer};

    let breaker = steady(CircuitBreakerLayer::<HttpClassifier>::new_for_http());
    let breaker = breaker.window(Window::count(2)).reject_retries_only();
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = calls.clone();
    let inner = breaker.layer(service_fn(move |_: http::Request<_>| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        std::future::ready(Ok::<_, std::convert::Infallible>(
            http::Response::builder().status(503).body(String::new()).unwrap(),
        ))
    }));
    let client = RetryLayer::new_for_http().max_attempts(3).layer(inner);
    for _ in 0..10 {
        let request = http::Request::get("/").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let _ = client.clone().oneshot(request).await;
    }
    // The first call and its first retry open it; after that every first attempt goes through, and no retry.
    assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 2 + 9);
    assert_eq!(breaker.handle().default_partition().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn it_stays_open_for_as_long_as_the_server_asks_up_to_a_cap() {
    for (asked, expected) in [(Some(7), 7), (Some(3_600), 60), (None, 30), (Some(0), 30)] {
        let breaker = steady(CircuitBreaker::builder()).window(Window::count(1)).honor_retry_after(60 * SECOND).build();
        let mut verdict = Verdict::transient();
        if let Some(asked) = asked {
            verdict = verdict.with_retry_after(asked * SECOND);
        }
        breaker.try_acquire().unwrap().settle(verdict);
        assert_eq!(breaker.try_acquire().unwrap_err().retry_after(), Some(expected * SECOND), "{asked:?}");
    }
}
