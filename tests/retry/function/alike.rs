//! The same script through the layer, the async and the blocking function: the same attempts, waits and report.

use std::sync::Mutex;

use proptest::prelude::*;
use tower_rampart::classify::{Class, Processed, Reason};
use tower_rampart::retry::RetryReport;

use super::*;

/// How one attempt ends.
#[derive(Clone, Copy, Debug)]
enum Step {
    Fine,
    /// A result that the classifier judges transient.
    Busy,
    Fail(Verdict),
}

/// What a call shows: its output, what the callbacks saw, and how often the operation was called.
type Seen = (Result<usize, (RetryReport, String)>, Vec<String>, usize);

/// The settings of a run. Waits are real for the blocking form, so they are microseconds.
#[derive(Clone, Copy, Debug)]
struct Settings {
    attempts: u32,
    reserve: u32,
    seed: u64,
    has_limits: bool,
    retries_open: bool,
}

impl Settings {
    fn policy(self) -> RetryPolicy {
        let us = Duration::from_micros;
        let policy = RetryPolicy::new()
            .max_attempts(self.attempts)
            .backoff(Backoff::exponential(us(1), us(8)))
            .budget(Budget::ratio(0.5).reserve(self.reserve))
            .retry_circuit_open(self.retries_open)
            .max_retry_after(us(5))
            .seed(self.seed);
        if self.has_limits { policy.deadline(3_600 * SECOND).attempt_timeout(600 * SECOND) } else { policy }
    }
}

