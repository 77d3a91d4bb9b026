//! The start of a call while the settings change, under all interleavings of a few threads.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use super::Eras;
use crate::retry::{Budget, RetryPolicy};

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.check(run);
}

/// Settings that are written before they are current, with no order of their own.
struct Written(AtomicU32);

impl Written {
    fn new(number: u32) -> Self {
        let written = Self(AtomicU32::new(u32::MAX));
        written.0.store(number, Ordering::Relaxed);
        written
    }
}

#[test]
fn loom_a_call_that_sees_the_number_sees_the_settings() {
    model(|| {
        let (eras, first) = (Arc::new(Eras::default()), Arc::new(Written::new(0)));
        let change = |number: u32| {
            let (eras, first) = (Arc::clone(&eras), Arc::clone(&first));
            thread::spawn(move || {
                let change = eras.change(&*first);
                let era = change.find_or_add(|_| false, |_| Written::new(number)).unwrap();
                change.begin(era);
            })
        };
        let changes = [7, 8].map(change);
        let seen = eras.current(&*first).0.load(Ordering::Relaxed);
        assert!([0, 7, 8].contains(&seen), "{seen}");
        changes.into_iter().for_each(|change| change.join().unwrap());
        let last = eras.current(&*first).0.load(Ordering::Relaxed);
        assert!([7, 8].contains(&last), "{last}");
    });
}

#[test]
fn loom_a_call_keeps_one_set_of_settings() {
    model(|| {
        let policy = RetryPolicy::new().max_attempts(2).retry_circuit_open(true).no_budget();
        let handle = policy.handle();
        let changing = thread::spawn(move || {
            let later = RetryPolicy::new().max_attempts(7).no_budget();
            handle.reconfigure(&later).unwrap();
        });
        let config = &policy.config;
        let limits = config.current().limits;
        let rest = config.tuning(limits.era);
        assert_eq!(limits.max_attempts.get() == 2, rest.decider.retry_circuit_open);
        changing.join().unwrap();
        assert_eq!(config.tuning(limits.era).limits.max_attempts, limits.max_attempts);
        assert_eq!(config.current().limits.max_attempts.get(), 7);
    });
}

#[test]
fn loom_changes_of_a_shared_budget_do_not_mix() {
    model(|| {
        let budget = Budget::grpc(10, 0.1);
        let changes = [Budget::grpc(20, 0.2), Budget::grpc(30, 0.3)].map(|new| {
            let handle = RetryPolicy::new().budget(budget.clone()).handle();
            thread::spawn(move || handle.reconfigure(&RetryPolicy::new().budget(new)).map(drop).unwrap())
        });
        changes.into_iter().for_each(|change| change.join().unwrap());
        let differs = |new: &Budget| budget.changed_by(new).unwrap().is_some();
        assert!(!differs(&Budget::grpc(20, 0.2)) || !differs(&Budget::grpc(30, 0.3)));
    });
}
