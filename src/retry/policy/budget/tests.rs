//! Every kind against a slow model, and under many threads.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::classify::{Reason, Verdict};

/// What calls do, one after the other.
#[derive(Clone, Debug)]
enum Step {
    Open,
    /// The attempt of a call fails. Asks for a retry if the flag is set.
    Fail(usize, Fault, bool),
    Send(usize),
    Succeed(usize),
    Drop(usize),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Answer,
    Timeout,
}

/// The call as the model sees it: whether it has a retry, whether that was sent, and its price.
#[derive(Clone, Copy, Default)]
struct ModelCall {
    retry: Option<(bool, f64)>,
}

/// One obvious number for each kind. Tokens are whole units of `f64`; all that is used here is exact in it.
struct Model {
    kind: &'static str,
    tokens: f64,
    calls: Vec<ModelCall>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..4_usize;
    let fault = prop_oneof![Just(Fault::Answer), Just(Fault::Timeout)];
    let step = prop_oneof![
        3 => Just(Step::Open),
        6 => (which.clone(), fault, any::<bool>()).prop_map(|(call, fault, wants)| Step::Fail(call, fault, wants)),
        3 => which.clone().prop_map(Step::Send),
        2 => which.clone().prop_map(Step::Succeed),
        1 => which.prop_map(Step::Drop),
    ];
    proptest::collection::vec(step, 0..200)
}

fn verdict(fault: Fault) -> Verdict {
    match fault {
        Fault::Answer => Verdict::transient(),
        Fault::Timeout => Verdict::transient().with_reason(Reason::TIMEOUT),
    }
}

impl Model {
    fn retries(&self) -> usize {
        self.calls.iter().filter(|call| call.retry.is_some()).count()
    }

    fn allowed(&self) -> usize {
        (self.calls.len() / 4).max(2)
    }

    fn balance(&self) -> f64 {
        match self.kind {
            "concurrent" => self.allowed().saturating_sub(self.retries()) as f64,
            _ => self.tokens,
        }
    }

    fn give(&mut self, tokens: f64) {
        let capacity = if self.kind == "aws" { 500.0 } else { 8.0 };
        self.tokens = (self.tokens + tokens).min(capacity);
    }

    fn open(&mut self) {
        self.calls.push(ModelCall::default());
        if self.kind == "ratio" {
            self.give(0.25);
        }
    }

