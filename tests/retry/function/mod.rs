//! Retries of a function, with and without a runtime.

mod alike;
mod retry_if;

use std::cell::Cell;
use std::future::{Future, Ready, pending, ready};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_rampart::breaker::CircuitBreaker;
use tower_rampart::classify::{ClassifiedError, ErrorClassifier, Verdict, classifier_fn};
use tower_rampart::retry::{
    self, Backoff, Budget, GiveUp, Jitter, Outcome, RetryError, RetryExt, RetryPolicy, TimedOut,
};
use tower_rampart::{BoxError, CircuitBreakerLayer, RetryLayer};

use crate::support::*;

fn down() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

/// Without waits and without a budget.
fn policy() -> RetryPolicy {
    RetryPolicy::new().backoff(Backoff::none()).no_budget()
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_called_until_it_succeeds_and_borrows_what_it_uses() {
    let calls = Rc::new(Cell::new(0));
    let name = String::from("rows");
    let operation = || {
        calls.set(calls.get() + 1);
        let (calls, name) = (&calls, &name);
        async move { if calls.get() < 3 { Err(down()) } else { Ok(&**name) } }
    };
    assert_eq!(retry::call(&policy(), operation).await.unwrap(), "rows");
    assert_eq!(calls.get(), 3);
    calls.set(0);
    let again = || ready(if calls.replace(calls.get() + 1) == 0 { Err(down()) } else { Ok(7) });
    assert_eq!((again.retry(&policy()).await.unwrap(), calls.get()), (7, 2));
}

#[test]
fn a_blocking_operation_needs_no_runtime() {
    let mut calls = 0;
    let policy = policy().deadline(60 * SECOND).attempt_timeout(SECOND);
    let output = retry::call_blocking(&policy, || {
        calls += 1;
        if calls < 3 { Err(down()) } else { Ok(calls) }
    });
    assert_eq!(output.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_error_is_a_retry_error_around_the_original() {
    let error = retry::call(&policy(), || async { Err::<(), _>(down()) }).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts(), error.report().history().len()), (GiveUp::Exhausted, 3, 3));
    assert_eq!(error.into_source().downcast::<io::Error>().unwrap().kind(), io::ErrorKind::ConnectionReset);
    // What is no `std::error::Error` is one that holds its text.
    let error = retry::call_blocking(&policy(), || Err::<(), _>("busy")).unwrap_err();
    assert_eq!((error.attempts(), error.into_source().to_string().as_str()), (3, "busy"));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_the_classifier_rejects_is_retried_and_at_last_returned() {
    let policy = policy().classifier(classifier_fn(|outcome: Result<&u32, _>| match outcome {
        Ok(0) => Verdict::transient(),
        Ok(_) => Verdict::success(),
        Err(error) => Verdict::of_error(error),
    }));
    let mut calls = 0;
    let output = retry::call(&policy, || {
        calls += 1;
        ready(Ok::<_, io::Error>(0))
    });
    assert_eq!((output.await.unwrap(), calls), (0, 3));
    let mut calls = 0;
    let output = retry::call_blocking(&policy, || {
        calls += 1;
        Ok::<_, io::Error>(calls - 1)
    });
    assert_eq!((output.unwrap(), calls), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn the_attempt_timeout_cuts_an_async_attempt_and_the_deadline_the_call() {
    let start = tokio::time::Instant::now();
    let policy = policy().attempt_timeout(SECOND).max_attempts(2);
    let error = retry::call(&policy, pending::<io::Result<()>>).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (GiveUp::Exhausted, 2));
    assert_eq!(TimedOut::find(&error).unwrap().attempt_timeout(), Some(SECOND));
    assert!(start.elapsed() >= 2 * SECOND);

    let start = tokio::time::Instant::now();
    let error = retry::call(&policy.deadline(500 * MS), pending::<io::Result<()>>).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (GiveUp::Deadline, 1));
    assert_eq!(start.elapsed(), 500 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_running_blocking_attempt_is_not_cut_and_the_next_one_not_begun_after_the_deadline() {
    let policy = policy().attempt_timeout(1_000 * MS).deadline(5 * SECOND);
    // Time passes while the operation runs: a runtime on another thread advances it.
    let late = |result: fn() -> io::Result<u32>| {
        let mut calls = 0;
        let output = retry::call_blocking(&policy, || {
            calls += 1;
            now(tokio::time::advance(6 * SECOND));
            result()
        });
        (output, calls)
    };
    let (output, calls) = late(|| Ok(7));
    assert_eq!((output.unwrap(), calls), (7, 1));
    let (output, calls) = late(|| Err(down()));
    let error = output.unwrap_err();
    assert_eq!((error.kind(), error.attempts(), calls), (GiveUp::Deadline, 1, 1));
    assert!(error.into_source().is::<io::Error>());
}

#[tokio::test(start_paused = true)]
async fn after_the_deadline_nothing_is_called() {
    let short = policy().deadline(Duration::from_nanos(1));
    let future = retry::call(&short, || -> std::future::Ready<io::Result<()>> { unreachable!("it is late") });
    tokio::time::advance(MS).await;
    let error = future.await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (GiveUp::Deadline, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_outlasts_the_deadline_ends_a_blocking_call() {
    // A thread can sleep for longer than it was asked to.
    let policy = policy().deadline(SECOND).on_retry(|_| now(tokio::time::advance(2 * SECOND)));
    let mut calls = 0;
    let error = retry::call_blocking(&policy, || {
        calls += 1;
        Err::<(), _>(down())
    });
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.attempts(), calls), (GiveUp::Deadline, 1, 1));
    assert!(error.into_source().is::<io::Error>());
}

/// An upstream that hangs is overloaded, whether its attempts are cut or not.
#[tokio::test(start_paused = true)]
async fn the_wait_after_a_blocking_attempt_that_outlasts_the_attempt_timeout_is_spread() {
    let waits = |takes: Duration| {
        let mut waits = Vec::new();
        let longest = std::cell::RefCell::new(&mut waits);
        let policy = policy()
            .max_attempts(9)
            .backoff(Backoff::exponential(Duration::from_nanos(1), MS))
            .attempt_timeout(MS)
            .on_retry(|event| longest.borrow_mut().push(event.wait()));
        let error = retry::call_blocking(&policy, || {
            now(tokio::time::advance(takes));
            Err::<(), _>(down())
        });
        assert!(error.unwrap_err().into_source().is::<io::Error>());
        waits
    };
    assert!(waits(MS / 2).iter().all(|wait| *wait < MS / 1_000));
    let spread = waits(2 * MS);
    assert!(spread.iter().all(|wait| *wait <= MS) && spread.iter().any(|wait| *wait > MS / 4), "{spread:?}");
}

#[test]
fn a_wait_past_the_deadline_is_not_begun() {
    let policy = RetryPolicy::new().backoff(Backoff::fixed(Duration::MAX)).deadline(3_600 * SECOND);
    let error = retry::call_blocking(&policy, || Err::<(), _>(down())).unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (GiveUp::Deadline, 1));
}

#[tokio::test(start_paused = true)]
async fn the_longest_limits_and_waits_do_not_overflow() {
    let policy = policy().attempt_timeout(Duration::MAX).deadline(Duration::MAX);
    assert_eq!(retry::call(&policy, || ready(Ok::<_, io::Error>(7))).await.unwrap(), 7);
    assert_eq!(retry::call_blocking(&policy, || Ok::<_, io::Error>(7)).unwrap(), 7);
    let endless = policy.backoff(Backoff::fixed(Duration::MAX));
    let error = retry::call(&endless, || ready(Err::<(), _>(down()))).await.unwrap_err();
    assert_eq!(error.kind(), GiveUp::Deadline);
}

/// The attempt timeout ends 30 years after the attempt began, and is added to a shorter time that is left.
#[tokio::test(start_paused = true)]
async fn the_wait_after_an_attempt_without_end_does_not_overflow() {
    const YEAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    let policy = policy().attempt_timeout(Duration::MAX).deadline(60 * YEAR);
    let hangs = || async {
        tokio::time::advance(31 * YEAR).await;
        Err::<(), _>(down())
    };
    let error = retry::call(&policy, hangs).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (GiveUp::Deadline, 2));
}

#[tokio::test(start_paused = true)]
async fn the_ten_thousandth_attempt_is_like_any_other() {
    let policy = policy()
        .max_attempts(20_000)
        .backoff(Backoff::exponential(Duration::from_nanos(1), 2 * Duration::from_nanos(1)));
    let mut calls = 0;
    let output = retry::call(&policy, || {
        calls += 1;
        ready(if calls < 10_000 { Err(down()) } else { Ok(()) })
    });
    output.await.unwrap();
    assert_eq!(calls, 10_000);
    let mut calls = 0;
    let policy = policy.backoff(Backoff::none()).max_attempts(10_000);
    let error = retry::call_blocking(&policy, || {
        calls += 1;
        Err::<(), _>(down())
    });
    let error = error.unwrap_err();
    assert_eq!((calls, error.attempts(), error.report().history().len()), (10_000, 10_000, 64));
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_admits_the_first_attempt_of_every_call() {
    let policy = policy().budget(Budget::ratio(0.0).reserve(0));
    for _ in 0..3 {
        let error = retry::call(&policy, || ready(Err::<(), _>(down()))).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (GiveUp::Budget, 1));
        let error = retry::call_blocking(&policy, || Err::<(), _>(down())).unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (GiveUp::Budget, 1));
    }
}

/// A budget for one retry at a time, and whether one is available.
fn one_at_a_time() -> (RetryPolicy, impl Fn() -> bool) {
    let policy = policy().max_attempts(2).budget(Budget::concurrent(0.0, 1));
    let probe = policy.clone();
    (policy, move || retry::call_blocking(&probe, || Err::<(), _>(down())).unwrap_err().kind() == GiveUp::Exhausted)
}

#[tokio::test(start_paused = true)]
async fn a_panic_anywhere_gives_the_budget_back() {
    let (policy, is_free) = one_at_a_time();
    let in_operation = |panic_at: u32| {
        let mut calls = 0;
        move || {
            calls += 1;
            assert!(calls < panic_at, "the operation panics");
            Err::<(), _>(down())
        }
    };
    for panic_at in [1, 2] {
        let blocking = || retry::call_blocking(&policy, in_operation(panic_at));
        assert!(catch_unwind(AssertUnwindSafe(blocking)).is_err() && is_free(), "{panic_at}");
        let mut operation = in_operation(panic_at);
        let future = Box::pin(retry::call(&policy, || ready(operation())));
        assert!(panics(future).await && is_free(), "{panic_at}");
    }
    let in_classifier = policy.clone().classifier(classifier_fn(|_: Result<&(), _>| panic!("the classifier panics")));
    let blocking = || retry::call_blocking(&in_classifier, || Err(down()));
    assert!(catch_unwind(AssertUnwindSafe(blocking)).is_err() && is_free());
    assert!(panics(Box::pin(retry::call(&in_classifier, || ready(Err(down()))))).await && is_free());
    // The token is withdrawn by then.
    let in_callback = policy.clone().on_retry(|_| panic!("the callback panics"));
    let blocking = || retry::call_blocking(&in_callback, || Err::<(), _>(down()));
    assert!(catch_unwind(AssertUnwindSafe(blocking)).is_err() && is_free());
    assert!(panics(Box::pin(retry::call(&in_callback, || ready(Err::<(), _>(down()))))).await && is_free());
}

/// Polls to the end in this task, and drops the future. Returns true if it panicked.
async fn panics<F: Future + Unpin>(mut future: F) -> bool {
    loop {
        match catch_unwind(AssertUnwindSafe(|| poll_once(pin!(&mut future)))) {
            Ok(std::task::Poll::Ready(_)) => return false,
            Ok(std::task::Poll::Pending) => settle().await,
            Err(_) => return true,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_in_any_state_it_gives_everything_back() {
    let mut finished = 0;
    for polls in 0..40 {
        let (policy, is_free) = one_at_a_time();
        let policy = policy.max_attempts(3).attempt_timeout(SECOND).backoff(Backoff::fixed(70 * MS));
        let places = Arc::new(Semaphore::new(1));
        let breaker =
            CircuitBreakerLayer::new(ErrorClassifier).consecutive_failures(1).open_for(SECOND).half_open_max_calls(1);
        let mut failing = breaker.layer(service_fn(|()| ready(Err::<(), _>(down()))));
        failing.ready().await.unwrap().call(()).await.unwrap_err();
        tokio::time::advance(2 * SECOND).await;

        let mut calls = 0;
        let call = retry::call(&policy, || {
            calls += 1;
            let (places, breaker, attempt) = (Arc::clone(&places), breaker.clone(), calls);
            async move {
                let _place = places.acquire().await.unwrap();
                // The first attempt is the probe, and slow.
                let probe = service_fn(|()| async {
                    tokio::time::sleep(120 * MS).await;
                    Err::<(), _>(ClassifiedError::new(
                        Verdict::transient().with_health(tower_rampart::classify::Health::Neutral),
                    ))
                });
                match attempt {
                    1 => breaker.layer(probe).oneshot(()).await,
                    2 => Err(down().into()),
                    _ => Ok(()),
                }
            }
        });
        let output = cancel_after(call, polls).await;
        finished += u32::from(output.is_some());
        if let Some(output) = output {
            output.unwrap();
        }
        assert!(is_free(), "after {polls} polls");
        assert_eq!(places.available_permits(), 1, "after {polls} polls");
        let healthy = breaker.layer(service_fn(|()| ready(Ok::<_, BoxError>(()))));
        healthy.oneshot(()).await.unwrap_or_else(|error| panic!("after {polls} polls the probe is free: {error}"));
    }
    assert!((1..40).contains(&finished), "{finished}");
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_blocking_call_is_not_the_attempt_of_the_layer_around_it() {
    // The blocking call sends something. Then the client waits for readiness, and the attempt is cut: all in all it may
    // have been processed.
    let inner_policy = policy();
    let service = service_fn(move |request| {
        retry::call_blocking(&inner_policy, || Ok::<_, io::Error>(())).unwrap();
        CircuitBreakerLayer::new_for_http().layer(NeverReady).call(request)
    });
    let error = layer().attempt_timeout(SECOND).layer(service).oneshot(post("pay")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), gave_up(&error).attempts()), (GiveUp::NotIdempotent, 1));
}

#[derive(Clone)]
struct NeverReady;

impl<B> Service<http::Request<retry::ReplayBody<B>>> for NeverReady {
    type Response = http::Response<()>;
    type Error = BoxError;
    type Future = Ready<Result<http::Response<()>, BoxError>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Pending
    }

    fn call(&mut self, _: http::Request<retry::ReplayBody<B>>) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_breaker_inside_ends_the_retrying_when_it_opens() {
    let policy = policy().max_attempts(9);
    let breaker = || CircuitBreaker::builder().consecutive_failures(2).build();
    let opening = breaker();
    let result = retry::call(&policy, || opening.call_async(|| ready(Err::<(), _>(down())))).await;
    assert_eq!(Outcome::of_call(&result), Outcome::CircuitOpen);
    assert_eq!(result.unwrap_err().attempts(), 3);
    let opening = breaker();
    let result = retry::call_blocking(&policy, || opening.call(|| Err::<(), _>(down())));
    assert_eq!(Outcome::of_call(&result), Outcome::CircuitOpen);
    assert_eq!(result.unwrap_err().attempts(), 3);
}

#[tokio::test]
async fn a_call_goes_into_a_task() {
    let policy = policy().retry_if(|error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset).on_retry(|_| {});
    let task = tokio::spawn(async move {
        let mut calls = 0;
        let call = retry::call(&policy, || {
            calls += 1;
            let fails = calls < 3;
            async move { if fails { Err(down()) } else { Ok("rows") } }
        });
        call.await
    });
    assert_eq!(task.await.unwrap().unwrap(), "rows");
}

#[test]
fn the_future_has_the_traits_of_what_it_holds() {
    fn send_and_sync<T: Send + Sync>(_: &T) {}
    let policy = policy();
    send_and_sync(&retry::call(&policy, || ready(Ok::<_, RetryError>(()))));
    let text = format!("{:?}", retry::call(&policy, || ready(Ok::<_, RetryError>(()))));
    assert_eq!(text, "CallFuture { attempt: Attempt(1), .. }");
}

#[test]
#[should_panic(expected = "no reactor running")]
fn without_a_timer_a_call_panics_before_it_calls() {
    let policy = policy();
    let call = pin!(retry::call(&policy, || ready(Err::<(), _>("called"))));
    let _ = poll_once(call);
}

fn now<F: Future>(future: F) {
    // The clock has moved once the future was polled.
    let _ = poll_once(pin!(future));
}

#[test]
fn a_custom_backoff_may_use_the_seeded_policy_that_it_belongs_to() {
    let shared: Arc<std::sync::OnceLock<RetryPolicy>> = Arc::default();
    let inner = Arc::clone(&shared);
    let backoff = Backoff::custom(move |retry, _, _| {
        if retry == 0 {
            let _ = inner.get().map(|policy| retry::call_blocking(policy, || Err::<(), _>(down())));
        }
        Duration::ZERO
    });
    // Jitter draws for the call itself, too.
    let policy = RetryPolicy::new().max_attempts(2).no_budget().seed(7).backoff(backoff.jitter(Jitter::Full));
    let inside = RetryPolicy::clone(&policy).backoff(Backoff::none());
    shared.set(inside).unwrap();
    let error = retry::call_blocking(&policy, || Err::<(), _>(down())).unwrap_err();
    assert_eq!(error.attempts(), 2);
}

/// A call beside the request proves nothing about it.
#[tokio::test(start_paused = true)]
async fn rule_1_a_post_is_not_sent_again_for_a_function_that_its_service_had_not_polled() {
    let sent = Cell::new(0);
    let policy = policy();
    let client = layer().attempt_timeout(SECOND).layer(service_fn(|_: http::Request<retry::ReplayBody<_>>| {
        let beside = retry::call(&policy, || ready(Ok::<_, io::Error>(())));
        async {
            sent.set(sent.get() + 1);
            pending::<()>().await;
            beside.await.map(|()| http::Response::new(()))
        }
    }));
    let error = client.oneshot(post("pay")).await.unwrap_err();
    assert_eq!((gave_up(&error).kind(), sent.get()), (GiveUp::NotIdempotent, 1));
}

#[tokio::test(start_paused = true)]
async fn a_layer_and_a_function_share_budget_and_callbacks_of_their_policy_but_not_its_classifier() {
    let events = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&events);
    let policy = RetryPolicy::new()
        .backoff(Backoff::none())
        .budget(Budget::ratio(0.0).reserve(3))
        .retry_if(|_: &io::Error| false)
        .on_retry(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
    let never = || async { Err::<(), _>(down()) };
    assert_eq!(retry::call(&policy, never).await.unwrap_err().kind(), GiveUp::NotRetryable);

    let layer = RetryLayer::new_for_http().max_attempts(9).on_retry(|_| panic!("replaced")).policy(&policy);
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    layer.layer(upstream).oneshot(get()).await.unwrap();
    assert_eq!((log.calls(), events.load(Ordering::Relaxed)), (3, 2), "three attempts by default");

    let transient = policy.classifier(ErrorClassifier);
    let error = retry::call(&transient, never).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (GiveUp::Budget, 2), "one token was left");
}
