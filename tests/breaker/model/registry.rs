//! More keys than partitions, against a breaker for each key that is never evicted.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use tower_rampart::breaker::partition::{self, Nested};
use tower_rampart::breaker::{CircuitBreaker, Handle, Permit, State, Window};
use tower_rampart::classify::{Health, Verdict};

use super::config::run;
use crate::support::*;

const CAP: usize = 3;
const KEYS: u64 = 6;
const OPEN_FOR: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
enum Step {
    Call(u64, Health),
    /// Keeps the permit.
    Begin(u64),
    /// Ends the oldest call.
    End(Health),
    Advance(Duration),
    Remove(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let health =
        || prop_oneof![Just(Health::Success), Just(Health::Failure), Just(Health::Neutral), Just(Health::Neutral)];
    prop_oneof![
        8 => (0..KEYS, health()).prop_map(|(key, health)| Step::Call(key, health)),
        1 => (0..KEYS).prop_map(Step::Begin),
        2 => health().prop_map(Step::End),
        4 => (0_u64..6_000).prop_map(|millis| Step::Advance(Duration::from_millis(millis))),
        1 => (0..KEYS).prop_map(Step::Remove),
    ]
}

type ById = partition::By<fn(&u64) -> u64, u64>;

fn breakers(max_partitions: usize) -> Handle<u64> {
    let by: ById = partition::by(|key| *key);
    let layer = layer().window(Window::time(10 * SECOND)).minimum_calls(2).open_for(OPEN_FOR).partition_by(by);
    layer.max_partitions(max_partitions).handle()
}

/// What differs only because an evicted breaker begins anew is left out.
fn shown(breaker: &CircuitBreaker) -> (State, u64, u64, Option<Duration>) {
    let snapshot = breaker.snapshot();
    (snapshot.state, snapshot.calls, snapshot.failures, snapshot.retry_after)
}

fn verdict(health: Health) -> Verdict {
    Verdict::success().with_health(health)
}

struct Model {
    breakers: Handle<u64>,
    /// Nothing is ever evicted here.
    all: Handle<u64>,
    /// Calls that have begun, in both; those of removed breakers have no key.
    calls: Vec<(Option<u64>, Permit, Permit)>,
    /// The generation that each key opened in last.
    opened_in: [Option<u32>; KEYS as usize],
    /// When all partitions were last found in use.
    found_full: Option<Instant>,
}

impl Model {
    fn new() -> Self {
        let (breakers, all) = (breakers(CAP), breakers(KEYS as usize));
        Self { breakers, all, calls: Vec::new(), opened_in: [None; KEYS as usize], found_full: None }
    }

    /// Whether the breaker of a key may go.
    fn is_unused(&self, key: u64) -> bool {
        let snapshot = self.all.get_or_insert(&key).unwrap().snapshot();
        let is_called = self.calls.iter().any(|(called, ..)| *called == Some(key));
        !is_called
            && match snapshot.state {
                State::Closed => snapshot.calls == 0,
                State::Open => false,
                // As long as it has not been probed.
                State::HalfOpen => {
                    self.opened_in[key as usize] == Some(snapshot.generation) && snapshot.unchanged_for >= 2 * OPEN_FOR
                }
            }
    }

    fn begin(&mut self, key: u64) -> Result<Option<(Permit, Permit)>, TestCaseError> {
        let Some(own) = self.breakers.get_or_insert(&key) else {
            let rests = self.found_full.is_some_and(|then| then.elapsed() < SECOND);
            for other in (0..KEYS).filter(|other| self.breakers.get(other).is_some()) {
                prop_assert!(rests || !self.is_unused(other), "{other} makes room");
            }
            self.found_full = self.found_full.filter(|_| rests).or_else(|| Some(Instant::now()));
            return Ok(None);
        };
        let model = self.all.get_or_insert(&key).unwrap();
        match (own.try_acquire(), model.try_acquire()) {
            (Ok(own), Ok(model)) => Ok(Some((own, model))),
            (Err(_), Err(_)) => Ok(None),
            _ => Err(TestCaseError::fail("one admits, the other rejects")),
        }
    }

