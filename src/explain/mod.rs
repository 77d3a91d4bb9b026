pub(crate) mod sentence;

use std::error::Error;

use self::sentence::sentences;
use crate::breaker::CircuitOpen;
use crate::retry::RetryError;

/// Explains in two sentences with numbers why a call was rejected, not retried or given up. `None` for an error that
/// comes neither from a breaker nor from a retry layer.
///
/// Like the text of the errors it holds no URL, header or body, and the label of a partition as the layer shows it.
///
/// ```
/// use tower_rampart::breaker::CircuitBreaker;
/// use tower_rampart::explain;
///
/// let breaker = CircuitBreaker::builder().name("billing").consecutive_failures(3).build();
/// let reset = || Err::<(), _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
/// for _ in 0..3 {
///     let _ = breaker.call(reset);
/// }
/// breaker.force_open();
/// let error = breaker.call(reset).unwrap_err();
/// assert_eq!(explain(&*error).unwrap(), r#"Circuit breaker "billing" is open. It was forced open."#);
/// ```
///
/// For a response that was given up see [`RetryReport::explain`](crate::retry::RetryReport::explain), and for a breaker
/// [`CircuitBreaker::explain`](crate::breaker::CircuitBreaker::explain).
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> Option<String> {
    let circuit = CircuitOpen::find(error).map(CircuitOpen::explain);
    let Some(gave_up) = RetryError::find(error) else { return circuit };
    Some(sentences(gave_up, circuit.or_else(|| gave_up.report().explain_attempts())))
}
