//! Settings that change while layers, policies and budgets are in use.

mod budgets;

use std::cell::{Cell, RefCell};
use std::future::ready;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt};
use tower_rampart::RetryLayer;
use tower_rampart::breaker::partition;
use tower_rampart::retry::{
    self, Backoff, Budget, DeadlineHeader, Handle, Hedge, Jitter, RetryGuard, RetryPolicy, RetrySettings,
};

use crate::support::*;

fn reconfigure<K>(handle: &Handle<K>, settings: &impl RetrySettings) -> String
where
    K: std::hash::Hash + Eq + Clone,
{
    handle.reconfigure(settings).unwrap().to_string()
}

fn down() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

/// The attempts and the time of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Took {
    attempts: usize,
    millis: u128,
}

/// Changes the settings while a call is in flight and another was made and not polled yet. Returns what both took
/// together, and what a later one takes.
async fn took(before: RetryLayer, after: &impl RetrySettings, step: Step) -> [Took; 2] {
    let upstream = Upstream::new([step]);
    let log = upstream.log();
    let service = before.layer(upstream);
    let start = tokio::time::Instant::now();
    let flying = tokio::spawn(service.clone().oneshot(get()));
    while log.calls() == 0 {
        tokio::task::yield_now().await;
    }
    let mut ready = service.clone();
    let made = ServiceExt::<http::Request<Full<Bytes>>>::ready(&mut ready).await.unwrap().call(get());
    before.handle().reconfigure(after).unwrap();
    let _ = tokio::join!(flying, made);
    let both = Took { attempts: log.calls(), millis: start.elapsed().as_millis() };
    let start = tokio::time::Instant::now();
    let _ = service.oneshot(get()).await;
    [both, Took { attempts: log.calls() - both.attempts, millis: start.elapsed().as_millis() }]
}