    fn fail(&mut self, call: usize, fault: Fault, wants: bool) -> bool {
        if self.kind == "grpc" {
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
        if !wants {
            return false;
        }
        self.calls[call].retry = None;
        let cost = match (self.kind, fault) {
            ("ratio", _) => 1.0,
            ("aws", Fault::Answer) => 5.0,
            ("aws", Fault::Timeout) => 10.0,
            _ => 0.0,
        };
        let granted = match self.kind {
            "grpc" => self.tokens > 4.0,
            "concurrent" => self.retries() < self.allowed(),
            _ => self.tokens >= cost,
        };
        if granted {
            self.tokens -= cost;
            self.calls[call].retry = Some((false, cost));
        }
        granted
    }

    fn end(&mut self, call: usize, succeeds: bool) {
        let ModelCall { retry } = self.calls.remove(call);
        match (self.kind, retry, succeeds) {
            ("ratio" | "aws", Some((false, cost)), false) => self.give(cost),
            ("aws", Some((_, cost)), true) => self.give(cost),
            ("aws", None, true) => self.give(1.0),
            ("grpc", _, true) => self.give(0.5),
            _ => {}
        }
    }
}

fn kinds() -> [(&'static str, Budget); 4] {
    [
        ("ratio", Budget::ratio(0.25).reserve(3).capacity(8).ttl(Duration::MAX)),
        ("grpc", Budget::grpc(8, 0.5)),
        ("aws", Budget::aws_standard()),
        ("concurrent", Budget::concurrent(25.0, 2)),
    ]
}

proptest! {
    #[test]
    fn rule_9_every_kind_does_what_a_slow_model_does(steps in steps()) {
        for (name, budget) in kinds() {
            let kind = budget.kind();
            let mut model = Model { kind: name, tokens: budget.balance().unwrap(), calls: Vec::new() };
            let mut calls: Vec<Account> = Vec::new();
            for step in &steps {
                match *step {
                    Step::Open => {
                        let mut account = Account::default();
                        account.open(kind);
                        calls.push(account);
                        model.open();
                    }
                    // Only an attempt in flight can fail or succeed, and only a retry that waits can be sent.
                    Step::Fail(call, fault, wants) if call < calls.len() && !matches!(calls[call], Account::Waiting(_)) => {
                        let granted = if wants {
                            calls[call].withdraw(kind, &verdict(fault))
                        } else {
                            calls[call].fail(kind);
                            false
                        };
                        prop_assert_eq!(granted, model.fail(call, fault, wants), "{} {:?}", name, step);
                    }
                    Step::Send(call) if call < calls.len() => {
                        calls[call].begin_retry();
                        if let Some((sent, _)) = &mut model.calls[call].retry {
                            *sent = true;
                        }
                    }
                    Step::Succeed(call) if call < calls.len() && !matches!(calls[call], Account::Waiting(_)) => {
                        calls.remove(call).succeed(kind);
                        model.end(call, true);
                    }
                    Step::Drop(call) if call < calls.len() => {
                        calls.remove(call).close(kind);
                        model.end(call, false);
                    }
                    _ => {}
                }
                prop_assert_eq!(budget.balance(), Some(model.balance()), "{} after {:?}", name, step);
            }
        }
    }

    #[test]
    fn a_minimum_a_second_is_paid_exactly(
        (rate, ttl) in (1..20_u32, 0..3_000_u64),
        steps in proptest::collection::vec((0..1_500_u64, any::<bool>()), 0..100),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let ttl = Duration::from_millis(ttl);
            // No call deposits anything, so that all there is comes from the minimum.
            let budget = Budget::ratio(0.0).reserve(0).min_per_second(rate).ttl(ttl);
            let (Some(Kind::Ratio(ratio)), start) = (budget.kind(), Instant::now()) else { panic!() };
            // In thousandths of a token, which a millisecond earns whole.
            let limit = (u64::from(rate) * ttl.max(Duration::from_secs(1)).as_millis() as u64).min(100_000);
            let (mut tokens, mut paid) = (0, 0);
            for (millis, withdraws) in steps {
                tokio::time::advance(Duration::from_millis(millis)).await;
                if withdraws {
                    let now = start.elapsed().as_millis() as u64;
                    tokens = (tokens + (now - paid) * u64::from(rate)).min(limit);
                    paid = now;
                    let granted = tokens >= 1_000;
                    tokens -= if granted { 1_000 } else { 0 };
                    assert_eq!(ratio.withdraw().is_some(), granted, "at {now} ms");
                    assert!((budget.balance().unwrap() - tokens as f64 / 1_000.0).abs() < 1e-3);
                }
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_minimum_a_second_loses_nothing_to_frequent_requests() {
    let budget = Budget::ratio(0.0).reserve(0).min_per_second(3);
    let Some(Kind::Ratio(ratio)) = budget.kind() else { panic!() };
    let mut granted = 0;
    for _ in 0..10_000 {
        tokio::time::advance(Duration::from_micros(1_000)).await;
        granted += u32::from(ratio.withdraw().is_some());
    }
    assert!((29..=30).contains(&granted), "{granted}");
}

/// Finagle's own test: `n` deposits with a withdrawal after each allow their share and the minimum of the time to live,
/// with time standing still.
#[tokio::test(start_paused = true)]
async fn deposits_and_withdrawals_add_up_as_finagle_tests_them() {
    for (ttl, minimum, ratio) in [
        (60, 0, 0.1),
        (60, 0, 0.5),
        (60, 0, 0.25),
        (60, 0, 0.75),
        (60, 0, 0.99),
        (60, 0, 0.999),
        (60, 0, 0.9999),
        (60, 0, 0.01),
        (60, 0, 0.001),
        (60, 0, 0.0001),
        (1, 10, 0.0),
        (2, 5, 0.0),
        (1, 10, 0.1),
        (2, 5, 0.5),
    ] {
        let budget = Budget::ratio(ratio).ttl(Duration::from_secs(ttl)).min_per_second(minimum);
        let budget = budget.reserve(minimum * ttl as u32);
        let Some(Kind::Ratio(bucket)) = budget.kind() else { panic!() };
        assert_eq!(budget.balance(), Some(f64::from(minimum) * ttl as f64));
        let mut retried = 0;
        for _ in 0..10_000 {
            bucket.deposit();
            retried += u32::from(bucket.withdraw().is_some());
        }
        // Finagle allows for an error of one. Here there is none.
        let expected = (10_000.0 * ratio).round() as u32 + minimum * ttl as u32;
        assert_eq!(retried, expected, "{ratio} {minimum}");
    }
}

/// The figures of gRPC proposal A6: 10 tokens, a tenth of one for a success, and no retry at or below half.
#[test]
fn retries_are_throttled_as_grpc_proposal_a6_says() {
    let budget = Budget::grpc(10, 0.1);
    let Some(Kind::Grpc(grpc)) = budget.kind() else { panic!() };
    assert_eq!([(); 6].map(|()| grpc.fail()), [true, true, true, true, false, false]);
    assert_eq!(budget.balance(), Some(4.0));
    // Over half again after 11 successes, which one failure undoes. Ten more pay for a retry.
    for (successes, balance, granted) in [(11, 5.1, false), (10, 5.1, false), (20, 6.1, true), (1_000, 10.0, true)] {
        (0..successes).for_each(|_| grpc.succeed());
        assert_eq!((budget.balance(), grpc.fail()), (Some(balance), granted), "{successes} successes");
    }
    assert!((0..100).filter(|_| grpc.fail()).count() == 3 && budget.balance() == Some(0.0));
}

/// Envoy's `retry_budget` with its defaults: so many calls in progress allow so many retries, the fraction cut off.
#[test]
fn active_retries_are_counted_as_envoy_counts_them() {
    for (calls, retries) in [(3, 3), (15, 3), (19, 3), (20, 4), (24, 4), (25, 5), (40, 8), (99, 19), (1_000, 200)] {
        let budget = Budget::concurrent(20.0, 3);
        let kind = budget.kind();
        let mut accounts = vec![Account::default(); calls];
        accounts.iter_mut().for_each(|account| account.open(kind));
        let granted = |accounts: &mut [Account]| {
            accounts
                .iter_mut()
                .filter(|account| **account == Account::Active)
                .fold(0, |granted, account| granted + usize::from(account.withdraw(kind, &verdict(Fault::Answer))))
        };
        assert_eq!(granted(&mut accounts), retries, "{calls} calls");
        // The end of a retry makes room for another, as long as there are as many calls.
        let Some(retry) = accounts.iter_mut().find(|account| **account != Account::Active) else { panic!() };
        retry.begin_retry();
        retry.succeed(kind);
        retry.open(kind);
        assert_eq!(granted(&mut accounts), 1, "{calls} calls");
        accounts.iter_mut().for_each(|account| account.close(kind));
        assert_eq!(budget.balance(), Some(3.0));
    }
}

/// A percentage has no exact binary form: 29 % of 100 is a little less than 29 there.
#[test]
fn a_share_of_calls_in_progress_is_exact() {
    for percent in 0..=100_u32 {
        let budget = Budget::concurrent(f64::from(percent), 0);
        let mut accounts = [Account::default(); 100];
        accounts.iter_mut().for_each(|account| account.open(budget.kind()));
        assert_eq!(budget.balance(), Some(f64::from(percent)));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_expires_below_the_minimum() {
    let budget = Budget::ratio(0.2).ttl(Duration::from_secs(1)).min_per_second(5);
    let Some(Kind::Ratio(ratio)) = budget.kind() else { panic!() };
    ratio.deposit();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(ratio.withdraw().is_some());
    // Of ten tokens, five outlive any time. Without a minimum it is one.
    assert_eq!(budget.balance(), Some(4.0));
}

#[test]
fn many_threads_overdraw_no_kind_and_lose_no_token() {
    const THREADS: usize = 16;
    const CALLS: usize = 2_000;
    for (name, budget) in kinds() {
        let kind = budget.kind();
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let start = &start;
                let budget = &budget;
                scope.spawn(move || {
                    start.wait();
                    for call in 0..CALLS {
                        let mut account = Account::default();
                        account.open(kind);
                        if account.withdraw(kind, &verdict(Fault::Answer)) && (call + thread) % 2 == 0 {
                            account.begin_retry();
                        }
                        assert!(budget.balance().unwrap() >= 0.0);
                        if let Account::Waiting(_) = account {
                            account.close(kind)
                        } else {
                            account.succeed(kind)
                        }
                        assert_eq!(account, Account::Closed);
                    }
                });
            }
        });
        match name {
            // All calls have ended.
            "concurrent" => assert_eq!(budget.balance(), Some(2.0)),
            // A call that succeeds pays back all it took, and those that were not granted a retry gave one more.
            "aws" => assert_eq!(budget.balance(), Some(500.0)),
            _ => {}
        }
    }
}

/// What is done to a budget, with random numbers.
#[derive(Clone, Debug)]
enum Use {
    Call,
    Retry,
    Change { ratio: u32, capacity: u32, reserve: u32 },
}

fn uses() -> impl Strategy<Value = Vec<Use>> {
    let change = (0..40_u32, 1..20_u32, 0..20_u32);
    let change = change.prop_map(|(ratio, capacity, reserve)| Use::Change { ratio, capacity, reserve });
    proptest::collection::vec(prop_oneof![6 => Just(Use::Call), 3 => Just(Use::Retry), 2 => change], 0..400)
}

proptest! {
    #[test]
    fn a_ratio_that_changes_holds_what_a_plain_sum_does(uses in uses(), is_of_key: bool) {
        let with = |ratio: u32, capacity, reserve: u32| {
            Budget::ratio(f64::from(ratio) / 8.0).reserve(reserve.min(capacity)).capacity(capacity).ttl(Duration::MAX)
        };
        let budget = with(2, 10, 5);
        let kind = budget.kind().unwrap();
        let of_key = kind.renewed();
        let used = if is_of_key { &of_key } else { kind };
        let (mut sum, mut deposit, mut most) = (5.0_f64, 0.25, 10.0);
        for step in uses {
            match step {
                Use::Call => {
                    used.open();
                    sum = (sum + deposit).min(most);
                }
                Use::Retry => {
                    let granted = used.withdraw(&verdict(Fault::Answer)).is_some();
                    prop_assert_eq!(granted, sum >= 1.0);
                    sum -= f64::from(u8::from(granted));
                }
                Use::Change { ratio, capacity, reserve } => {
                    if let Some(settings) = budget.changed_by(&with(ratio, capacity, reserve)).unwrap() {
                        budget.change(settings, || of_key.settle());
                    }
                    (deposit, most) = (f64::from(ratio) / 8.0, f64::from(capacity));
                    sum = sum.min(most);
                }
            }
            prop_assert_eq!(used.balance(), sum);
        }
    }
}

#[test]
fn settings_that_make_no_sense_are_errors() {
    for (setting, message) in [
        (Budget::try_grpc(0, 0.1), "Budget: max_tokens must be from 1 to 1000, but is 0"),
        (Budget::try_grpc(1_001, 0.1), "Budget: max_tokens must be from 1 to 1000, but is 1001"),
        (Budget::try_grpc(10, 0.0009), "Budget: token_ratio must be from 0.001 to 1000, but is 0.0009"),
        (Budget::try_grpc(10, f64::NAN), "Budget: token_ratio must be from 0.001 to 1000, but is NaN"),
        (Budget::try_concurrent(100.1, 3), "Budget: percent must be from 0 to 100, but is 100.1"),
        (Budget::try_concurrent(f64::NAN, 3), "Budget: percent must be from 0 to 100, but is NaN"),
    ] {
        assert_eq!(setting.unwrap_err().to_string(), message);
    }
}

#[test]
fn a_ratio_of_grpc_counts_three_decimal_places() {
    for (ratio, counted) in [(0.5466, 0.546), (0.1, 0.1), (1.001, 1.001), (0.057, 0.057), (0.29, 0.29), (0.6, 0.6)] {
        let budget = Budget::grpc(1_000, ratio);
        let Some(Kind::Grpc(grpc)) = budget.kind() else { panic!() };
        assert_eq!((0..10).filter(|_| grpc.fail()).count(), 10);
        grpc.succeed();
        let gained = (budget.balance().unwrap() - 990.0) * 1_000.0;
        assert_eq!(gained.round(), (counted * 1_000.0_f64).round(), "{ratio}");
    }
}
