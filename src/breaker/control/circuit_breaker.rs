use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::BoxError;
use crate::breaker::core::node::Node;
use crate::breaker::core::state_machine::Attempt;
use crate::breaker::{CallFuture, CircuitOpen, Mode, Permit, Snapshot, State};
use crate::classify::{Classifier, ErrorClassifier};

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

    /// The address of this breaker.
    #[cfg(feature = "status-page")]
    pub(crate) fn address(&self) -> super::address::Address {
        super::address::Address::of(&self.node)
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

    /// Acquires a [`Permit`] for one call, which guards a block of code. Never waits.
    ///
    /// # Errors
    ///
    /// [`CircuitOpen`] if the breaker rejects the call.
    pub fn try_acquire(&self) -> Result<Permit, Box<CircuitOpen>> {
        Permit::acquire(&self.node, Attempt::First)
    }

    /// Acquires a permit for a retry. Differs from [`try_acquire`](Self::try_acquire) only in the mode
    /// [`RejectRetriesOnly`](Mode::RejectRetriesOnly).
    ///
    /// # Errors
    ///
    /// [`CircuitOpen`] if the breaker rejects the retry.
    pub fn try_acquire_retry(&self) -> Result<Permit, Box<CircuitOpen>> {
        Permit::acquire(&self.node, Attempt::Retry)
    }

    /// Makes a call if the breaker admits it, and records its outcome. Blocks while the call does, and needs no
    /// runtime.
    ///
    /// An error is judged by [`Verdict::of_error`](crate::classify::Verdict::of_error), and everything else is a
    /// success; [`call_with`](Self::call_with) takes another classifier. A panic is a failure.
    ///
    /// ```
    /// use tower_rampart::breaker::{CircuitBreaker, CircuitOpen};
    ///
    /// let breaker = CircuitBreaker::builder().name("config").consecutive_failures(2).build();
    /// let read = || breaker.call(|| std::fs::read_to_string("/no/such/file"));
    ///
    /// assert!(read().unwrap_err().is::<std::io::Error>());
    /// assert!(read().unwrap_err().is::<std::io::Error>());
    /// let error = read().unwrap_err();
    /// let open = CircuitOpen::find(&*error).unwrap();
    /// println!("use the default configuration for {:?}", open.retry_after());
    /// ```
    ///
    /// # Errors
    ///
    /// [`CircuitOpen`] if the breaker rejects the call, else the error of the call itself. `downcast` returns either.
    pub fn call<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, BoxError>
    where
        E: Into<BoxError>,
    {
        self.call_with(ErrorClassifier, call)
    }

    /// [`call`](Self::call), judged by this classifier.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use tower_rampart::breaker::CircuitBreaker;
    /// use tower_rampart::classify::{Verdict, classifier_fn};
    ///
    /// let breaker = CircuitBreaker::builder().name("config").consecutive_failures(2).build();
    /// let judge = classifier_fn(|outcome: Result<&String, &(dyn std::error::Error + 'static)>| match outcome {
    ///     Err(error) if error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound) => {
    ///         Verdict::success() // it is the file that is missing, not the disk
    ///     }
    ///     Err(error) => Verdict::of_error(error),
    ///     Ok(_) => Verdict::success(),
    /// });
    /// for _ in 0..10 {
    ///     let _ = breaker.call_with(judge, || std::fs::read_to_string("/no/such/file"));
    /// }
    /// assert_eq!(breaker.snapshot().totals.succeeded, 10);
    /// ```
    ///
    /// # Errors
    ///
    /// The same.
    pub fn call_with<T, E, C>(&self, classifier: C, call: impl FnOnce() -> Result<T, E>) -> Result<T, BoxError>
    where
        E: Into<BoxError>,
        C: Classifier<T>,
    {
        let permit = self.try_acquire().map_err(|open| open as BoxError)?;
        let result = call().map_err(Into::into);
        permit.settle(classifier.classify(result.as_ref().map_err(|error| &**error as _)));
        result
    }

    /// [`call`](Self::call) for a call that returns a future. The breaker is asked at the first poll.
    ///
    /// The future counts in the same way as that of the layer, also when it panics or is dropped before its end: see
    /// the rules 2 and 3 of [the module](crate::breaker#rules). If a [`RetryLayer`](crate::RetryLayer) around it cuts
    /// it by a time limit, it has failed.
    ///
    /// ```
    /// use tower_rampart::breaker::CircuitBreaker;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_rampart::BoxError> {
    /// async fn query(id: u64) -> Result<String, std::io::Error> {
    ///     Ok(format!("row {id}"))
    /// }
    ///
    /// let breaker = CircuitBreaker::builder().name("database").build();
    /// let query = |id| breaker.call_async(move || query(id)); // the same function, behind the breaker
    /// assert_eq!(query(7).await?, "row 7");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The future returns those of [`call`](Self::call).
    pub fn call_async<T, E, F, Operation>(&self, call: Operation) -> CallFuture<Operation, F>
    where
        Operation: FnOnce() -> F,
        F: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        self.call_async_with(ErrorClassifier, call)
    }

    /// [`call_async`](Self::call_async), judged by this classifier.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn call_async_with<T, E, F, Operation, C>(&self, classifier: C, call: Operation) -> CallFuture<Operation, F, C>
    where
        Operation: FnOnce() -> F,
        F: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
        C: Classifier<T>,
    {
        CallFuture::new(self.node.clone(), call, classifier)
    }

    /// Returns the state. A breaker that is forced open is open; a disabled one is closed. An open breaker reads as
    /// half-open once its open time is over: the next call is a probe, and the event of that change comes with it.
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

    /// Rejects every call until the mode is changed or the breaker is [`reset`](Self::reset), also those that wait for
    /// the inner service to be ready. Calls in flight no longer count.
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

    /// Makes outcomes decide the state. After being forced open or disabled, the breaker begins closed with an empty
    /// window.
    pub fn automatic(&self) {
        self.set_mode(Mode::Automatic);
    }

    /// Sets the mode.
    pub fn set_mode(&self, mode: Mode) {
        self.node.set_mode(mode);
    }

    /// Returns the breaker to its initial state: closed, with an empty window, in the mode configured in the layer.
    /// Calls in flight no longer count.
    pub fn reset(&self) {
        self.node.reset();
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.node, f)
    }
}
