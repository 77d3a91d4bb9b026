//! Where `tower::retry` can do the same, it does the same.

use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tower::retry::Policy;
use tower::{Layer, ServiceExt, service_fn};
use tower_rampart::classify::{Verdict, classifier_fn};
use tower_rampart::retry::{Backoff, RetryError};
use tower_rampart::{BoxError, RetryLayer};

/// The response of the inner service to each attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Fine,
    Busy,
    Wrong,
    Reset,
    Fatal,
}

impl Outcome {
    fn is_retried(self) -> bool {
        matches!(self, Self::Busy | Self::Reset)
    }

    fn output(self, number: usize) -> Result<(usize, Self), String> {
        match self {
            Self::Fine | Self::Busy | Self::Wrong => Ok((number, self)),
            Self::Reset => Err(format!("{number} reset")),
            Self::Fatal => Err(format!("{number} fatal")),
        }
    }
}

#[derive(Clone)]
struct Attempts(u32);

impl Policy<&'static str, (usize, Outcome), BoxError> for Attempts {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut &'static str, result: &mut Result<(usize, Outcome), BoxError>) -> Option<Self::Future> {
        let again = match result {
            Ok((_, outcome)) => outcome.is_retried(),
            Err(error) => error.to_string().ends_with("reset"),
        };
        self.0 -= 1;
        (again && self.0 > 0).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &&'static str) -> Option<&'static str> {
        Some(request)
    }
}

type Outputs = (Vec<Result<(usize, Outcome), String>>, Vec<&'static str>);

/// Calls three times, so that state that leaks from one call shows in the next.
async fn run<S>(script: &[Outcome], service: impl FnOnce(Inner) -> S) -> Outputs
where
    S: tower::Service<&'static str, Response = (usize, Outcome), Error = BoxError> + Clone,
{
    let inner = Inner { script: script.to_vec(), calls: Arc::default() };
    let calls = Arc::clone(&inner.calls);
    let service = service(inner);
    let mut outputs = Vec::new();
    for request in ["a", "b", "c"] {
        let output = service.clone().oneshot(request).await;
        outputs.push(output.map_err(|error| match error.downcast::<RetryError>() {
            Ok(gave_up) => gave_up.into_source().to_string(),
            Err(error) => error.to_string(),
        }));
    }
    let calls = calls.lock().unwrap().clone();
    (outputs, calls)
}

#[derive(Clone)]
struct Inner {
    script: Vec<Outcome>,
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl Inner {
    fn call(&self, request: &'static str) -> Result<(usize, Outcome), BoxError> {
        let mut calls = self.calls.lock().unwrap();
        let number = calls.len();
        calls.push(request);
        self.script.get(number).copied().unwrap_or(Outcome::Fine).output(number).map_err(Into::into)
    }
}

proptest! {
    #[test]
    fn the_same_calls_and_the_same_outputs(
        script in prop::collection::vec(
            prop_oneof![
                Just(Outcome::Fine), Just(Outcome::Busy), Just(Outcome::Wrong), Just(Outcome::Reset), Just(Outcome::Fatal),
            ],
            0..20,
        ),
        attempts in 1_u32..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let classifier = classifier_fn(|outcome: Result<&(usize, Outcome), &(dyn std::error::Error + 'static)>| {
            let retried = match outcome {
                Ok((_, outcome)) => outcome.is_retried(),
                Err(error) => error.to_string().ends_with("reset"),
            };
            if retried { Verdict::transient() } else { Verdict::success() }
        });
        let ours = RetryLayer::new(classifier).max_attempts(attempts).backoff(Backoff::none()).no_budget();
        let theirs = tower::retry::RetryLayer::new(Attempts(attempts));
        let (ours, theirs) = runtime.block_on(async {
            let ours = run(&script, |inner| ours.layer(service_fn(move |r| ready(inner.call(r))))).await;
            let theirs = run(&script, |inner| theirs.layer(service_fn(move |r| ready(inner.call(r))))).await;
            (ours, theirs)
        });
        prop_assert_eq!(ours, theirs);
    }
}
