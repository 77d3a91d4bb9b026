//! Calls without tower: closures, futures and blocks of code behind a breaker, and what it has counted since it was
//! made.

use std::cell::Cell;
use std::future::{Ready, pending, ready};
use std::io::{Error, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;

use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::breaker::{CallFuture, CircuitBreaker, CircuitOpen, Mode, State, Totals, Window, partition};
use tower_rampart::classify::{Class, Verdict, classifier_fn};
use tower_rampart::{BoxError, RetryLayer};

use crate::nested::hierarchy;
use crate::support::*;

/// A future that is ready.
type Answer = Ready<Result<u32, Error>>;

/// Opens after two failures in a row for ten seconds, and never by its rates.
fn breaker() -> CircuitBreaker {
    CircuitBreaker::builder().name("test").consecutive_failures(2).open_for(10 * SECOND).build()
}

fn good() -> Result<u32, Error> {
    Ok(7)
}

fn bad() -> Result<u32, Error> {
    Err(ErrorKind::ConnectionReset.into())
}

/// Calls, successes and failures in all.
fn ended(breaker: &CircuitBreaker) -> (u64, u64, u64) {
    let Totals { calls, succeeded, failed, .. } = breaker.snapshot().totals;
    (calls, succeeded, failed)
}

fn opened() -> CircuitBreaker {
    let breaker = breaker();
    for _ in 0..2 {
        assert!(breaker.call(bad).is_err());
    }
    assert_eq!(breaker.state(), State::Open);
    breaker
}

/// A breaker that is due to be probed.
async fn due() -> CircuitBreaker {
    let breaker = opened();
    advance(10 * SECOND).await;
    breaker
}

#[tokio::test(start_paused = true)]
async fn a_closed_breaker_counts_both_forms_alike() {
    let breaker = breaker();
    assert_eq!(breaker.call(good).unwrap(), 7);
    assert_eq!(breaker.call_async(|| ready(good())).await.unwrap(), 7);
    for error in [breaker.call(bad).unwrap_err(), breaker.call_async(|| ready(bad())).await.unwrap_err()] {
        assert_eq!(error.downcast::<Error>().unwrap().kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!((ended(&breaker), breaker.state()), ((4, 2, 2), State::Open));
}

#[tokio::test(start_paused = true)]
async fn rule_6_an_open_breaker_runs_nothing() {
    let breaker = opened();
    let ran = Cell::new(false);
    let run = || {
        ran.set(true);
        good()
    };
    let errors = [breaker.call(run).unwrap_err(), breaker.call_async(|| ready(run())).await.unwrap_err()];
    for error in errors {
        let open = CircuitOpen::find(&*error).unwrap();
        assert_eq!((open.name(), open.retry_after()), ("test", Some(10 * SECOND)));
        assert!(error.is::<CircuitOpen>(), "in one box");
    }
    assert!(!ran.get());
    let Totals { calls, rejected, transitions, .. } = breaker.snapshot().totals;
    assert_eq!((calls, rejected, transitions), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn rule_4_the_snapshot_shows_the_probes_that_remain() {
    let breaker = breaker();
    let remaining = || (breaker.snapshot().state, breaker.snapshot().remaining_probes, breaker.snapshot().retry_after);
    assert_eq!(remaining(), (State::Closed, None, None));
    for _ in 0..2 {
        let _ = breaker.call(bad);
    }
    assert_eq!(remaining(), (State::Open, None, Some(10 * SECOND)));
    advance(10 * SECOND).await;
    assert_eq!(remaining(), (State::HalfOpen, Some(3), None), "due");
    let mut probes = [(); 3].map(|()| begin(breaker.call_async(pending::<Result<(), Error>>)));
    for (probe, left) in probes.iter_mut().zip([2, 1, 0]) {
        assert!(poll_once(probe.as_mut()).await.is_pending());
        assert_eq!(remaining(), (State::HalfOpen, Some(left), None));
    }
    assert_eq!(breaker.call(good).unwrap_err().downcast::<CircuitOpen>().unwrap().state(), State::HalfOpen);
    advance(30 * SECOND).await;
    assert_eq!(remaining(), (State::HalfOpen, Some(3), None), "their leases are over");
    breaker.force_open();
    assert_eq!(remaining(), (State::Open, None, None));
}

#[tokio::test(start_paused = true)]
async fn on_a_ramp_no_number_of_probes_remains() {
    let breaker = CircuitBreaker::builder().consecutive_failures(1).open_for(SECOND).ramp(&[0.5], 100).build();
    let _ = breaker.call(bad);
    advance(SECOND).await;
    assert_eq!(breaker.snapshot().remaining_probes, Some(3));
    assert!(breaker.call(good).is_ok());
    assert_eq!((breaker.state(), breaker.snapshot().remaining_probes), (State::HalfOpen, None));
}

#[tokio::test(start_paused = true)]
async fn probes_of_both_forms_close_the_breaker_or_open_it_again() {
    for is_blocking in [false, true] {
        let call = async |breaker: &CircuitBreaker, call: fn() -> Result<u32, Error>| {
            if is_blocking { breaker.call(call) } else { breaker.call_async(|| ready(call())).await }
        };
        let breaker = due().await;
        assert!(call(&breaker, bad).await.is_err());
        assert_eq!((breaker.state(), breaker.snapshot().totals.transitions), (State::Open, 3));
        advance(10 * SECOND).await;
        assert!(call(&breaker, good).await.is_ok());
        assert_eq!((breaker.state(), breaker.snapshot().totals.transitions), (State::Closed, 5));
        assert_eq!(ended(&breaker), (4, 1, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_panic_is_a_failure_wherever_it_comes_from() {
    fn panics() -> Result<u32, Error> {
        panic!("on demand")
    }

    for is_probe in [false, true] {
        for form in 0..4 {
            let breaker = if is_probe { due().await } else { breaker() };
            let before = ended(&breaker).2;
            let panicked = catch_unwind(AssertUnwindSafe(|| match form {
                0 => drop(breaker.call(panics)),
                1 => {
                    let mut call = begin(breaker.call_async(|| -> Answer { panic!("early") }));
                    let _ = poll_now(&mut call);
                }
                2 => {
                    let mut call = begin(breaker.call_async(|| async { panics() }));
                    let _ = poll_now(&mut call);
                }
                _ => {
                    let _permit = breaker.try_acquire().unwrap();
                    let _ = panics();
                }
            }));
            assert!(panicked.is_err());
            assert_eq!(ended(&breaker).2, before + 1, "{is_probe} {form}");
            assert_eq!(breaker.state(), if is_probe { State::Open } else { State::Closed });
        }
    }
}

fn poll_now<F: Future>(call: &mut Pin<Box<F>>) -> Poll<F::Output> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "CallFuture polled after it panicked")]
async fn an_operation_that_panicked_does_not_run_again() {
    let breaker = breaker();
    let mut call = begin(breaker.call_async(|| -> Answer { panic!("early") }));
    assert!(catch_unwind(AssertUnwindSafe(|| poll_now(&mut call))).is_err());
    let _ = poll_now(&mut call);
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_call_that_is_dropped_is_neutral_and_frees_its_slot() {
    for breaker in [breaker(), due().await] {
        let (before, remaining) = (ended(&breaker), breaker.snapshot().remaining_probes);
        drop(breaker.call_async(pending::<Result<(), Error>>));
        let mut call = begin(breaker.call_async(pending::<Result<(), Error>>));
        assert!(poll_once(call.as_mut()).await.is_pending());
        advance(3_600 * SECOND).await;
        drop(call);
        let permit = breaker.try_acquire().unwrap();
        drop(permit);
        assert_eq!((ended(&breaker), breaker.snapshot().remaining_probes), (before, remaining));
    }
    // Its operation has not begun.
    let breaker = opened();
    drop(breaker.call_async(pending::<Result<(), Error>>));
    assert_eq!(breaker.snapshot().totals.rejected, 0, "asked at the first poll");
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_call_dropped_after_the_limit_of_slow_calls_has_failed() {
    for (time, failures) in [(SECOND, 0), (SECOND + MS, 1)] {
        let breaker = CircuitBreaker::builder().slow_calls(SECOND, 1.0).build();
        let mut call = begin(breaker.call_async(pending::<Result<(), Error>>));
        assert!(poll_once(call.as_mut()).await.is_pending());
        let permit = breaker.try_acquire().unwrap();
        advance(time).await;
        drop(call);
        drop(permit);
        assert_eq!(ended(&breaker), (2 * failures, 0, 2 * failures), "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_runs_from_its_admission() {
    let breaker = CircuitBreaker::builder().slow_calls(SECOND, 1.0).build();
    let call = breaker.call_async(|| async {
        advance(SECOND).await;
        good()
    });
    advance(60 * SECOND).await;
    assert!(call.await.is_ok());
    assert_eq!(breaker.snapshot().slow, 0, "it began with its first poll");
    let slow = || async {
        advance(SECOND + MS).await;
        good()
    };
    assert!(breaker.call_async(slow).await.is_ok());
    assert_eq!(breaker.snapshot().slow, 1);
    let permit = breaker.try_acquire().unwrap();
    advance(SECOND + MS).await;
    permit.succeed();
    assert_eq!((breaker.snapshot().slow, ended(&breaker)), (2, (3, 3, 0)));
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_call_and_a_permit_that_a_time_limit_cuts_have_failed() {
    let policy = || RetryLayer::new(classifier_fn(|_: Result<&(), _>| Verdict::transient()));
    for holds_permit in [false, true] {
        let breaker = CircuitBreaker::builder().consecutive_failures(3).build();
        let upstream = {
            let breaker = breaker.clone();
            service_fn(move |(): ()| {
                let breaker = breaker.clone();
                async move {
                    if !holds_permit {
                        return breaker.call_async(pending::<Result<(), Error>>).await;
                    }
                    let _permit = breaker.try_acquire()?;
                    pending().await
                }
            })
        };
        let client = policy().attempt_timeout(SECOND).max_attempts(3).idempotent(|(): &()| true).layer(upstream);
        assert!(client.oneshot(()).await.is_err());
        assert_eq!((ended(&breaker), breaker.state()), ((3, 0, 3), State::Open), "permit: {holds_permit}");
    }
}

#[test]
fn blocking_calls_and_permits_need_no_runtime() {
    let breaker = breaker();
    assert!(breaker.call(good).is_ok());
    breaker.try_acquire().unwrap().succeed();
    breaker.try_acquire().unwrap().fail();
    breaker.try_acquire().unwrap().settle(Class::Transient);
    assert_eq!((ended(&breaker), breaker.state()), ((4, 2, 2), State::Open));
    assert!(breaker.call(good).unwrap_err().is::<CircuitOpen>());
}

#[tokio::test(start_paused = true)]
async fn of_nested_calls_each_breaker_counts_its_own() {
    let (host, tenant) = (breaker(), breaker());
    let call = |call: fn() -> Result<u32, Error>| host.call(|| tenant.call(call));
    assert!(call(good).is_ok());
    for _ in 0..2 {
        assert!(call(bad).is_err());
    }
    assert_eq!((ended(&host), ended(&tenant)), ((3, 1, 2), (3, 1, 2)));
    host.reset();
    assert!(call(good).unwrap_err().is::<CircuitOpen>());
    assert_eq!(ended(&host), (3, 1, 2), "a rejection of the inner breaker is neutral for the outer one");
    assert_eq!(host.call_async(|| host.call_async(|| ready(good()))).await.unwrap(), 7);
    assert_eq!(ended(&host), (5, 3, 2), "the same breaker twice");
}

#[tokio::test(start_paused = true)]
async fn a_classifier_judges_both_forms() {
    let breaker = breaker();
    let judge = classifier_fn(|outcome: Result<&u32, _>| match outcome {
        Ok(0) => Verdict::transient(),
        Ok(1) => Verdict::neutral(),
        Ok(_) | Err(_) => Verdict::success(),
    });
    for (answer, expected) in [(Ok(2), (2, 2, 0)), (Ok(1), (2, 2, 0)), (bad(), (4, 4, 0)), (Ok(0), (6, 4, 2))] {
        let same = |answer: &Result<u32, Error>| answer.as_ref().map_err(|error| Error::from(error.kind())).copied();
        let _ = breaker.call_with(judge, || same(&answer));
        let _ = breaker.call_async_with(judge, || ready(same(&answer))).await;
        assert_eq!(ended(&breaker), expected, "{answer:?}");
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test]
async fn a_call_demands_no_more_of_its_parts_than_they_have() {
    fn is_send<T: Send + Sync + Unpin + 'static>(future: T) -> T {
        future
    }

    let breaker = breaker();
    // Neither `Send` nor `Clone` nor `'static`.
    let (here, rows) = (Rc::new(Cell::new(1)), String::from("rows"));
    let borrowed = breaker.call_async(|| {
        let (here, rows) = (here.clone(), &rows);
        async move {
            here.set(here.get() + 1);
            Ok::<_, BoxError>(rows.as_str())
        }
    });
    assert_eq!((borrowed.await.unwrap(), here.get()), ("rows", 2));
    let call: CallFuture<fn() -> Answer, Answer> = breaker.call_async(|| ready(good()));
    let task = tokio::spawn(is_send(call));
    drop(breaker);
    assert_eq!(task.await.unwrap().unwrap(), 7);
}

#[test]
fn totals_are_exact_under_threads() {
    const CALLS: u64 = 2_000;
    for window in [Window::count(100), Window::count(1), Window::time(10 * SECOND)] {
        let builder = || CircuitBreaker::builder().window(window).failure_rate(1.0).no_outage();
        // One that all share, and one of many.
        let many = builder().partition_by(partition::by(|id: &u64| *id));
        for breaker in [builder().build(), many.handle().get_or_insert(&7).unwrap()] {
            thread::scope(|scope| {
                for worker in 0..8 {
                    let breaker = &breaker;
                    scope.spawn(move || {
                        let mut last = Totals::default();
                        for call in 0..CALLS {
                            match (call + worker) % 8 {
                                0 if window != Window::count(1) => breaker.try_acquire().unwrap().fail(),
                                1 => drop(breaker.try_acquire().unwrap()),
                                2 => breaker.try_acquire().unwrap().succeed(),
                                _ => assert!(breaker.call(good).is_ok()),
                            }
                            if call % 64 == 0 {
                                let totals = breaker.snapshot().totals;
                                assert!(totals.calls >= last.calls && totals.failed >= last.failed);
                                last = totals;
                            }
                        }
                    });
                }
            });
            // Of each worker an eighth, and there are eight.
            let failed = if window == Window::count(1) { 0 } else { CALLS };
            assert_eq!(ended(&breaker), (7 * CALLS, 7 * CALLS - failed, failed), "{window:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn totals_outlive_the_window_its_time_and_every_state() {
    for window in [Window::count(2), Window::time(SECOND)] {
        let breaker = CircuitBreaker::builder().window(window).consecutive_failures(2).open_for(SECOND).build();
        let mut expected = Totals::default();
        for round in 1..=100 {
            for _ in 0..10 {
                assert!(breaker.call(good).is_ok());
            }
            for _ in 0..2 {
                assert!(breaker.call(bad).is_err());
            }
            for _ in 0..3 {
                assert!(breaker.call(good).is_err(), "rejected");
            }
            advance(SECOND).await;
            assert!(breaker.call(good).is_ok(), "a probe");
            if round % 10 == 0 {
                advance(3_600 * SECOND).await;
                breaker.reset();
                expected.transitions += 1;
            }
            expected.succeeded += 11;
            expected.failed += 2;
            expected.calls += 13;
            expected.rejected += 3;
            expected.transitions += 3;
            assert_eq!(breaker.snapshot().totals, expected, "{window:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn totals_count_what_each_mode_counts() {
    let breaker = breaker();
    let calls = || {
        for call in [bad, bad, bad, good] {
            let _ = breaker.call(call);
        }
        let Totals { calls, rejected, transitions, .. } = breaker.snapshot().totals;
        (calls, rejected, transitions)
    };
    breaker.set_mode(Mode::Disabled);
    assert_eq!(calls(), (0, 0, 1), "admits all and counts none");
    breaker.set_mode(Mode::ForcedOpen);
    assert_eq!(calls(), (0, 4, 2));
    breaker.set_mode(Mode::ObserveOnly);
    assert_eq!(calls(), (2, 4, 4), "opens after two, and then admits without counting");
    breaker.set_mode(Mode::Automatic);
    assert_eq!(calls(), (2, 8, 4), "a mode that keeps the state is no transition");
}

#[tokio::test(start_paused = true)]
async fn a_breaker_around_others_counts_rejections_and_transitions_alone() {
    let layer = hierarchy::nested();
    let (service, _) = over(&layer);
    hierarchy::opened(&layer).await;
    assert_eq!(call_for(&service, (1, 50), Do::Succeed).await, rejected(State::Open, 10 * SECOND));
    advance(10 * SECOND).await;
    assert_eq!(call_for(&service, (1, 50), Do::Succeed).await, OK, "its probe");
    let totals = |key| layer.handle().get(&key).unwrap().snapshot().totals;
    let (host, tenant) = (totals(hierarchy::HOST), totals(hierarchy::tenant(50)));
    assert_eq!((host.calls, host.rejected, host.transitions), (0, 1, 3));
    assert_eq!((tenant.calls, tenant.rejected, tenant.transitions), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_is_made_again_begins_at_nothing() {
    let layer = CircuitBreaker::builder().partition_by(partition::by(|id: &u64| *id));
    let breakers = layer.handle();
    let first = breakers.get_or_insert(&7).unwrap();
    assert!(first.call(good).is_ok());
    assert!(breakers.remove(&7));
    assert_eq!(breakers.get_or_insert(&7).unwrap().snapshot().totals, Totals::default());
    assert_eq!(ended(&first), (1, 1, 0));
}