#[tokio::test(start_paused = true)]
async fn every_setting_changes_for_later_calls_and_for_none_in_flight() {
    let many = |backoff: Duration| layer().max_attempts(3).backoff(backoff);
    let hint = |seconds: u32| answer(503).header("retry-after", seconds);
    let no_jitter = || layer().backoff(Backoff::none()).max_attempts(2);
    for (before, after, step, of_before, of_after) in [
        (layer().max_attempts(2), layer().max_attempts(4), answer(503), (2, 100), (4, 700)),
        (layer().max_attempts(4), layer().max_attempts(1), answer(503), (4, 700), (1, 0)),
        (many(SECOND), many(7 * MS), answer(503), (3, 2_000), (3, 14)),
        (
            layer().max_attempts(1).attempt_timeout(SECOND),
            layer().max_attempts(1).attempt_timeout(3 * SECOND),
            hang(),
            (1, 1_000),
            (1, 3_000),
        ),
        (
            layer().max_attempts(1).attempt_timeout(SECOND),
            layer().max_attempts(1).attempt_timeout_by(|_, _| 20 * MS),
            hang(),
            (1, 1_000),
            (1, 20),
        ),
        // None in place of some.
        (
            layer().max_attempts(1).attempt_timeout(SECOND),
            layer().max_attempts(1),
            answer(200).taking(7 * SECOND),
            (1, 1_000),
            (1, 7_000),
        ),
        (layer().deadline(SECOND), layer().deadline(2 * SECOND), hang(), (1, 1_000), (1, 2_000)),
        (layer().deadline(SECOND), layer(), answer(200).taking(7 * SECOND), (1, 1_000), (1, 7_000)),
        (no_jitter().max_retry_after(SECOND), no_jitter().max_retry_after(5 * SECOND), hint(3), (1, 0), (2, 3_000)),
        (
            no_jitter().max_retry_after(SECOND),
            no_jitter().max_retry_after(SECOND).clamp_retry_after(true),
            hint(3),
            (1, 0),
            (2, 1_000),
        ),
        (layer(), layer().retry_circuit_open(true), circuit_open(), (1, 0), (3, 300)),
    ] {
        let text = before.handle().reconfigure(&after).map(|changes| changes.to_string());
        before.handle().reconfigure(&before).unwrap();
        let [both, later] = took(before, &after, step).await;
        let took = |calls: usize, (attempts, millis)| Took { attempts: calls * attempts, millis };
        assert_eq!([both, later], [took(2, of_before), took(1, of_after)], "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_is_reported_by_the_names_of_the_setters() {
    let handle = RetryLayer::new_for_http().handle();
    assert_eq!(reconfigure(&handle, &RetryPolicy::new()), "none");
    let all = RetryLayer::new_for_http()
        .max_attempts(7)
        .backoff(SECOND)
        .attempt_timeout(SECOND)
        .deadline(SECOND)
        .budget(Budget::ratio(0.3))
        .max_partitions(7)
        .max_retry_after(SECOND)
        .clamp_retry_after(true)
        .retry_circuit_open(true);
    let names = "max_attempts, backoff, attempt_timeout, deadline, max_retry_after, clamp_retry_after, \
                 retry_circuit_open, budget";
    assert_eq!(reconfigure(&handle, &all), names, "no key has a budget of its own");
    assert_eq!(reconfigure(&handle, &all), "none");
    assert_eq!(reconfigure(&handle, &RetryPolicy::new()), names);
    let by_key = RetryLayer::new_for_http().budget_by(partition::by(|_: &u64| 7), Budget::ratio(0.2)).handle();
    assert_eq!(reconfigure(&by_key, &all), format!("{names}, max_partitions"));
    let without = RetryPolicy::new().budget(Budget::ratio(0.3)).clamp_retry_after(true);
    let changes = by_key.reconfigure(&without).unwrap();
    assert!(changes.iter().all(|name| !["max_partitions", "clamp_retry_after", "budget"].contains(&name)), "{changes}");
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_cannot_change_is_named_and_nothing_changes() {
    let budget = Budget::ratio(0.2);
    let at_first = || RetryLayer::new_for_http().name("billing").backoff(Backoff::none()).budget(budget.clone());
    let layer = at_first();
    let handle = layer.handle();
    let other = || RetryLayer::new_for_http().max_attempts(7).backoff(SECOND).budget(Budget::ratio(0.5).capacity(2));
    let refused =
        |settings: &dyn Fn() -> Result<(), tower_rampart::InvalidSetting>| settings().unwrap_err().to_string();
    let try_with = |layer: RetryLayer| refused(&|| handle.reconfigure(&layer).map(drop));
    assert_eq!(try_with(other().name("search")), r#"name: cannot change at run time, from "billing" to "search""#);
    assert_eq!(try_with(other().seed(7)), "seed: cannot change at run time");
    assert_eq!(
        try_with(other().distrust_refusals()),
        "distrust_refusals: cannot change at run time, because the classifier does it"
    );
    assert_eq!(try_with(other().max_replay_bytes(7)), "max_replay_bytes: cannot change at run time");
    assert_eq!(
        try_with(other().deadline_header(DeadlineHeader::seconds("x-timeout"))),
        "deadline_header: cannot change at run time"
    );
    assert_eq!(try_with(other().guard(RetryGuard::new())), "guard: cannot change at run time");
    let hedged = other().hedge(Hedge::after(SECOND));
    assert_eq!(handle.reconfigure(&hedged).unwrap_err().to_string(), "hedge: cannot change at run time");
    for (kind, name) in [
        (Budget::unlimited(), "unlimited"),
        (Budget::grpc(10, 0.1), "grpc"),
        (Budget::aws_standard(), "aws_standard"),
        (Budget::concurrent(20.0, 3), "concurrent"),
    ] {
        let message = format!("budget: cannot change its kind at run time, from ratio to {name}");
        assert_eq!(try_with(other().budget(kind.clone())), message);
        let back = RetryPolicy::new().budget(kind).handle().reconfigure(&RetryPolicy::new()).unwrap_err();
        assert_eq!(back.to_string(), format!("budget: cannot change its kind at run time, from {name} to ratio"));
    }
    let upstream = Upstream::new([answer(503)]);
    let log = upstream.log();
    layer.layer(upstream).oneshot(get()).await.unwrap();
    assert_eq!((log.calls(), log.elapsed(), budget.balance()), (3, Duration::ZERO, Some(8.2)));
}

#[test]
fn what_cannot_change_may_be_left_out_or_named_again() {
    let fixed = || {
        RetryLayer::new_for_http()
            .name("billing")
            .seed(7)
            .distrust_refusals()
            .max_replay_bytes(7)
            .deadline_header(DeadlineHeader::seconds("x-timeout"))
            .guard(RetryGuard::new())
    };
    let handle = fixed().handle();
    assert_eq!(reconfigure(&handle, &RetryPolicy::new().deadline(SECOND)), "deadline");
    assert_eq!(reconfigure(&handle, &fixed()), "deadline");
    assert_eq!(handle.name(), "billing");
    assert!(handle.reconfigure(&fixed().seed(8)).is_err());
    let cloning = RetryLayer::new_for_http().clone_bodies().guard(RetryGuard::new()).handle();
    assert_eq!(reconfigure(&cloning, &RetryLayer::new_for_http().guard(RetryGuard::new())), "none");
    assert!(cloning.reconfigure(&RetryLayer::new_for_http().guard(RetryGuard::new().max_depth(7))).is_err());
    assert!(cloning.reconfigure(&RetryLayer::new_for_http().max_replay_bytes(7)).is_err());
    // Another classifier is not trusted less.
    let trusting = fixed().classifier(tower_rampart::classify::HttpClassifier::new());
    assert!(trusting.handle().reconfigure(&RetryLayer::new_for_http().distrust_refusals()).is_err());
    let hedge = || layer().hedge(Hedge::quantile(0.95));
    let hedged = hedge().handle();
    assert_eq!(reconfigure(&hedged, &hedge()), "none");
    assert_eq!(reconfigure(&hedged, &layer()), "none");
    assert!(hedged.reconfigure(&layer().hedge(Hedge::quantile(0.9))).is_err());
}

#[tokio::test(start_paused = true)]
async fn clones_services_and_layers_of_one_policy_change_together_and_no_others() {
    let policy = RetryPolicy::new().backoff(Backoff::none()).no_budget().max_attempts(2);
    let reached = layer().policy(&policy);
    let cloned = reached.clone();
    let boxed = tower::util::BoxCloneSyncService::new(cloned.layer(Upstream::new([answer(503)])));
    let other = policy.clone().deadline(SECOND);
    let by_key = layer().budget_by(partition::host(), Budget::ratio(0.2)).policy(&policy);
    assert_eq!(reconfigure(&policy.handle(), &policy.clone().max_attempts(5)), "max_attempts");
    for service in [boxed, tower::util::BoxCloneSyncService::new(reached.layer(Upstream::new([answer(503)])))] {
        assert_eq!(report(&service.oneshot(get()).await.unwrap()).0, 5);
    }
    let attempts = |policy: RetryPolicy| async move {
        let calls = Cell::new(0);
        let failing = || ready(Err::<(), _>((calls.set(calls.get() + 1), down()).1));
        assert_eq!(retry::call(&policy, failing).await.unwrap_err().attempts(), calls.get());
        let blocking = retry::call_blocking(&policy, || Err::<(), _>(down())).unwrap_err();
        assert_eq!(blocking.attempts(), calls.get());
        calls.get()
    };
    assert_eq!(attempts(policy.clone()).await, 5);
    assert_eq!(attempts(other).await, 2);
    assert_eq!(attempts(policy.clone().deadline(SECOND)).await, 2, "as it was written");
    let upstream = Upstream::new([answer(503)]);
    assert_eq!(report(&by_key.layer(upstream).oneshot(get()).await.unwrap()).0, 2);
    // Back to the first ones.
    assert_eq!(reconfigure(&reached.handle(), &policy), "max_attempts");
    assert_eq!(attempts(policy).await, 2);
}

#[tokio::test(start_paused = true)]
async fn code_that_is_added_later_takes_no_layer_from_its_handle() {
    let layer = layer().max_attempts(2);
    let handle = layer.handle();
    let coded = layer.clone().on_retry(|_| ()).guard(RetryGuard::new()).partition_label(|_| None);
    let set = layer.clone().max_retry_after(SECOND);
    assert_eq!(reconfigure(&handle, &layer.clone().max_attempts(5)), "max_attempts");
    assert_eq!(report(&coded.layer(Upstream::new([answer(503)])).oneshot(get()).await.unwrap()).0, 5);
    assert_eq!(report(&set.layer(Upstream::new([answer(503)])).oneshot(get()).await.unwrap()).0, 2);
    let later = layer.attempt_spans().layer(Upstream::new([answer(503)]));
    assert_eq!(report(&later.oneshot(get()).await.unwrap()).0, 5);
}

#[tokio::test(start_paused = true)]
async fn hedged_services_change_too() {
    let hedged = layer().max_attempts(1).hedge(Hedge::after(50 * MS));
    let upstream = Upstream::new([answer(200).taking(SECOND)]);
    let log = upstream.log();
    let service = hedged.layer(upstream);
    service.clone().oneshot(get()).await.unwrap();
    assert_eq!(log.calls(), 1);
    assert_eq!(reconfigure(&hedged.handle(), &layer().max_attempts(2)), "max_attempts");
    service.clone().oneshot(get()).await.unwrap();
    assert_eq!(log.calls(), 3);
    assert_eq!(
        reconfigure(&hedged.handle(), &layer().attempt_timeout(20 * MS).max_attempts(1)),
        "max_attempts, attempt_timeout"
    );
    service.oneshot(get()).await.unwrap_err();
    assert_eq!((log.calls(), log.elapsed()), (4, 2_020 * MS));
}

#[test]
fn a_timer_is_asked_for_once_the_settings_need_it() {
    let policy = RetryPolicy::new().max_attempts(1);
    let call = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let calls = Cell::new(0);
        let operation = || {
            calls.set(calls.get() + 1);
            ready(Ok::<_, io::Error>(()))
        };
        let output = catch_unwind(AssertUnwindSafe(|| runtime.block_on(retry::call(&policy, operation)).unwrap()));
        (output.is_ok(), calls.get())
    };
    assert_eq!(call(), (true, 1));
    for settings in [
        RetryPolicy::new().max_attempts(2),
        RetryPolicy::new().max_attempts(1).deadline(SECOND),
        RetryPolicy::new().max_attempts(1).attempt_timeout(SECOND),
    ] {
        policy.handle().reconfigure(&settings).unwrap();
        assert_eq!(call(), (false, 0), "a panic before anything is sent");
    }
    policy.handle().reconfigure(&RetryPolicy::new().max_attempts(1)).unwrap();
    assert_eq!(call(), (true, 1));
}

#[test]
fn a_thousand_different_settings_are_the_most_and_known_ones_come_again() {
    let policy = RetryPolicy::new();
    let handle = policy.handle();
    let with = |attempts| handle.reconfigure(&RetryPolicy::new().max_attempts(attempts));
    // Three attempts are those of the policy itself.
    for round in 0..10_000 {
        assert!(!with(if round % 2 == 0 { 1 } else { 2 }).unwrap().is_empty());
    }
    for attempts in 4..=1_000 {
        assert_eq!(with(attempts).unwrap().to_string(), "max_attempts");
    }
    assert_eq!(with(1_001).unwrap_err().to_string(), "reconfigure: there were 1000 different settings before");
    let with_budget = RetryPolicy::new().max_attempts(1_001).budget(Budget::ratio(0.5));
    assert!(handle.reconfigure(&with_budget).is_err());
    for attempts in [7, 1_000, 3, 512] {
        assert_eq!(with(attempts).unwrap().to_string(), "max_attempts", "nor did the budget change");
        let error = retry::call_blocking(&policy.clone(), || Err::<(), _>(down())).unwrap_err();
        assert!(error.attempts() <= attempts);
    }
    for share in 1..1_100 {
        let budget = Budget::ratio(f64::from(share) / 10_000.0);
        handle.reconfigure(&RetryPolicy::new().max_attempts(7).budget(budget)).unwrap();
    }
}

#[test]
fn functions_are_the_same_if_they_are_clones() {
    let by = RetryPolicy::new().attempt_timeout_by(|_, _| SECOND).backoff(Backoff::custom(|_, _, _| SECOND));
    let handle = by.handle();
    assert_eq!(reconfigure(&handle, &by.clone().max_attempts(2)), "max_attempts");
    let same = RetryPolicy::new().attempt_timeout_by(|_, _| SECOND).backoff(Backoff::custom(|_, _, _| SECOND));
    assert_eq!(reconfigure(&handle, &same.max_attempts(2)), "backoff, attempt_timeout");
    let steady = Backoff::fixed(SECOND).jitter(Jitter::Full);
    assert_eq!(reconfigure(&handle, &RetryPolicy::new().backoff(steady)), "max_attempts, backoff, attempt_timeout");
}

thread_local! {
    static ASKED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn every_call_sees_one_set_of_settings_while_they_change() {
    const CALLS: usize = 20_000;
    // Each attempt asks the function how long it may take, which notes whose it is.
    let settings = [2, 3, 5, 7, 11].map(|attempts: u32| {
        RetryPolicy::new().max_attempts(attempts).backoff(Backoff::none()).no_budget().attempt_timeout_by(
            move |_, _| {
                ASKED.with_borrow_mut(|asked| asked.push(attempts));
                60 * SECOND
            },
        )
    });
    let policy = settings[0].clone();
    std::thread::scope(|scope| {
        let callers = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut seen = [0; 12];
                for _ in 0..CALLS {
                    let error = retry::call_blocking(&policy, || Err::<(), _>(down())).unwrap_err();
                    let asked = ASKED.take();
                    assert!(asked.iter().all(|attempts| *attempts == error.attempts()), "{asked:?}");
                    assert_eq!(asked.len(), error.attempts() as usize);
                    seen[asked.len()] += 1;
                }
                seen
            })
        });
        let handle = policy.handle();
        while callers.iter().any(|caller| !caller.is_finished()) {
            for settings in &settings {
                handle.reconfigure(settings).unwrap();
                std::thread::yield_now();
            }
        }
        let seen = callers.map(|caller| caller.join().unwrap());
        assert!(seen.iter().all(|seen| seen.iter().sum::<usize>() == CALLS), "{seen:?}");
    });
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_dropped_around_a_change_give_back_all() {
    let budget = Budget::concurrent(50.0, 2);
    let before = layer().max_attempts(5).budget(budget.clone());
    let after = layer().max_attempts(2).attempt_timeout(SECOND).budget(Budget::concurrent(10.0, 7));
    let service = before.layer(Upstream::new([answer(503)]));
    let handle = before.handle();
    let mut calls: Vec<_> = Vec::new();
    for round in 0..20 {
        calls.push(tokio::spawn(service.clone().oneshot(get())));
        tokio::time::sleep(30 * MS).await;
        handle.reconfigure(if round % 2 == 0 { &after } else { &before }).unwrap();
        if round % 3 == 0 {
            calls.swap_remove(0).abort();
        }
    }
    for call in calls {
        let _ = call.await;
    }
    handle.reconfigure(&after).unwrap();
    assert_eq!((budget.balance(), handle.balance()), (Some(7.0), Some(7.0)));
    handle.reconfigure(&before).unwrap();
    assert_eq!(budget.balance(), Some(2.0));
}
