//! What to retry on, in one line.

use std::fmt;
use std::time::Duration;

use tower_rampart::breaker::{CircuitOpen, State};

use super::*;

#[derive(Debug)]
struct Rejected {
    is_busy: bool,
    source: Option<BoxError>,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rejected")
    }
}

impl std::error::Error for Rejected {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

fn rejected(is_busy: bool) -> Rejected {
    Rejected { is_busy, source: None }
}

/// The attempts of a call that always fails with this error.
fn attempts<E: Into<BoxError>>(error: impl Fn() -> E) -> (u32, GiveUp) {
    let policy = policy().retry_if(|error: &Rejected| error.is_busy);
    let error = retry::call_blocking(&policy, || Err::<(), _>(error())).unwrap_err();
    (error.attempts(), error.kind())
}

#[test]
fn the_predicate_decides_on_errors_of_its_type_alone() {
    assert_eq!(attempts(|| rejected(true)), (3, GiveUp::Exhausted));
    assert_eq!(attempts(|| rejected(false)), (1, GiveUp::NotRetryable));
    // Deep in the chain, and in place of what is judged terminal or transient otherwise.
    let terminal = || Rejected { is_busy: true, source: Some(ClassifiedError::new(Verdict::terminal()).into()) };
    assert_eq!(attempts(|| io::Error::other(terminal())), (3, GiveUp::Exhausted));
    assert_eq!(attempts(|| io::Error::new(io::ErrorKind::ConnectionReset, rejected(false))), (1, GiveUp::NotRetryable));
    // Others are judged as ever.
    assert_eq!(attempts(down), (3, GiveUp::Exhausted));
    assert_eq!(attempts(|| ClassifiedError::new(Verdict::terminal())), (1, GiveUp::NotRetryable));
}

#[test]
fn a_hint_is_honored_and_an_open_circuit_stays_one() {
    let hint = Verdict::terminal().with_retry_after(Duration::from_secs(3_600));
    let hinted = || Rejected { is_busy: true, source: Some(ClassifiedError::new(hint).into()) };
    assert_eq!(attempts(hinted), (1, GiveUp::RetryAfterTooLong));
    let open = || Rejected { is_busy: true, source: Some(CircuitOpen::new("billing", State::Open).into()) };
    assert_eq!(attempts(open), (1, GiveUp::CircuitOpen));
}

#[test]
fn one_predicate_for_each_type_of_error() {
    let policy = policy()
        .retry_if(|error: &Rejected| error.is_busy)
        .retry_if(|error: &io::Error| error.kind() == io::ErrorKind::NotFound);
    let attempts =
        |error: fn() -> BoxError| retry::call_blocking(&policy, || Err::<(), _>(error())).unwrap_err().attempts();
    assert_eq!(attempts(|| rejected(true).into()), 3);
    assert_eq!(attempts(|| rejected(false).into()), 1);
    assert_eq!(attempts(|| io::Error::from(io::ErrorKind::NotFound).into()), 3);
    assert_eq!(attempts(|| down().into()), 1);
    assert_eq!(attempts(|| "unknown".into()), 3);
}

/// Whichever of the errors is further outside.
#[test]
fn of_two_types_in_one_chain_the_predicate_that_was_added_last_decides() {
    let both = |is_busy| Rejected { is_busy, source: Some(down().into()) };
    let calls = |policy: &dyn Fn(BoxError) -> RetryError| {
        [both(true).into(), io::Error::other(rejected(true)).into()].map(|error: BoxError| policy(error).attempts())
    };
    let io_last = policy().retry_if(|error: &Rejected| error.is_busy).retry_if(|_: &io::Error| false);
    let io_first = policy().retry_if(|_: &io::Error| false).retry_if(|error: &Rejected| error.is_busy);
    // Fails once with the error, and then with one that is not retried.
    let then_terminal = |error: BoxError| {
        let mut errors = Some(error).into_iter();
        move || Err::<(), _>(errors.next().unwrap_or_else(|| ClassifiedError::new(Verdict::terminal()).into()))
    };
    assert_eq!(calls(&|error| retry::call_blocking(&io_last, then_terminal(error)).unwrap_err()), [1, 1]);
    assert_eq!(calls(&|error| retry::call_blocking(&io_first, then_terminal(error)).unwrap_err()), [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_the_policy_is_still_retried() {
    let policy = policy().retry_if(|_: &Rejected| false).attempt_timeout(SECOND);
    let error = retry::call(&policy, pending::<Result<(), Rejected>>).await.unwrap_err();
    assert_eq!(error.attempts(), 3);
    assert!(format!("{policy:?}").contains("RetryIf { inner: ErrorClassifier, .. }"));
}
