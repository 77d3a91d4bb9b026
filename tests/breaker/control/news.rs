//! The news of a change: who gets it, and what a subscriber or waker that panics costs the others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::FutureExt;
use tower_rampart::breaker::{CircuitBreaker, Mode, State, Window, partition};
use tower_rampart::classify::Class;

use crate::calls::waiting::Task;
use crate::support::*;

/// A waker that panics.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("on demand");
    }
}

fn quick() -> Breakers {
    layer().window(Window::count(1)).open_for(10 * SECOND).half_open_max_calls(1).success_threshold(1)
}

#[test]
fn rule_10_a_change_wakes_the_watchers_of_its_breaker_only() {
    let breakers = layer().partition_by(partition::by(|request: &(u64, Do)| request.0)).handle();
    let [one, other] = [1, 2].map(|id| breakers.get_or_insert(&id).unwrap());
    let (mut of_one, mut of_other) = (one.watch(), other.watch());
    let mut of_one = Task::waiting(of_one.changed());
    let mut of_other = Task::waiting(of_other.changed());
    one.disable();
    one.force_open();
    assert_eq!((of_one.woken(), of_other.woken()), (1, 0));
    assert_eq!(of_one.poll().map(|snapshot| snapshot.mode), Poll::Ready(Mode::ForcedOpen));
    assert!(of_other.poll().is_pending());
}

#[test]
fn rule_10_a_watcher_that_is_polled_again_holds_one_waker() {
    let breaker = CircuitBreaker::builder().build();
    let mut watches: Vec<_> = (0..10_000).map(|_| breaker.watch()).collect();
    let mut tasks: Vec<_> = watches.iter_mut().map(|watch| Task::waiting(watch.changed())).collect();
    for task in &mut tasks {
        assert!(task.poll().is_pending());
        assert_eq!((task.wakers(), task.woken()), (1, 0));
    }
    breaker.disable();
    for mut task in tasks {
        assert_eq!((task.wakers(), task.woken()), (0, 1));
        assert!(task.poll().is_ready());
        assert_eq!(task.wakers(), 0);
    }
}

#[test]
fn rule_10_a_watch_returns_a_mode_that_was_set_and_set_back() {
    for (mode, other) in [
        (Mode::Automatic, Mode::ObserveOnly),
        (Mode::Automatic, Mode::ForcedOpen),
        (Mode::ObserveOnly, Mode::RejectRetriesOnly),
        (Mode::Disabled, Mode::Automatic),
    ] {
        let breaker = CircuitBreaker::builder().mode(mode).build();
        let mut watch = breaker.watch();
        breaker.set_mode(other);
        breaker.set_mode(mode);
        assert_eq!(watch.changed().now_or_never().map(|snapshot| snapshot.mode), Some(mode), "{other}");
        breaker.set_mode(mode);
        assert!(watch.changed().now_or_never().is_none(), "nothing has changed");
    }
}

#[test]
fn rule_10_a_reset_is_one_change() {
    let layer = quick();
    let breaker = layer.breaker();
    let (mut watch, mut events) = (breaker.watch(), layer.handle().subscribe(8));
    for changes in [1, 1] {
        let mut task = Task::waiting(watch.changed());
        breaker.reset();
        assert_eq!(task.woken(), changes);
        assert!(task.poll().is_ready());
        let event = events.try_recv().unwrap();
        assert_eq!((event.from, event.to, event.mode), (State::Closed, State::Closed, Mode::Automatic));
        assert!(events.try_recv().is_none());
    }
    assert!(watch.changed().now_or_never().is_none());
}

#[test]
fn rule_10_a_waker_that_panics_costs_no_other_the_news_nor_the_caller_its_call() {
    let layer = quick();
    let breaker = layer.breaker();
    let mut events = layer.handle().subscribe(8);
    let mut watches: Vec<_> = (0..5).map(|_| breaker.watch()).collect();
    let panics = Waker::from(Arc::new(Panics));
    let mut panicking = Context::from_waker(&panics);
    let mut tasks = Vec::new();
    let mut touchy = Vec::new();
    for (index, watch) in watches.iter_mut().enumerate() {
        if index % 2 == 0 {
            touchy.push(Box::pin(watch.changed()));
            assert!(touchy.last_mut().unwrap().as_mut().poll(&mut panicking).is_pending());
        } else {
            tasks.push(Task::waiting(watch.changed()));
        }
    }
    let mut reader = layer.handle().subscribe(8);
    let mut reader = Box::pin(reader.recv());
    assert!(reader.as_mut().poll(&mut panicking).is_pending());

    let permit = breaker.try_acquire().unwrap();
    let settled = catch_unwind(AssertUnwindSafe(|| permit.settle(Class::Transient)));
    assert!(settled.is_ok(), "the caller ends its call");
    assert_eq!(breaker.state(), State::Open);
    for task in &mut tasks {
        assert_eq!(task.woken(), 1);
        assert_eq!(task.poll().map(|snapshot| snapshot.state), Poll::Ready(State::Open));
    }
    assert_eq!(events.try_recv().map(|event| event.to), Some(State::Open));
    drop((touchy, tasks));
    breaker.reset();
    breaker.force_open();
    assert_eq!(breaker.state(), State::Open);
}

/// The settlement that causes the news is itself part of a panic.
#[test]
fn rule_10_a_waker_that_panics_while_a_call_unwinds_aborts_nothing() {
    let breaker = CircuitBreaker::builder().window(Window::count(1)).build();
    let (mut watch, mut other) = (breaker.watch(), breaker.watch());
    let mut changed = Box::pin(watch.changed());
    assert!(changed.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::new(Panics)))).is_pending());
    let task = Task::waiting(other.changed());
    let call = catch_unwind(AssertUnwindSafe(|| {
        let _permit = breaker.try_acquire();
        panic!("in the call");
    }));
    assert!(call.is_err());
    assert_eq!((breaker.state(), task.woken()), (State::Open, 1));
}
