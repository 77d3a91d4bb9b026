//! Each kind under all interleavings of two threads.

use std::sync::Arc;

use loom::thread;

use super::kind::Kind;
use super::{Account, Budget};
use crate::classify::Verdict;

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.check(run);
}

/// Runs the same in two threads, and returns how many got a retry.
fn both(budget: Budget, run: fn(&Kind) -> bool, check: fn(&Budget, usize) -> bool) {
    let kind = budget.kind.clone().unwrap();
    let threads = [(); 2].map(|()| {
        let kind = Arc::clone(&kind);
        thread::spawn(move || run(&kind))
    });
    let granted = threads.into_iter().map(|thread| thread.join().unwrap()).filter(|won| *won).count();
    assert!(check(&budget, granted), "{granted} granted, {:?} left", budget.balance());
}

fn retry(kind: &Kind) -> bool {
    let mut account = Account::default();
    account.open(Some(kind));
    account.withdraw(Some(kind), &Verdict::transient())
}

/// Asks for a retry, and is dropped before it is sent.
fn cancelled(kind: &Kind) -> bool {
    let mut account = Account::default();
    account.open(Some(kind));
    let granted = account.withdraw(Some(kind), &Verdict::transient());
    account.close(Some(kind));
    granted
}

#[test]
fn loom_a_ratio_grants_the_last_token_once() {
    model(|| {
        both(Budget::ratio(0.0).reserve(1), retry, |budget, granted| granted == 1 && budget.balance() == Some(0.0));
    });
}

#[test]
fn loom_a_ratio_that_two_calls_fill_grants_one_retry() {
    model(|| {
        both(Budget::ratio(0.5).reserve(0), retry, |budget, granted| {
            granted <= 1 && budget.balance() == Some(1.0 - granted as f64)
        });
    });
}

#[test]
fn loom_cancelled_retries_give_back_all_they_took() {
    model(|| {
        both(Budget::ratio(0.0).reserve(1), cancelled, |budget, granted| granted >= 1 && budget.balance() == Some(1.0));
    });
    model(|| {
        both(Budget::aws_standard(), cancelled, |budget, granted| granted == 2 && budget.balance() == Some(500.0));
    });
    model(|| {
        both(Budget::concurrent(0.0, 1), cancelled, |budget, granted| granted >= 1 && budget.balance() == Some(1.0));
    });
}

#[test]
fn loom_grpc_counts_every_failure_and_stops_at_half() {
    model(|| {
        both(Budget::grpc(3, 0.1), retry, |budget, granted| granted == 1 && budget.balance() == Some(1.0));
    });
}

#[test]
fn loom_a_quota_is_never_overdrawn() {
    model(|| {
        let budget = Budget::aws_standard();
        let Some(Kind::Aws(aws)) = budget.kind() else { panic!() };
        // Leaves 5 of 500.
        assert_eq!((0..99).filter(|_| aws.withdraw(false).is_some()).count(), 99);
        both(budget, retry, |budget, granted| granted == 1 && budget.balance() == Some(0.0));
    });
}

#[test]
fn loom_concurrent_retries_stay_within_their_share() {
    model(|| {
        // Of two calls half may be retrying; the minimum is less.
        both(Budget::concurrent(50.0, 0), retry, |budget, granted| {
            granted <= 1 && budget.balance() == Some(1.0 - granted as f64)
        });
    });
}
