use std::thread;

use crate::BoxError;
use crate::call::cut;
use crate::call::deadline::Deadline;
use crate::classify::Classifier;
use crate::retry::call::{Action, AttemptId, AttemptOutcome, Call, NextSend};
use crate::retry::config::Shared;
use crate::retry::error::RetryError;
use crate::retry::observe::OnRetry;
use crate::retry::retry_policy::RetryPolicy;

/// Calls a blocking operation, and again where the policy says so. The thread sleeps between attempts; no runtime is
/// needed.
///
/// **Every operation counts as idempotent**: see [`call`](super::call), which this equals in everything but time. A
/// running attempt cannot be cut:
///
/// - The [deadline](RetryPolicy::deadline) bounds waits and further attempts. A result that comes after it is returned.
/// - The [attempt timeout](RetryPolicy::attempt_timeout) cuts nothing. If an attempt fails later than that, the
///   upstream is slow, and the jitter of the next wait is as large as after a timeout. Set the timeout of the client
///   too.
///
/// Do not call it in async code, where it blocks the thread of other tasks.
///
/// ```
/// use tower_rampart::retry::{self, RetryError, RetryPolicy};
///
/// # fn read() -> std::io::Result<String> { Ok("7".into()) }
/// # fn main() -> Result<(), RetryError> {
/// let policy = RetryPolicy::new().name("config").max_attempts(4);
/// let text = retry::call_blocking(&policy, || read())?;
/// # assert_eq!(text, "7");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns a [`RetryError`], as [`call`](super::call) does.
pub fn call_blocking<F, T, E, ClassifierT, OnRetryT>(
    policy: &RetryPolicy<ClassifierT, OnRetryT>,
    mut operation: F,
) -> Result<T, RetryError>
where
    F: FnMut() -> Result<T, E>,
    E: Into<BoxError>,
    ClassifierT: Classifier<T>,
    OnRetryT: OnRetry,
{
    // What the operation calls is not the whole attempt of a layer around this.
    cut::disclaim_attempt();
    let tuning = policy.config.current();
    let deadline = tuning.deadline.map(Deadline::within);
    let mut open = Open(Call::new(policy, tuning.limits, deadline, policy.bucket(&())));
    let Open(call) = &mut open;
    loop {
        if call.is_past_deadline() {
            return Err(*call.too_late(Some(&())));
        }
        call.begin_attempt();
        call.open_span(AttemptId { attempt: call.attempt, is_hedge: false }, Some(&()));
        let entered = call.enter_span(false);
        let result = operation();
        drop(entered);
        let outcome = match result {
            Ok(mut response) => {
                let verdict = call.judge(&response);
                if call.is_success(&verdict) {
                    call.end_span(false, &verdict);
                    call.succeed(&mut response, &verdict);
                    return Ok(response);
                }
                AttemptOutcome { result: Ok(response), verdict, is_cut: false }
            }
            Err(error) => call.failed(error.into()),
        };
        call.end_span(false, &outcome.verdict);
        match call.settle(outcome, Some(&())) {
            Action::Return(output) => return output.map_err(|error| *error),
            Action::Send(NextSend::Resend) => {}
            Action::Send(NextSend::After(wait)) => thread::sleep(wait),
        }
    }
}

/// Closes the account of the call, also if the operation panics.
struct Open<SharedT: Shared>(Call<SharedT>);

impl<SharedT: Shared> Drop for Open<SharedT> {
    fn drop(&mut self) {
        self.0.close();
    }
}
