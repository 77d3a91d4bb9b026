use std::fmt;

use crate::breaker::Cause;
use crate::breaker::core::policy::Policy;
use crate::breaker::core::trip;

/// What opened a breaker after it was last closed. Failed probes, which open it again, do not change it.
///
/// Its text is half a sentence:
///
/// ```
/// use tower_rampart::breaker::{CircuitBreaker, CircuitOpen, Window};
///
/// let breaker = CircuitBreaker::builder().window(Window::count(10)).failure_rate(0.5).minimum_calls(4).build();
/// let reset = || Err::<(), _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
/// for _ in 0..4 {
///     let _ = breaker.call(reset);
/// }
/// let error = breaker.call(reset).unwrap_err();
/// let trip = CircuitOpen::find(&*error).unwrap().trip().unwrap();
/// assert_eq!(trip.to_string(), "4 of 4 calls failed (100 %, the limit is 50 %)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trip {
    /// The cause.
    pub cause: Cause,
    /// Calls in the window at that time; votes, if the partitions [within](crate::CircuitBreakerLayer::nested_in)
    /// opened it. Exact up to 65,535, and in the right ratio to the bad ones above. 0 if it was forced open.
    pub calls: u64,
    /// Failed ones among them; slow ones, if the cause is their rate; bad votes.
    pub bad: u64,
    /// The limit that was reached, whatever the settings are now: a rate, or a number of consecutive failures. `None`
    /// if it was forced open.
    pub limit: Option<f64>,
}

impl Trip {
    pub(crate) fn new(tripped: trip::Trip, policy: &Policy) -> Self {
        let trip::Trip { cause, calls, bad } = tripped;
        let limit = match cause {
            Cause::SlowRate => policy.slow_calls.map(|slow| slow.rate),
            Cause::ConsecutiveFailures => policy.consecutive_failures.map(f64::from),
            Cause::Outage => policy.outage.map(|outage| outage.failures.into()),
            Cause::PartitionsOpen => policy.votes.map(|votes| votes.share),
            Cause::FailureRate => Some(policy.failure_rate),
            Cause::OpenTimeOver | Cause::ProbesSucceeded | Cause::ProbeFailed | Cause::ByHand => None,
        };
        Self { cause, calls, bad, limit }
    }

    /// Bad calls among the calls, from 0 to 1; 0 if there was no call.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.bad == 0 { 0.0 } else { self.bad as f64 / self.calls as f64 }
    }

    /// A sentence.
    pub(crate) fn explain(&self) -> String {
        match self.cause {
            Cause::ByHand => "It was forced open.".to_owned(),
            _ => format!("It opened because {self}."),
        }
    }
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, calls, bad, limit } = self;
        let (limit, rate) = (limit.unwrap_or_default(), percent(self.rate()));
        let row = if limit == 1.0 { "call" } else { "calls" };
        match cause {
            Cause::ConsecutiveFailures => write!(f, "{limit} {row} in a row failed ({bad} of {calls} in the window)"),
            Cause::Outage => write!(f, "at least {limit} {row} in a row failed ({bad} of {calls} in the window)"),
            Cause::ByHand => f.write_str("forced open"),
            Cause::PartitionsOpen => {
                write!(f, "{bad} of {calls} partitions failed ({rate}, the limit is {})", percent(limit))
            }
            Cause::SlowRate => write!(f, "{bad} of {calls} calls were slow ({rate}, the limit is {})", percent(limit)),
            _ => write!(f, "{bad} of {calls} calls failed ({rate}, the limit is {})", percent(limit)),
        }
    }
}

/// With one decimal place unless it is whole.
fn percent(share: f64) -> String {
    let tenths = (share * 1_000.0).round() / 10.0;
    format!("{tenths} %")
}
