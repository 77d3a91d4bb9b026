use std::error::Error;
use std::fmt;
#[cfg(feature = "tonic")]
use std::panic::AssertUnwindSafe;
use std::panic::RefUnwindSafe;
use std::sync::Arc;
#[cfg(feature = "tonic")]
use std::sync::OnceLock;
use std::time::Duration;

use crate::breaker::State;
use crate::breaker::control::trip::Trip;
use crate::breaker::core::trip::TripInEra;
use crate::classify::find;
use crate::clock::millis_up;
use crate::registry::label::DEFAULT;

/// The error of a call that a circuit breaker rejected. The inner service has not seen the call.
///
/// Layers further outside judge it as terminal, unprocessed and neutral, so that they neither retry it blindly nor
/// blame the upstream. It has no source, so that a chain of errors ends with its text. With the feature `tonic` its
/// source is a `tonic::Status` with the code UNAVAILABLE and the same text, which is what the clients that tonic
/// generates return.
///
/// A call that is rejected ends with a `Box<CircuitOpen>`, which `?` may box again. [`find`](Self::find) sees it either
/// way.
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
pub struct CircuitOpen {
    breaker: Arc<dyn Named>,
    state: State,
    /// Milliseconds until the next probe.
    wait: Option<u64>,
    trip: TripInEra,
    /// Made on first use. Its own source is not unwind safe, and it has none.
    #[cfg(feature = "tonic")]
    status: AssertUnwindSafe<OnceLock<Box<tonic::Status>>>,
}

/// What an error reports of its breaker.
pub(crate) trait Named: Send + Sync + RefUnwindSafe {
    fn name(&self) -> &str;

    fn label(&self) -> &str;

    /// Whether the layer has more than one breaker.
    fn is_partitioned(&self) -> bool;

    /// What opened it, with the limit that was reached.
    fn trip(&self, trip: TripInEra) -> Option<Trip>;
}

/// A breaker as the subject of a sentence.
pub(super) struct Subject<'a>(pub(super) &'a dyn Named);

/// A name without a breaker.
struct Plain {
    name: Box<str>,
    label: Option<Box<str>>,
}

impl CircuitOpen {
    /// An error as a breaker of this name returns it, to test code that handles one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_rampart::breaker::{CircuitOpen, State};
    ///
    /// let open = CircuitOpen::new("billing", State::Open)
    ///     .with_partition("tenant-7")
    ///     .with_retry_after(Duration::from_secs(6));
    /// assert_eq!(
    ///     open.to_string(),
    ///     r#"circuit breaker "billing", partition tenant-7, is open; next probe in 6s"#
    /// );
    /// ```
    #[must_use]
    pub fn new(name: &str, state: State) -> Self {
        Self::by(Arc::new(Plain { name: name.into(), label: None }), state, None, TripInEra::NONE)
    }

    /// Sets the partition.
    #[must_use]
    pub fn with_partition(self, label: &str) -> Self {
        let breaker = Arc::new(Plain { name: self.name().into(), label: Some(label.into()) });
        Self::by(breaker, self.state, self.wait, self.trip)
    }

    /// Sets the time until the next probe, rounded up to milliseconds.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        Self::by(self.breaker, self.state, Some(millis_up(wait)), self.trip)
    }

    pub(crate) fn by(breaker: Arc<dyn Named>, state: State, wait: Option<u64>, trip: TripInEra) -> Self {
        Self {
            breaker,
            state,
            wait,
            trip,
            #[cfg(feature = "tonic")]
            status: AssertUnwindSafe(OnceLock::new()),
        }
    }

    /// Finds the outermost one in the source chain of an error, also inside a `Box` or an `Arc`.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find(error)
    }

    /// The name of the breaker.
    #[must_use]
    pub fn name(&self) -> &str {
        self.breaker.name()
    }

    /// The label of the partition whose breaker rejected the call: see [`partition`](crate::breaker::partition).
    /// `(default)` if the request had no key, and if the layer is not partitioned.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.breaker.label()
    }

    /// The state of the breaker: open, or half-open with all probe slots taken. The outer breaker of nested partitions
    /// is half-open also for an inner one that has to let others go first.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Time until the next probe would be admitted, as of the rejection. While half-open that is when the lease of a
    /// probe runs out, or for nested partitions when it is the turn of this one; it can be earlier, as soon as a probe
    /// ends. Whole milliseconds, and never less than what is left. `None` if the breaker was forced open, or if it
    /// already admits a [share](crate::CircuitBreakerLayer::ramp) of the calls.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.wait.map(Duration::from_millis)
    }

    /// What opened the breaker, with counts, rate and limit. `None` for a breaker that only rejects a
    /// [hedge](crate::RetryLayer::hedge) before it has opened, and for an error made by [`new`](Self::new).
    #[must_use]
    pub fn trip(&self) -> Option<Trip> {
        self.breaker.trip(self.trip)
    }
}

impl Named for Plain {
    fn name(&self) -> &str {
        &self.name
    }

    fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(DEFAULT)
    }

    fn is_partitioned(&self) -> bool {
        self.label.is_some()
    }

    fn trip(&self, _: TripInEra) -> Option<Trip> {
        None
    }
}

/// Names the partition only where there are any.
impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit breaker {:?}", self.0.name())?;
        match self.0.label() {
            _ if !self.0.is_partitioned() => Ok(()),
            DEFAULT => f.write_str(", for requests without a key,"),
            label => write!(f, ", partition {label},"),
        }
    }
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", Subject(&*self.breaker), self.state)?;
        match self.retry_after() {
            Some(wait) => write!(f, "; next probe in {wait:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitOpen")
            .field("name", &self.name())
            .field("partition", &self.partition())
            .field("state", &self.state)
            .field("retry_after", &self.retry_after())
            .finish()
    }
}

impl Error for CircuitOpen {
    #[cfg(feature = "tonic")]
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let status = self.status.get_or_init(|| Box::new(tonic::Status::unavailable(self.to_string())));
        Some(&**status)
    }
}
