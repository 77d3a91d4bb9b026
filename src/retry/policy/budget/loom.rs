//! Each kind under all interleavings of two threads.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::thread;

use super::kind::Kind;
use super::{Account, Bucket, Budget};
use crate::classify::Verdict;
use crate::clock::Moment;
use crate::registry::Forgettable;

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.check(run);
}

/// Runs the same in two threads, and returns how many got a retry.
fn both(budget: Budget, run: fn(&Kind) -> bool, check: fn(&Budget, usize) -> bool) {
    let threads = [(); 2].map(|()| {
        let budget = budget.clone();
        thread::spawn(move || run(budget.kind().unwrap()))
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

#[test]
fn loom_no_change_of_a_budget_adds_a_token() {
    for capacity in [1, 50] {
        model(move || {
            let budget = Budget::ratio(0.0).reserve(2).capacity(2);
            let retrying = budget.clone();
            let call = thread::spawn(move || u32::from(retry(retrying.kind().unwrap())));
            if let Some(settings) = budget.changed_by(&Budget::ratio(0.0).reserve(1).capacity(capacity)).unwrap() {
                budget.change(settings, || {});
            }
            let granted = call.join().unwrap();
            assert!(f64::from(granted) + budget.balance().unwrap() <= 2.0, "{granted} granted");
        });
    }
}

/// The registry's own reference, and those of calls, are counted as in `Arc` and `Weak`.
#[test]
fn loom_a_forgotten_bucket_loses_no_call() {
    const MINUTES: Duration = Duration::from_secs(600);
    // As new, and long unused.
    for tokens in [1, 2] {
        model(move || {
            let budget = Budget::ratio(0.0).reserve(2);
            let bucket = Arc::new(Bucket::new(budget.kind().unwrap().renewed()));
            let start = Moment::at(Duration::ZERO);
            for _ in tokens..2 {
                assert!(retry(bucket.kind()) && !bucket.is_forgettable(start));
            }
            let references = Arc::new(AtomicUsize::new(1));
            let call = {
                let (bucket, references) = (bucket.clone(), references.clone());
                thread::spawn(move || {
                    // `Weak::upgrade`, and the drop of the `Arc` that it returns.
                    let one_more = |references| (references > 0).then_some(references + 1);
                    let found = references.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).is_ok();
                    if found {
                        bucket.touch();
                        assert!(retry(bucket.kind()));
                        references.fetch_sub(1, Ordering::Release);
                    }
                    found
                })
            };
            let now = Moment::at(MINUTES);
            // `Arc::try_unwrap`.
            let is_out = bucket.is_forgettable(now)
                && references.compare_exchange(1, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            let is_forgotten = is_out && {
                fence(Ordering::Acquire);
                bucket.is_forgettable(now)
            };
            assert!(!(call.join().unwrap() && is_forgotten), "a budget was forgotten together with a call");
        });
    }
}
