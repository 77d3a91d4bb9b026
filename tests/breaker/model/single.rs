//! One breaker alone.

use std::time::Duration;

use proptest::prelude::*;
use tower_rampart::breaker::{CircuitBreaker, Mode, Permit, State};
use tower_rampart::classify::{Health, Verdict};

use super::breaker::{Held, Model, Phase};
use super::config::{Config, config, health, mode, run, verdict};
use crate::support::MS;

#[derive(Clone, Debug)]
enum Step {
    Acquire {
        retry: bool,
    },
    /// A call that ends at once.
    Call {
        health: Health,
    },
    Settle {
        which: usize,
        health: Health,
        hint: Option<u64>,
    },
    Drop {
        which: usize,
    },
    Advance {
        micros: u64,
    },
    SetMode(Mode),
    Reset,
}

async fn agree(config: Config, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let breaker = config.layer().breaker();
    let mut model = Model::new(config);
    let mut permits: Vec<(Permit, Held)> = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        match step.clone() {
            Step::Acquire { retry } => {
                if let Some(both) = acquire(&breaker, &mut model, retry, index)? {
                    permits.push(both);
                }
            }
            Step::Call { health } => {
                if let Some((permit, held)) = acquire(&breaker, &mut model, false, index)? {
                    permit.settle(verdict(health, None));
                    model.settle(held, health, None);
                }
            }
            Step::Settle { which, health, hint } if !permits.is_empty() => {
                let (permit, held) = permits.swap_remove(which % permits.len());
                permit.settle(verdict(health, hint));
                model.settle(held, health, hint);
            }
            Step::Drop { which } if !permits.is_empty() => {
                let (permit, held) = permits.swap_remove(which % permits.len());
                drop(permit);
                model.settle(held, model.of_dropped(held), None);
            }
            Step::Settle { .. } | Step::Drop { .. } => {}
            Step::Advance { micros } => {
                tokio::time::advance(Duration::from_micros(micros)).await;
                model.advance(Duration::from_micros(micros));
            }
            Step::SetMode(mode) => {
                breaker.set_mode(mode);
                model.set_mode(mode);
            }
            Step::Reset => {
                breaker.reset();
                model.reset();
            }
        }
        same(&breaker, &model).map_err(|error| TestCaseError::fail(format!("step {index}: {step:?}: {error}")))?;
    }
    recovers(&breaker, &mut model, permits).await
}

fn acquire(
    breaker: &CircuitBreaker,
    model: &mut Model,
    retry: bool,
    index: usize,
) -> Result<Option<(Permit, Held)>, TestCaseError> {
    let got = if retry { breaker.try_acquire_retry() } else { breaker.try_acquire() };
    match (got, model.acquire(retry)) {
        (Ok(permit), Ok(held)) => Ok(Some((permit, held))),
        (Err(open), Err((state, until))) => {
            let wait = until.map(|until| Duration::from_millis(until - model.millis()));
            prop_assert_eq!((open.state(), open.retry_after()), (state, wait), "step {}", index);
            Ok(None)
        }
        (got, expected) => {
            let what = format!("step {index}: {got:?}, but the model lets in: {}", expected.is_ok());
            Err(TestCaseError::fail(what))
        }
    }
}

/// Whether all that can be seen of a breaker is as in its model.
fn same(breaker: &CircuitBreaker, model: &Model) -> Result<(), TestCaseError> {
    same_state(breaker, model)?;
    same_window(breaker, model)
}

pub(super) fn same_state(breaker: &CircuitBreaker, model: &Model) -> Result<(), TestCaseError> {
    let snapshot = breaker.snapshot();
    prop_assert_eq!((breaker.state(), breaker.mode()), (model.read_state(), model.mode));
    prop_assert_eq!((snapshot.rejected, u64::from(snapshot.generation)), (model.rejected, model.stretch));
    Ok(())
}

pub(super) fn same_window(breaker: &CircuitBreaker, model: &Model) -> Result<(), TestCaseError> {
    let snapshot = breaker.snapshot();
    if let Phase::Closed { .. } = &model.phase {
        let live = model.live();
        let expected = (
            live.len() as u64,
            live.iter().filter(|outcome| outcome.failed).count() as u64,
            live.iter().filter(|outcome| outcome.slow).count() as u64,
            model.streak(),
        );
        let seen = (snapshot.calls, snapshot.failures, snapshot.slow, snapshot.consecutive_failures);
        prop_assert_eq!(seen, expected);
    }
    Ok(())
}

/// From wherever it is, with a healthy upstream and calls that arrive, it closes within the open time, the lease of the
/// probes that hang, and the calls required.
async fn recovers(breaker: &CircuitBreaker, model: &mut Model, hung: Vec<(Permit, Held)>) -> Result<(), TestCaseError> {
    breaker.set_mode(Mode::Automatic);
    model.set_mode(Mode::Automatic);
    let limit = model.config.longest_open() + model.config.lease;
    let required = u64::from(model.config.half_open.1) + model.config.calls_of_ramp();
    let mut calls = 0;
    for waited in 0..=limit {
        while breaker.state() != State::Closed {
            match breaker.try_acquire() {
                Ok(permit) => permit.settle(Verdict::success()),
                Err(open) if open.retry_after().is_none() => {}
                Err(_) => break,
            }
            calls += 1;
            prop_assert!(calls <= required, "{} calls", calls);
        }
        if breaker.state() == State::Closed {
            return Ok(());
        }
        prop_assert!(waited < limit, "shut out after {} ms, with {} hung", waited, hung.len());
        tokio::time::advance(MS).await;
    }
    Ok(())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => any::<bool>().prop_map(|retry| Step::Acquire { retry }),
        10 => prop_oneof![3 => Just(Health::Success), 1 => Just(Health::Failure)]
            .prop_map(|health| Step::Call { health }),
        36 => (any::<usize>(), health(), prop::option::of(0..200_u64))
            .prop_map(|(which, health, hint)| Step::Settle { which, health, hint }),
        4 => any::<usize>().prop_map(|which| Step::Drop { which }),
        // Within a millisecond, about a bucket, beyond the window, and beyond any counter of laps; in the longest
        // schedules still far from the end of the clock.
        6 => (0..1_500_u64).prop_map(|micros| Step::Advance { micros }),
        8 => (0..40_000_u64).prop_map(|micros| Step::Advance { micros }),
        3 => (0..1_000_000_u64).prop_map(|micros| Step::Advance { micros }),
        1 => (1..1_u64 << 46).prop_map(|micros| Step::Advance { micros }),
        1 => mode().prop_map(Step::SetMode),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, max_shrink_time: 30_000, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_is_that_of_the_model(config in config(), steps in prop::collection::vec(step(), 0..150)) {
        run(agree(config, steps))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, max_shrink_time: 30_000, ..ProptestConfig::default() })]

    #[test]
    fn also_in_schedules_far_longer_than_the_window(
        config in config(),
        steps in prop::collection::vec(step(), 3_000..5_000),
    ) {
        run(agree(config, steps))?;
    }
}