    async fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Call(key, health) => {
                if let Some((own, model)) = self.begin(key)? {
                    own.settle(verdict(health));
                    model.settle(verdict(health));
                }
            }
            Step::Begin(key) => {
                if let Some((own, model)) = self.begin(key)? {
                    self.calls.push((Some(key), own, model));
                }
            }
            Step::End(health) if !self.calls.is_empty() => {
                let (_, own, model) = self.calls.remove(0);
                own.settle(verdict(health));
                model.settle(verdict(health));
            }
            Step::End(_) => {}
            Step::Advance(time) => advance(time).await,
            Step::Remove(key) => {
                self.breakers.remove(&key);
                self.forget(key);
            }
        }
        self.check()
    }

    fn forget(&mut self, key: u64) {
        self.all.remove(&key);
        self.calls.iter_mut().filter(|(called, ..)| *called == Some(key)).for_each(|(called, ..)| *called = None);
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        prop_assert!(self.breakers.len() <= CAP);
        for key in 0..KEYS {
            let model = self.all.get_or_insert(&key).unwrap();
            if model.state() == State::Open {
                self.opened_in[key as usize] = Some(model.snapshot().generation);
            }
            match self.breakers.get(&key) {
                Some(own) => prop_assert_eq!(shown(&own), shown(&model), "{}", key),
                None => {
                    prop_assert!(self.is_unused(key), "{key} was evicted in use");
                    self.forget(key);
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum NestedStep {
    Call(u64, u64, Health),
    Begin(u64, u64),
    End,
    Advance(Duration),
    RemoveHost(u64),
}

fn nested_step() -> impl Strategy<Value = NestedStep> {
    let key = || (0_u64..3, 0_u64..3);
    prop_oneof![
        6 => (key(), prop_oneof![Just(Health::Success), Just(Health::Neutral)])
            .prop_map(|((host, tenant), health)| NestedStep::Call(host, tenant, health)),
        2 => key().prop_map(|(host, tenant)| NestedStep::Begin(host, tenant)),
        2 => Just(NestedStep::End),
        2 => (0_u64..12_000).prop_map(|millis| NestedStep::Advance(Duration::from_millis(millis))),
        1 => (0_u64..3).prop_map(NestedStep::RemoveHost),
    ]
}

/// A host is there for as long as one of its tenants, and what is called or has been called lately stays.
async fn nested_agree(steps: Vec<NestedStep>) -> Result<(), TestCaseError> {
    const CAP: usize = 5;
    let breakers = crate::nested::hierarchy::nested().max_partitions(CAP).handle();
    let mut calls: Vec<(u64, u64, Permit)> = Vec::new();
    let mut counted: HashMap<(u64, u64), Instant> = HashMap::new();
    for step in steps {
        match step {
            NestedStep::Call(host, tenant, health) => {
                if let Some(breaker) = breakers.get_or_insert(&Nested::Inner(host, Some(tenant))) {
                    breaker.try_acquire().unwrap().settle(verdict(health));
                    if health == Health::Success {
                        counted.insert((host, tenant), Instant::now());
                    }
                }
            }
            NestedStep::Begin(host, tenant) => {
                if let Some(breaker) = breakers.get_or_insert(&Nested::Inner(host, Some(tenant))) {
                    calls.push((host, tenant, breaker.try_acquire().unwrap()));
                }
            }
            NestedStep::End if !calls.is_empty() => drop(calls.remove(0)),
            NestedStep::End => {}
            NestedStep::Advance(time) => advance(time).await,
            NestedStep::RemoveHost(host) => {
                breakers.remove(&Nested::Outer(host));
                calls.retain(|call| call.0 != host);
                counted.retain(|key, _| key.0 != host);
            }
        }
        prop_assert!(breakers.len() <= CAP);
        for (key, _) in breakers.iter_keyed() {
            if let Nested::Inner(host, _) = key {
                prop_assert!(breakers.get(&Nested::Outer(host)).is_some(), "{host}");
            }
        }
        // In nine seconds at most one bucket of ten has gone.
        let lately = counted.iter().filter(|(_, then)| then.elapsed() < 9 * SECOND).map(|(key, _)| *key);
        for (host, tenant) in lately.chain(calls.iter().map(|call| (call.0, call.1))) {
            prop_assert!(breakers.get(&Nested::Inner(host, Some(tenant))).is_some(), "{host}/{tenant}");
        }
    }
    drop(calls);
    // Nothing that has ended keeps a place.
    advance(60 * SECOND).await;
    for host in 100..110 {
        prop_assert!(breakers.get_or_insert(&Nested::Inner(host, Some(1))).is_some());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn partition_rule_2_only_what_nothing_is_lost_with_makes_room(steps in prop::collection::vec(step(), 1..120)) {
        run(async {
            let mut model = Model::new();
            for step in steps {
                model.run(step).await?;
            }
            Ok(())
        })?;
    }

    #[test]
    fn partition_rule_2_hosts_stay_with_their_tenants(steps in prop::collection::vec(nested_step(), 1..120)) {
        run(nested_agree(steps))?;
    }
}