fn judge(outcome: Result<&usize, &(dyn std::error::Error + 'static)>) -> Verdict {
    match outcome {
        Ok(number) if *number >= BUSY => Verdict::transient(),
        Ok(_) => Verdict::success(),
        Err(error) => Verdict::of_error(error),
    }
}

/// Results from here on are judged transient.
const BUSY: usize = 1_000;

fn play(script: &[Step], calls: &Cell<usize>) -> Result<usize, BoxError> {
    let call = calls.replace(calls.get() + 1);
    match script[call % script.len()] {
        Step::Fine => Ok(call),
        Step::Busy => Ok(BUSY + call),
        Step::Fail(verdict) => Err(ClassifiedError::new(verdict).into()),
    }
}

fn seen(output: Result<usize, RetryError>, log: &Mutex<Vec<String>>, calls: &Cell<usize>) -> Seen {
    let output = output.map_err(|error| (error.report().clone(), error.to_string()));
    (output, std::mem::take(&mut log.lock().unwrap()), calls.get())
}

/// Adds callbacks that log all that they see.
macro_rules! logged {
    ($retry:expr, $log:expr) => {
        $retry
            .on_retry(|event| $log.lock().unwrap().push(format!("{event:?}")))
            .on_give_up(|event| $log.lock().unwrap().push(format!("{event:?}")))
    };
}

/// Runs three calls each way, so that what one leaves behind shows in the next.
async fn run(script: &[Step], settings: Settings) -> [(Vec<Seen>, Option<f64>); 3] {
    let log = Mutex::new(Vec::new());
    let (calls, budgets) = ([const { Cell::new(0) }; 3], [settings.policy(), settings.policy(), settings.policy()]);
    let mut all: [Vec<Seen>; 3] = Default::default();

    let layer = logged!(RetryLayer::new(classifier_fn(judge)).policy(&budgets[0]), log);
    let service = layer.layer(service_fn(|()| ready(play(script, &calls[0]))));
    let policies = [1, 2].map(|way| logged!(budgets[way].clone().classifier(classifier_fn(judge)), log));
    for _ in 0..3 {
        let output = service.clone().oneshot(()).await.map_err(|error| *error.downcast::<RetryError>().unwrap());
        all[0].push(seen(output, &log, &calls[0]));
        let output = retry::call(&policies[0], || ready(play(script, &calls[1]))).await;
        all[1].push(seen(output, &log, &calls[1]));
        let output = retry::call_blocking(&policies[1], || play(script, &calls[2]));
        all[2].push(seen(output, &log, &calls[2]));
    }
    let mut ways = all.into_iter().zip(budgets);
    std::array::from_fn(|_| {
        let (seen, policy) = ways.next().unwrap();
        (seen, balance(&policy))
    })
}

/// How many retries the budget of a policy still grants.
fn balance(policy: &RetryPolicy) -> Option<f64> {
    let policy = policy.clone().max_attempts(1_000).backoff(Backoff::none());
    retry::call_blocking(&policy, || Err::<(), _>(down())).err().map(|error| f64::from(error.attempts()))
}

fn steps() -> impl Strategy<Value = Step> {
    let reasons = [Reason::UNKNOWN, Reason::GOAWAY, Reason::REFUSED_STREAM, Reason::CIRCUIT_OPEN, Reason::TIMEOUT];
    let classes = [Class::Success, Class::Transient, Class::Transient, Class::Terminal, Class::Ambiguous];
    let verdict = (
        prop::sample::select(classes.to_vec()),
        prop::sample::select(&[Processed::Yes, Processed::No, Processed::Maybe][..]),
        prop::sample::select(reasons.to_vec()),
        prop::option::weighted(0.2, 0_u64..8),
        prop::option::weighted(0.1, any::<bool>()),
    );
    let failure = verdict.prop_map(|(class, processed, reason, hint, should_retry)| {
        let mut verdict = Verdict::new(class).with_processed(processed).with_reason(reason);
        if let Some(hint) = hint {
            verdict = verdict.with_retry_after(Duration::from_micros(hint));
        }
        Step::Fail(should_retry.map_or(verdict, |retry| verdict.with_should_retry(retry)))
    });
    prop_oneof![1 => Just(Step::Fine), 1 => Just(Step::Busy), 4 => failure]
}

fn settings() -> impl Strategy<Value = Settings> {
    (1_u32..6, 0_u32..8, any::<u64>(), any::<bool>(), any::<bool>()).prop_map(
        |(attempts, reserve, seed, has_limits, retries_open)| Settings {
            attempts,
            reserve,
            seed,
            has_limits,
            retries_open,
        },
    )
}

proptest! {
    #[test]
    fn a_script_runs_alike_in_every_form(script in prop::collection::vec(steps(), 1..12), settings in settings()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let [layer, function, blocking] = runtime.block_on(run(&script, settings));
        prop_assert_eq!(&layer, &function);
        prop_assert_eq!(&layer, &blocking);
    }
}

#[tokio::test(start_paused = true)]
async fn seeded_waits_and_the_report_are_those_of_the_layer() {
    let script = [Step::Fail(Verdict::transient())];
    let settings = Settings { attempts: 5, reserve: 10, seed: 7, has_limits: true, retries_open: false };
    let [layer, function, blocking] = run(&script, settings).await;
    let (report, text) = layer.0[0].0.as_ref().unwrap_err();
    assert_eq!((report.attempts(), text.as_str()), (5, "gave up after 5 attempts: no attempts left"));
    let waits: Vec<_> = report.history().iter().map(|send| send.wait()).collect();
    // Drawn anew each time: seeded jitter, not one wait for all.
    assert!(waits[..4].iter().all(|wait| wait.unwrap() < Duration::from_micros(9)) && waits[4].is_none());
    assert!(waits[1..4].windows(2).any(|pair| pair[0] != pair[1]), "{waits:?}");
    // Four retries and a give-up.
    assert_eq!((layer.0[0].1.len(), layer.0[0].2), (5, 5));
    // 10 tokens and three halves, less 4 + 4 + 3 retries.
    assert_eq!(layer.0[2].0.as_ref().unwrap_err().0.gave_up(), Some(GiveUp::Budget));
    assert_eq!((&layer, &layer), (&function, &blocking));
}
