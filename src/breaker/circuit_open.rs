use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::State;
use super::cell::Cell;
use super::engine::Refusal;
use crate::classify::{Classified, Health, Processed, Reason, Verdict, find};

/// The error of a call that a circuit breaker did not let through: the inner service has not seen it.
///
/// Its source is a [`Classified`] that says so, so that whoever is further outside does not retry it blindly.
///
/// ```
/// use std::convert::Infallible;
/// use tower::{Layer, Service, ServiceExt, service_fn};
/// use tower_rampart::CircuitBreakerLayer;
/// use tower_rampart::breaker::{CircuitOpen, State};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let breaker = CircuitBreakerLayer::new_for_http().name("billing");
/// breaker.breaker().force_open();
///
/// let mut service = breaker.layer(service_fn(|_: http::Request<()>| async {
///     Ok::<_, Infallible>(http::Response::new(()))
/// }));
/// let error = service.ready().await.unwrap().call(http::Request::new(())).await.unwrap_err();
/// let open = CircuitOpen::find(&*error).unwrap();
/// assert_eq!((open.name(), open.state()), ("billing", State::Open));
/// # }
/// ```
#[derive(Debug)]
pub struct CircuitOpen {
    cell: Arc<Cell>,
    state: State,
    retry_after: Option<Duration>,
    classified: Classified,
}

impl CircuitOpen {
    pub(super) fn new(cell: Arc<Cell>, Refusal { state, wait, by_outer }: Refusal) -> Self {
        let cell = cell.outer().filter(|_| by_outer).cloned().unwrap_or(cell);
        let retry_after = wait.map(Duration::from_millis);
        let verdict = Verdict::terminal()
            .with_processed(Processed::No)
            .with_health(Health::Neutral)
            .with_reason(Reason::CIRCUIT_OPEN);
        let verdict = match retry_after {
            Some(wait) => verdict.with_retry_after(wait),
            None => verdict,
        };
        Self { cell, state, retry_after, classified: Classified::new(verdict) }
    }

    /// The outermost one in the chain of an error's sources.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find(error)
    }

    /// The name of the breaker.
    #[must_use]
    pub fn name(&self) -> &str {
        self.cell.name()
    }

    /// The label of the partition whose breaker refused: see [`partition`](super::partition).
    #[must_use]
    pub fn partition(&self) -> &str {
        self.cell.label()
    }

    /// What the breaker was in: open, or half-open with all its probes under way.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// How long it was, when the call was refused, until the next probe would be let through. While half-open that is
    /// when the lease of a probe runs out; it can be earlier, as soon as a probe ends. Whole milliseconds and never less
    /// than what is left; nothing if the breaker was forced open and waits for no time, or if it lets a
    /// [share](crate::CircuitBreakerLayer::ramp) of the calls through already.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit breaker {:?}, partition {}, is {}", self.name(), self.partition(), self.state)?;
        match self.retry_after {
            Some(wait) => write!(f, "; next probe in {wait:?}"),
            None => Ok(()),
        }
    }
}

impl Error for CircuitOpen {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.classified)
    }
}
