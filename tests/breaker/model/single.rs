//! One breaker alone.

use std::time::Duration;

use proptest::prelude::*;
use tower_rampart::breaker::{CircuitBreaker, CircuitOpen, Mode, Permit, State, Totals};
use tower_rampart::classify::{Health, HttpClassifier, Verdict};

use super::breaker::{Held, Model, Phase, Rejection};
use super::config::{Config, config, health, mode, run, verdict};
use super::streams::{Call, Streams};
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
    /// A call with a body.
    Send,
    Head {
        which: usize,
    },
    End {
        which: usize,
        completely: bool,
    },
    /// Drops a call with a body, before its head or after it.
    Leave {
        which: usize,
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
    let layer = config.layer().classifier(HttpClassifier::new()).judge_body();
    let (breaker, streams) = (layer.breaker(), Streams::new(&layer));
    let mut model = Model::new(config);
    let mut permits: Vec<(Permit, Held)> = Vec::new();
    let mut calls: Vec<(Call, Held)> = Vec::new();
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
            Step::Send => {
                let (got, expected) = (streams.send(), model.acquire(false));
                let got = got.map_err(|error| {
                    let open = CircuitOpen::find(&*error).expect("nothing else fails");
                    (open.state(), open.retry_after())
                });
                calls.extend(compare(got, expected, &model, index)?);
            }
            Step::Head { which } if !calls.is_empty() => {
                let which = which % calls.len();
                let (call, held) = &mut calls[which];
                if call.head() {
                    model.head(held);
                }
            }
            Step::End { which, completely } if !calls.is_empty() => {
                let which = which % calls.len();
                if calls[which].0.end(completely) {
                    let (_, held) = calls.swap_remove(which);
                    model.settle(held, if completely { Health::Success } else { Health::Failure }, None);
                }
            }
            Step::Leave { which } if !calls.is_empty() => {
                let (call, held) = calls.swap_remove(which % calls.len());
                drop(call);
                model.settle(held, model.of_dropped(held), None);
            }
            Step::Settle { .. } | Step::Drop { .. } | Step::Head { .. } | Step::End { .. } | Step::Leave { .. } => {}
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
    recovers(&breaker, &mut model, (permits, calls)).await
}

fn acquire(
    breaker: &CircuitBreaker,
    model: &mut Model,
    retry: bool,
    index: usize,
) -> Result<Option<(Permit, Held)>, TestCaseError> {
    let got = if retry { breaker.try_acquire_retry() } else { breaker.try_acquire() };
    let expected = model.acquire(retry);
    compare(got.map_err(|open| (open.state(), open.retry_after())), expected, model, index)
}

fn compare<T: std::fmt::Debug>(
    got: Result<T, (State, Option<Duration>)>,
    expected: Result<Held, Rejection>,
    model: &Model,
    index: usize,
) -> Result<Option<(T, Held)>, TestCaseError> {
    match (got, expected) {
        (Ok(call), Ok(held)) => Ok(Some((call, held))),
        (Err(rejection), Err((state, until))) => {
            let wait = until.map(|until| Duration::from_millis(until - model.millis()));
            prop_assert_eq!(rejection, (state, wait), "step {}", index);
            Ok(None)
        }
        (got, expected) => {
            let what = format!("step {index}: {got:?}, but the model admits: {}", expected.is_ok());
            Err(TestCaseError::fail(what))
        }
    }
}

/// Whether all that can be seen of a breaker is as in its model.
fn same(breaker: &CircuitBreaker, model: &Model) -> Result<(), TestCaseError> {
    same_state(breaker, model)?;
    let Totals { calls, succeeded, failed, .. } = breaker.snapshot().totals;
    prop_assert_eq!((calls, succeeded, failed), (model.ended.0 + model.ended.1, model.ended.0, model.ended.1));
    same_window(breaker, model)
}

pub(super) fn same_state(breaker: &CircuitBreaker, model: &Model) -> Result<(), TestCaseError> {
    let snapshot = breaker.snapshot();
    prop_assert_eq!((breaker.state(), breaker.mode()), (model.read_state(), model.mode));
    let Totals { rejected, transitions, .. } = snapshot.totals;
    prop_assert_eq!(
        (rejected, transitions, u64::from(snapshot.generation)),
        (model.rejected, model.stretch, model.stretch)
    );
    prop_assert_eq!(snapshot.remaining_probes, model.remaining_probes());
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
async fn recovers<T>(breaker: &CircuitBreaker, model: &mut Model, hung: T) -> Result<(), TestCaseError> {
    breaker.set_mode(Mode::Automatic);
    model.set_mode(Mode::Automatic);
    let limit = model.config.longest_open() + model.config.lease;
    // One more finds the leases of long bodies over.
    let required = u64::from(model.config.half_open.1) + model.config.calls_of_ramp() + 1;
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
        prop_assert!(waited < limit, "shut out after {} ms", waited);
        tokio::time::advance(MS).await;
    }
    drop(hung);
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
        10 => Just(Step::Send),
        8 => any::<usize>().prop_map(|which| Step::Head { which }),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(which, completely)| Step::End { which, completely }),
        2 => any::<usize>().prop_map(|which| Step::Leave { which }),
        // Within a millisecond, about a bucket, beyond the window, and beyond any counter of laps; in the longest
        // schedules still far from the end of the clock.
        6 => (0..1_500_u64).prop_map(|micros| Step::Advance { micros }),
        8 => (0..40_000_u64).prop_map(|micros| Step::Advance { micros }),
        3 => (0..1_000_000_u64).prop_map(|micros| Step::Advance { micros }),
        1 => (1..1_u64 << 42).prop_map(|micros| Step::Advance { micros }),
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
