//! What a call did and why it ended, in two sentences with numbers.

use std::time::Duration;

use super::report::{AttemptReport, RetryReport};
use crate::explain::sentence::{count, list, sentence, sentences};

impl RetryReport {
    /// Explains in two sentences with numbers how the call ended, and how its attempts did.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    /// use tower_rampart::RetryLayer;
    /// use tower_rampart::retry::{ReplayBody, RetryReport};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let client = ServiceBuilder::new()
    ///     .layer(RetryLayer::new_for_http().max_attempts(2).backoff(Duration::from_millis(100)))
    ///     .service(service_fn(|_: http::Request<ReplayBody<String>>| async {
    ///         Ok::<_, std::io::Error>(http::Response::builder().status(503).body(()).unwrap())
    ///     }));
    /// let response = client.oneshot(http::Request::new(String::new())).await.unwrap();
    /// assert_eq!(
    ///     RetryReport::of(&response).unwrap().explain(),
    ///     "Gave up after 2 attempts: no attempts left. \
    ///      The sends ended with status 503 and status 503, after waits of 100ms."
    /// );
    /// # }
    /// ```
    #[must_use]
    pub fn explain(&self) -> String {
        let attempts = count(self.attempts, "attempt");
        let end = match self.gave_up {
            Some(kind) => format!("gave up after {attempts}: {}", kind.explained()),
            None => format!("succeeded after {attempts}"),
        };
        sentences(end, self.explain_attempts())
    }

    /// The sentence about the attempts. `None` if none was made.
    pub(crate) fn explain_attempts(&self) -> Option<String> {
        let history = self.history();
        let skipped = history.len().saturating_sub(SHOWN);
        let ends: Vec<_> = history.iter().skip(skipped).map(end_of).collect();
        let all = list(&ends)?;
        let all = if skipped == 0 { all } else { format!("{skipped} other outcomes, {all}") };
        let sends = if history.len() == 1 { "send" } else { "sends" };
        let waited: Duration = history.iter().filter_map(AttemptReport::wait).sum();
        let waits = if waited.is_zero() { String::new() } else { format!(", after waits of {waited:?}") };
        Some(sentence(format!("the {sends} ended with {all}{waits}")))
    }
}

/// How many of the latest sends are listed.
const SHOWN: usize = 4;

fn end_of(send: &AttemptReport) -> String {
    let verdict = send.verdict();
    match (verdict.is_success(), verdict.code()) {
        (true, _) => "success".to_owned(),
        (false, Some(code)) => format!("{} {code}", verdict.reason()),
        (false, None) => verdict.reason().to_string(),
    }
}
