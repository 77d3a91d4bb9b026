use std::fmt;
use std::sync::Arc;

use crate::BoxError;
use crate::breaker::core::node::Node;
use crate::breaker::core::state_machine::Attempt;
use crate::breaker::{CircuitOpen, Mode, Permit, Snapshot, State};
use crate::classify::Classifier;

/// One circuit breaker: that of a partition, or the only one of an unpartitioned layer.
///
/// Clones share the same breaker. A partition is not evicted while a clone of its breaker exists.
#[derive(Clone)]
pub struct CircuitBreaker {
    node: Arc<Node>,
}

impl CircuitBreaker {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The name of the layer's breakers.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// The label of the partition: see [`partition`](crate::breaker::partition).
    #[must_use]
    pub fn partition(&self) -> &str {
        self.node.label()
    }

    /// Acquires a permit for one call. Never waits.
    ///
    /// # Errors
    ///
    /// [`CircuitOpen`] if the breaker rejects the call.
    pub fn try_acquire(&self) -> Result<Permit, Box<CircuitOpen>> {
        Permit::acquire(&self.node, Attempt::First)
    }

    /// Acquires a permit for a retry. Differs from [`try_acquire`](Self::try_acquire) only in the mode [`RejectRetriesOnly`](Mode::RejectRetriesOnly).
    ///
    /// # Errors
    ///
    /// [`CircuitOpen`] if the breaker rejects the retry.
    pub fn try_acquire_retry(&self) -> Result<Permit, Box<CircuitOpen>> {
        Permit::acquire(&self.node, Attempt::Retry)
    }

    /// Makes a call if the breaker admits it, and records its outcome.
    ///
    /// ```
    /// use tower_rampart::breaker::CircuitBreaker;
    /// use tower_rampart::classify::{Verdict, classifier_fn};
    ///
    /// let breaker = CircuitBreaker::builder().name("config").consecutive_failures(2).build();
    /// let judge = classifier_fn(|outcome: Result<&String, _>| match outcome {
    ///     Ok(_) => Verdict::success(),
    ///     Err(error) => Verdict::of_error(error),
    /// });
    /// for _ in 0..3 {
    ///     let _ = breaker.call(&judge, || std::fs::read_to_string("/no/such/file"));
    /// }
    /// assert_eq!(breaker.snapshot().rejected, 1);
    /// ```
    ///
    /// # Errors
    ///
    /// [`CircuitOpen`] if the breaker rejects the call, else the error of the call itself.
    pub fn call<T, E, C>(&self, classifier: &C, call: impl FnOnce() -> Result<T, E>) -> Result<T, BoxError>
    where
        E: Into<BoxError>,
        C: Classifier<T>,
    {
        let permit = self.try_acquire().map_err(|open| open as BoxError)?;
        let result = call().map_err(Into::into);
        permit.settle(classifier.classify(result.as_ref().map_err(|error| &**error as _)));
        result
    }

    /// Returns the state. A breaker that is forced open is open; a disabled one is closed. An open breaker reads as half-open
    /// once its open time is over: the next call is a probe, and the event of that change comes with it.
    #[must_use]
    pub fn state(&self) -> State {
        self.node.state()
    }

    /// Returns the mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.node.mode()
    }

    /// Returns state and counts at one instant.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.node.snapshot()
    }

    /// Rejects every call until the mode is changed or the breaker is [`reset`](Self::reset), also those that wait for the
    /// inner service to be ready. Calls in flight no longer count.
    pub fn force_open(&self) {
        self.set_mode(Mode::ForcedOpen);
    }

    /// Admits every call and counts none, until the mode is changed or the breaker is [`reset`](Self::reset).
    pub fn disable(&self) {
        self.set_mode(Mode::Disabled);
    }

    /// Continues as if automatic, but rejects no call.
    pub fn observe(&self) {
        self.set_mode(Mode::ObserveOnly);
    }

    /// Makes outcomes decide the state. After being forced open or disabled, the breaker begins closed with an empty window.
    pub fn automatic(&self) {
        self.set_mode(Mode::Automatic);
    }

    /// Sets the mode.
    pub fn set_mode(&self, mode: Mode) {
        self.node.set_mode(mode);
    }

    /// Returns the breaker to its initial state: closed, with an empty window, in the mode configured in the layer. Calls in
    /// flight no longer count.
    pub fn reset(&self) {
        self.node.reset();
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.node, f)
    }
}
